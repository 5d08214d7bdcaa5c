"""The pipelines' diagram: rows in an order that is right for every method, arrows from what is read."""

import pytest

from dqv2.paper.diagram import _rows, draw_pipelines


def lane(title, **reads):
    stages = [{"key": k, "title": k, "detail": f"what {k} does", "reads": r.split()} for k, r in reads.items()]
    return {"title": title, "method": title, "stages": stages}


DQ = lane(
    "DQ",
    pack="",
    early="pack",
    bin="pack early",
    sample="pack bin",
    pixels="pack sample early",
    train="pack sample pixels",
)
V2 = lane(
    "DQ_V2",
    pack="",
    early="pack",
    tobias="pack early",
    bin="pack early tobias",
    sample="bin",
    train="pack sample tobias",
)


def test_equal_stages_share_a_row_and_none_stands_above_what_it_reads():
    assert _rows([DQ, V2]) == ["pack", "early", "tobias", "bin", "sample", "pixels", "train"]
    figure = draw_pipelines([DQ, V2], "a note", "demo")
    texts = {}
    for text in figure.axes[0].texts:
        texts.setdefault((text.get_gid(), text.get_text()), []).append(text.get_position())
    assert len(texts["lane", "DQ"]) == 1
    assert len({y for _, y in texts["stage title", "bin"]}) == 1, "one row for both methods"
    assert len(texts["stage title", "pixels"]) == 1
    heights = [texts["stage title", key][0][1] for key in _rows([DQ, V2])]
    assert heights == sorted(heights, reverse=True)


def test_only_a_methods_own_stages_are_tinted():
    patches = [patch for patch in draw_pipelines([DQ, V2], "", None).axes[0].patches if patch.get_gid() == "stage"]
    assert len(patches) == 12
    assert sum(patch.get_linewidth() > 1 for patch in patches) == 2


def test_long_arrows_do_not_share_a_track():
    lines = [line for line in draw_pipelines([DQ, V2], "", None).axes[0].lines if line.get_gid() == "arrow"]
    assert len(lines) == 2 + 2  # DQ: early to pixels, sample to train; DQ_V2: early to bin, tobias to train
    spans = [(line.get_xdata()[1], sorted(line.get_ydata()[1:])) for line in lines]
    for i, (x, (low, high)) in enumerate(spans):
        for other, (below, above) in spans[:i]:
            assert abs(x - other) > 0.05 or below >= high or above <= low


def test_text_stays_inside_its_box():
    wide = lane("DQ", pack="", train="pack")
    wide["stages"][1]["detail"] = "many words " * 20
    ax = draw_pipelines([wide, wide | {"title": "DQ_V2"}], "", None).axes[0]
    boxes = [patch.get_window_extent() for patch in ax.patches if patch.get_gid() == "stage"]
    for text in ax.texts:
        if text.get_gid() in ("detail", "stage title"):
            inner = text.get_window_extent()
            assert any(b.x0 <= inner.x0 and inner.x1 <= b.x1 and b.y0 <= inner.y0 and inner.y1 <= b.y1 for b in boxes)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="no common order"):
        draw_pipelines([lane("A", x="", y="x"), lane("B", y="", x="y")], "", None)
