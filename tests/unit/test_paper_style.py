"""How figures are saved."""

from dqv2.paper import style
from dqv2.runtime.logging import logger


def test_characters_that_the_font_lacks_are_told_once(tmp_path, caplog, monkeypatch, recwarn):
    monkeypatch.setattr(logger, "propagate", True)
    with style.context():
        figure = style.new_figure(3, 2)
        figure.suptitle("DQ, 中文")
        figure.text(0.5, 0.5, "± 1 · “Größe”\n−2")
        figure.draw_without_rendering()
    style.save(figure, tmp_path / "f.pdf", tmp_path / "f.png")
    said = "the font has no signs for some characters of 'DQ, 中文', and draws boxes"
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path / 'f.png'}: {said}"]
    assert not [each for each in recwarn if "Glyph" in str(each.message)]
