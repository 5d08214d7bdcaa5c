"""Figures from made-up tables: what is drawn, in which colours, and that nothing overlaps."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection

from dqv2.paper import style
from dqv2.paper.collect import read_csv, write_csv
from dqv2.paper.figures import draw
from dqv2.paper.kinds import FIGURES
from dqv2.paper.pictures import picture_grid
from dqv2.paper.stats import summarise
from tests.unit.made_up import EIGHT, mixtures, sizes, table

NOTE = "DEMO SCALE · digits · n = 3 seeds · keep ratio 0.1 · CPU · mean ± standard deviation over seeds"


def seeds_drawn(figure):
    points = [c for ax in figure.axes for c in ax.collections if c.get_gid() == "seeds"]
    faces = {tuple(face[:3]) for c in points for face in c.get_facecolor()}
    return np.concatenate([c.get_offsets() for c in points]), faces


def texts(figure):
    """Every text that shows something: ticks, titles, values, note, badge, legend."""
    found = [t for t in figure.texts if t.get_text()]
    for legend in figure.legends:
        found += legend.get_texts()
    for ax in (ax for ax in figure.axes if ax.axison):
        found += [
            *ax.texts,
            ax.title,
            ax.xaxis.label,
            ax.yaxis.label,
            *ax.get_xticklabels(),
            *ax.get_yticklabels(),
        ]
    return [t for t in found if t.get_text().strip() and t.get_visible()]


def inside_and_apart(figure):
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height(physical=True)
    boxes = []
    for text in texts(figure):
        x, y = text.get_window_extent().get_points().T
        assert x.min() >= -1, text
        assert y.min() >= -1, text
        assert x.max() <= width + 1, text
        assert y.max() <= height + 1, text
        if text.get_rotation() in (0, 90):  # slanted ticks are apart though their boxes are not
            boxes.append((text, x.min(), x.max(), y.min(), y.max()))
    for (a, *p), (b, *q) in itertools.combinations(boxes, 2):
        apart = p[1] <= q[0] + 1 or q[1] <= p[0] + 1 or p[3] <= q[2] + 1 or q[3] <= p[2] + 1
        assert apart, f"{a.get_text()!r} overlaps {b.get_text()!r}"
    for ax in figure.axes:
        limits = ax.get_window_extent()
        for text in ax.texts:
            assert text.get_window_extent().y1 <= limits.y1 + 2, f"{text.get_text()} leaves the axes"


CASES = {
    "eight methods": (table(), {"kind": "methods"}, 24, 8),
    "eight methods, narrow": (table(seeds=5), {"kind": "methods", "width": "column"}, 40, 8),
    "four methods": (table(EIGHT[4:], 5), {"kind": "methods", "title": "Methods on digits"}, 20, 4),
    "a panel a dataset": (table(EIGHT[4:7], 5, ("digits", "cub", "food")), {"kind": "methods"}, 45, 3),
    "datasets with a hue": (
        table(EIGHT[4:7], 5, ("digits", "cub", "food")),
        {"kind": "methods", "x": "dataset", "hue": "label"}, 45, 3,
    ),
    "one seed": (table(seeds=1), {"kind": "methods"}, 8, 8),
    "Tobias sizes": (
        sizes(5), {"kind": "line", "reference": [{"label": "no Tobias", "tobias_size": None}]}, 25, 1,
    ),
    "Tobias sizes by mask": (
        pd.concat([sizes().dropna().assign(mask=mask) for mask in ("ResNet-50", "true", "centre")]),
        {"kind": "line", "hue": "mask", "hue_label": "Mask:"}, 45, 3,
    ),
    "mixtures": (mixtures(), {"kind": "mixing"}, 24, 3),
    "mixtures of three datasets": (mixtures(("digits", "cub", "food")), {"kind": "mixing"}, 72, 3),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_seed_is_a_point_in_its_colour_and_nothing_overlaps(case):
    frame, spec, points, colours = CASES[case]
    figure = draw(frame, {"label": "demo", **spec}, NOTE)
    places, faces = seeds_drawn(figure)
    assert len(places) == points
    assert len(faces) == colours
    drawn = frame.dropna(subset=["tobias_size"]) if "tobias_size" in frame else frame
    np.testing.assert_allclose(np.sort(places[:, 1]), np.sort(drawn["test_accuracy"]))
    assert "demo" in [t.get_text() for t in figure.texts]
    assert figure.axes[0].get_ylabel() == "Top-1 accuracy (%)"
    for ax in figure.axes:
        low, high = ax.get_ylim()
        assert low < places[:, 1].min() or len(figure.axes) > 1
        assert ax.dataLim.y1 < high
        ticks = ax.get_yticks()
        assert len(ticks) >= 3
        assert ax.dataLim.y1 <= ticks[-1] + (ticks[-1] - ticks[-2]) / 2, "the axis covers the data"
    inside_and_apart(figure)


def test_seeds_of_equal_accuracy_stay_apart():
    figure = draw(table(("DQ",), 5).assign(test_accuracy=60.0), {"kind": "methods"}, NOTE)
    places, _ = seeds_drawn(figure)
    assert len(np.unique(places[:, 0])) == 5
    assert [t.get_text() for t in figure.axes[0].texts] == ["60.00 ± 0.00"]


def test_the_value_above_is_mean_and_sd_of_the_seeds():
    frame = table(("DQ",)).assign(test_accuracy=[70.0, 71.0, 75.0])
    assert [t.get_text() for t in draw(frame, {"kind": "methods"}, "").axes[0].texts] == ["72.0 ± 2.6"]
    uneven = pd.concat([frame, table(("GC",), 1)])
    shown = [t.get_text() for t in draw(uneven, {"kind": "methods"}, "").axes[0].texts]
    assert shown[0] == "72.0 ± 2.6\nn = 3"
    assert shown[1].endswith("\nn = 1")


def test_decimals_of_a_figure_are_the_configurations():
    frame = table(("DQ",)).assign(test_accuracy=[70.0, 71.0, 75.0])
    shown = draw(frame, {"kind": "methods", "decimals": 3}, "").axes[0].texts
    assert [text.get_text() for text in shown] == ["72.000 ± 2.646"]


def foot(figure):
    """The note, on one line."""
    (note,) = [text.get_text() for text in figure.texts if text.get_gid() == "note"]
    return note.replace("\n", " ")


def whiskers(ax):
    """The lower and upper end of each whisker, by its place."""
    bars = [segment for drawn in ax.containers for bar in drawn[2] for segment in bar.get_segments()]
    return np.array(sorted(bars, key=lambda bar: bar[0, 0]))[:, :, 1]


def means_of(ax):
    points = np.concatenate([line.get_xydata() for line in ax.lines if line.get_gid() == "mean"])
    return points[points[:, 0].argsort(), 1]


def test_means_and_whiskers_are_the_seeds_own():
    arms = summarise(table(EIGHT[:3], 5), "label", "test_accuracy")
    ax = draw(table(EIGHT[:3], 5), {"kind": "methods"}, NOTE).axes[0]
    np.testing.assert_allclose(means_of(ax), arms["mean"])
    np.testing.assert_allclose(whiskers(ax), np.stack([arms["mean"] - arms["sd"], arms["mean"] + arms["sd"]], 1))


def test_a_line_has_whiskers_by_hue_and_else_a_band():
    frame = sizes(5).dropna()
    arms = summarise(frame, "tobias_size", "test_accuracy")
    alone, hued = (draw(frame, {"kind": "line", **spec}, NOTE).axes[0] for spec in ({}, {"hue": "label"}))
    for ax in (alone, hued):
        np.testing.assert_allclose(means_of(ax), arms["mean"])
    np.testing.assert_allclose(whiskers(hued)[:, 0], arms["mean"] - arms["sd"])
    (band,) = [drawn for drawn in alone.collections if isinstance(drawn, PolyCollection)]
    edges = band.get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx((arms["mean"] - arms["sd"]).min())
    assert edges.max() == pytest.approx((arms["mean"] + arms["sd"]).max())
    assert not [drawn for drawn in hued.collections if isinstance(drawn, PolyCollection)]


def test_lines_of_several_hues_lie_over_their_own_places_and_the_seeds_beside_them():
    """A line that is moved aside has another height over each place."""
    figure = draw(mixtures(), {"kind": "mixing"}, NOTE)
    lines = [line for line in figure.axes[0].lines if line.get_gid() == "mean"]
    assert len(lines) > 1
    assert all(place == round(place) for line in lines for place in line.get_xdata())
    places = seeds_drawn(figure)[0][:, 0]
    assert ((places % 1 > 0.05) & (places % 1 < 0.5)).all()


@pytest.mark.parametrize("hue", [None, "label"])
def test_a_line_breaks_where_an_arm_is_missing(hue):
    """Of two panels one lacks a size in the middle, and has one value alone at the end."""
    whole = sizes(3).dropna()
    lacks = whole[~whole["tobias_size"].isin([16, 40])].assign(dataset="other")
    lacks = pd.concat([lacks, whole[whole["tobias_size"] == 40].assign(dataset="other")])
    spec = {"kind": "line", "hue": hue, "order": [4, 8, 16, 40, 32]}
    figure = draw(pd.concat([whole, lacks]), spec, NOTE)
    joined = [[line.get_xdata().tolist() for line in ax.lines if line.get_gid() == "mean"] for ax in figure.axes]
    assert [sorted(lines) for lines in joined] == [[[0, 1, 2, 3, 4]], [[0, 1], [3, 4]]]
    assert len(whiskers(figure.axes[1])) == 4, "a band has no spread of a value that stands alone"
    assert "whiskers: ± 1 standard deviation" in foot(figure)


def test_a_line_that_lacks_an_arm_in_one_hue_breaks_there_alone():
    frame = pd.concat([sizes(3).dropna(), sizes(3, "DQ").dropna()], ignore_index=True)
    frame = frame[~((frame["label"] == "DQ") & (frame["tobias_size"] == 8))]
    (ax,) = draw(frame, {"kind": "line", "hue": "label"}, NOTE).axes
    lengths = sorted(len(line.get_xdata()) for line in ax.lines if line.get_gid() == "mean")
    assert lengths == [1, 3, 5]


REFERENCE = {"reference": [{"label": "no Tobias", "tobias_size": None}]}


@pytest.mark.parametrize(
    ("frame", "spec", "said"),
    [
        (table(seeds=3), {"kind": "methods"}, ["points: seeds", "dash: mean", "whiskers: ± 1 SD over n = 3 seeds"]),
        (
            pd.concat([table(("GC",), 3), table(("DQ",), 1)]),
            {"kind": "methods"},
            ["whiskers: ± 1 SD over n = 1–3 seeds"],
        ),
        (mixtures(), {"kind": "mixing"}, ["line: mean", "whiskers: ± 1 SD over n = 3 seeds"]),
        (
            sizes(3),
            {"kind": "line", **REFERENCE},
            ["band: ± 1 SD over n = 3 seeds", "grey band: ± 1 SD of the reference"],
        ),
        (table(seeds=1), {"kind": "methods"}, ["n = 1 seed: every mark is one run"]),
    ],
)
def test_a_figure_says_what_its_marks_are(frame, spec, said):
    note = foot(draw(frame, spec, NOTE))
    for part in said:
        assert part.replace("SD", "standard deviation") in note


def test_how_many_seeds_there_are_is_said_once_and_of_those_that_are_drawn():
    assert foot(draw(table(seeds=3), {"kind": "methods"}, NOTE)).count("n = 3 seeds") == 1
    missing = foot(draw(table(seeds=3).iloc[1:], {"kind": "methods"}, NOTE))
    assert "n = 2–3 seeds" in missing
    assert "n = 3 seeds" not in missing


def test_the_spread_that_the_paper_reports_is_said_to_be_one():
    spec = {
        "kind": "methods",
        "reported": [{"label": "DQ", "mean": 58.0, "variance": 4.0}, {"label": "GC", "mean": 57}],
    }
    figure = draw(table(), spec, NOTE)
    ends = [bar.get_segments()[0][:, 1] for drawn in figure.axes[0].containers for bar in drawn[2]]
    assert any(np.allclose(end, [56, 60]) for end in ends)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["reported in the paper", "reported in the paper, ± 1 standard deviation"]


def test_the_reference_and_the_reported_value_stand_where_they_should():
    frame = sizes()
    spec = {"kind": "line", "reference": [{"label": "no Tobias", "tobias_size": None}]}
    spec["reported"] = [
        {"dataset": "digits", "tobias_size": 40, "mean": 73.5},
        {"tobias_size": 8, "mean": None},
    ]
    ax = draw(frame, spec, NOTE).axes[0]
    (line,) = [a for a in ax.lines if a.get_gid() == "reference"]
    assert line.get_ydata()[0] == pytest.approx(frame[frame.tobias_size.isna()].test_accuracy.mean())
    (dot,) = [a for a in ax.lines if a.get_gid() == "reported"]
    assert dot.get_ydata()[0] == 73.5
    assert round(dot.get_xdata()[0]) == 4
    assert ax.get_ylim()[1] > 73.5


def test_order_and_names_are_the_specs():
    spec = {"kind": "methods", "order": list(EIGHT[::-1]), "names": {"GC": "Graph Cut"}}
    ticks = [t.get_text().replace("\n", " ").strip() for t in draw(table(), spec, "").axes[0].get_xticklabels()]
    assert ticks == ["Graph Cut" if name == "GC" else name for name in EIGHT[::-1]]


def test_a_csv_draws_the_same_as_the_table_it_was_written_from(tmp_path):
    frame = sizes().assign(method="dq_v2", keep_ratio=0.1)
    write_csv(frame, tmp_path / "x.csv")
    spec = {"kind": "line", "reference": [{"label": "no Tobias", "tobias_size": None}], "hue": "method"}
    for name, source in (("a", frame), ("b", read_csv(tmp_path / "x.csv"))):
        style.save(draw(source, spec, NOTE), tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("frame", "spec", "message"),
    [
        (table(), {"kind": "methods", "order": ["DQ"]}, "not in the order"),
        (table(), {"kind": "methods", "where": {"label": "nobody"}}, "no row to draw"),
        (table(), {"kind": "line"}, "no column 'tobias_size'"),
        (sizes(), {"kind": "line"}, "3 rows have no tobias_size"),
        (
            sizes(),
            {"kind": "line", "reference": [{"label": "?", "seed": 99}]},
            "no row matches the reference",
        ),
        (sizes(), {"kind": "methods"}, "differ in tobias_size"),
    ],
)
def test_errors_say_what_is_wrong(frame, spec, message):
    with pytest.raises(ValueError, match=message):
        draw(frame, spec, NOTE)


def test_a_method_looks_the_same_in_every_figure():
    few, many = style.looks(["DQ_V2", "DQ"]), style.looks([*EIGHT, "my own"])
    assert {name: many[name] for name in few} == few
    assert len({look.colour for look in many.values()}) == 9
    for names in (
        ("DQ (no pixel step)", "dq_no_pixel", "DQ without MAE"),
        ("DQ_V2", "dq_v2"),
        ("GC", "graphcut"),
    ):
        assert len({style.looks([name])[name] for name in names}) == 1
    everyone = [f"method {i}" for i in range(6)]
    assert len({look.colour for look in style.looks(everyone).values()}) == 6

    def colour(frame):
        return seeds_drawn(draw(frame, {"kind": "methods"}, ""))[1]

    assert colour(table(("DQ_V2",))) < colour(table())


def test_a_methods_colour_stands_for_nothing_else():
    methods = {look.colour for look in style.KNOWN.values()}
    assert methods.isdisjoint(look.colour for look in style.SEQUENCE)
    assert methods.isdisjoint(style.OTHERS)
    assert len(set(style.SEQUENCE)) == len(style.SEQUENCE)


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in "ab":
        figure = draw(sizes(), {"kind": "line", "reference": [{"label": "none", "tobias_size": None}]}, NOTE)
        style.save(figure, tmp_path / name / "f.pdf", tmp_path / name / "f.png")
    for kind in ("pdf", "png"):
        first, second = ((tmp_path / name / f"f.{kind}").read_bytes() for name in "ab")
        assert first == second
        assert b"CreationDate" not in first
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["f.pdf", "f.png"]


def test_pictures_are_drawn_pixel_by_pixel_under_their_titles():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    columns = {
        "Original": images,
        "Tobias, 4 × 4": images[:, :, ::2, ::2],
        "A title of several words": images,
    }
    figure = picture_grid(columns, NOTE, "demo", ["one", "two"])
    assert len(figure.axes) == 6
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), images[0].transpose(1, 2, 0))
    assert {ax.images[0].get_interpolation() for ax in figure.axes} == {"nearest"}
    inside_and_apart(figure)
    assert [text.get_text() for text in figure.texts if text.get_gid() == "row"] == ["one", "two"]
    boxes = np.array([ax.get_window_extent().size for ax in figure.axes])
    np.testing.assert_allclose(boxes, boxes[0, 0], rtol=1e-6)


def test_a_partial_figure_without_a_run_says_so():
    planned = pd.DataFrame(columns=["dataset", "label", "seed", "originals", "tobias", "tobias_size"])
    for kind in FIGURES:
        figure = draw(planned, {"kind": kind, "label": "demo", "partial": True}, "PARTIAL: 6 of 6 runs are missing")
        said = [text.get_text() for text in (*figure.axes[0].texts, *figure.texts)]
        assert "No run to show here has finished yet." in said
        assert "PARTIAL: 6 of 6 runs are missing" in said
        with pytest.raises(ValueError, match="no row to draw"):
            draw(planned, {"kind": kind}, "")


def test_a_partial_figure_leaves_out_a_reference_without_a_run():
    frame = sizes()
    spec = {"kind": "line", "reference": [{"label": "none", "dataset": "elsewhere"}]}
    with pytest.raises(ValueError, match="no row matches the reference"):
        draw(frame.dropna(), spec, "")
    figure = draw(frame.dropna(), {**spec, "partial": True}, "")
    assert not [line for line in figure.axes[0].lines if line.get_gid() == "reference"]


def test_no_panels_draw_one_data_set_as_by_default(tmp_path):
    for name, spec in (("unset", {}), ("null", {"panel": None})):
        figure = draw(table(), {"kind": "methods", **spec}, NOTE)
        style.save(figure, tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
    assert (tmp_path / "unset.png").read_bytes() == (tmp_path / "null.png").read_bytes()


def test_a_figure_whose_names_leave_little_room_grows_once_unless_its_height_is_given():
    names = [f"a mask of a network with a long name, {i}" for i in range(11)]
    frame = table(names, 3)
    grown, given = draw(frame, {"kind": "methods"}, NOTE), draw(frame, {"kind": "methods", "height": 2.6}, NOTE)
    assert grown.get_size_inches()[1] > given.get_size_inches()[1] == pytest.approx(2.6)
    height = [each.axes[0].get_window_extent().height / each.dpi for each in (grown, given)]
    assert height[0] > height[1] + 0.1
    written = " ".join(text.get_text() for text in grown.texts)
    assert written.count("points: seeds") == 1


def test_a_legend_taller_than_the_figure_makes_it_grow_and_covers_no_axes():
    frame = pd.concat([table([f"Way {k}" for k in range(60)], 2).assign(keep_ratio=keep) for keep in (0.1, 0.2)])
    spec = {"kind": "line", "x": "keep_ratio", "hue": "label"}
    figure = draw(frame, spec, NOTE)
    legend, axes = figure.legends[0].get_window_extent(), figure.axes[0].get_tightbbox()
    assert axes.y1 < legend.y0
    assert axes.height / figure.dpi > 1.3
    with pytest.raises(ValueError, match="height: legend and note leave no room for the axes; give "):
        draw(frame, spec | {"height": 2}, NOTE)
