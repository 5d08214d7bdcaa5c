"""Captions print literally, whatever is in a name."""

from docutils.core import publish_parts

from dqv2.paper.captions import write_caption


def test_a_caption_prints_as_it_is(tmp_path):
    note = "DQ_V2 · *x* `y` |z| a_ <b> [1]_ http://x:y \\n · n = 5 seeds · NVIDIA V100"
    write_caption(tmp_path / "c.rst", "effect of the mask_", note, "demo")
    parts = publish_parts(f".. include:: {tmp_path / 'c.rst'}\n\nafter", writer_name="html")
    text = parts["body"].replace("&lt;", "<").replace("&gt;", ">")
    assert note in text
    assert "Effect of the mask_." in text
    assert "Scale: demo, not the paper's own." in text.replace("’", "'")
    assert "problematic" not in text
    assert "<p>after</p>" in text


def test_the_papers_own_scale_is_said_of_its_run_alone(tmp_path):
    for run, scale in (("paper", "\nScale\\: the paper's own.\n"), ("my_images", "")):
        file = tmp_path / "results" / run / "captions" / "c.rst"
        file.parent.mkdir(parents=True)
        write_caption(file, "", "n = 5 seeds", None)
        assert file.read_text() == f"n = 5 seeds.\n{scale}"
