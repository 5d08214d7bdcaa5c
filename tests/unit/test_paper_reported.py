"""What the paper reports stands beside the arm that it is about, hollow or in its own column, and nowhere else."""

import numpy as np
import pandas as pd
import pytest

from dqv2.paper.figures import draw
from dqv2.paper.reported import reported_values
from dqv2.paper.tables import results_table, write_table
from tests.unit.made_up import method, world

SPEC = {"kind": "methods", "panel": "dataset_title"}


def dots(figure):
    """Panel -> the positions and heights of the paper's marks."""
    return {
        ax.get_title(): [
            (round(line.get_xdata()[0]), line.get_ydata()[0]) for line in ax.lines if line.get_gid() == "reported"
        ]
        for ax in figure.axes
    }


def test_a_mark_stands_in_the_panel_and_column_of_its_arm():
    figure = draw(world()["fig4b"], SPEC | {"reported": reported_values("fig4b")}, "")
    found = dots(figure)
    assert found["ImageNette"] == [(0, 72.14), (1, 73.80)]
    assert [found[name] for name in ("ImageNet-30", "CUB-200-2011", "Food-101")] == [[], [], []]
    for line in figure.axes[0].lines:
        if line.get_gid() == "reported":
            assert line.get_markerfacecolor() == "white"
    low, high = figure.axes[0].get_ylim()
    assert low < 72.14
    assert high > 73.80


def test_a_mark_never_covers_a_value():
    frame = world()["fig4b"]
    for mean in np.linspace(70, 76.5, 9):
        entries = [{"dataset": name, "method": "dq_v2", "mean": mean} for name in ("imagenette", "food101")]
        figure = draw(frame, SPEC | {"reported": entries}, "n = 5")
        for ax in figure.axes:
            for mark in (line for line in ax.lines if line.get_gid() == "reported"):
                x, y = ax.transData.transform((mark.get_xdata()[0], mark.get_ydata()[0]))
                half = mark.get_markersize() / 2 * figure.dpi / 72
                for box in (text.get_window_extent() for text in ax.texts if text.get_gid() == "value"):
                    assert not (box.x0 < x + half and x - half < box.x1 and box.y0 < y + half and y - half < box.y1), (
                        mean
                    )
                    assert box.y1 < figure.bbox.y1


def test_the_papers_value_of_another_data_set_is_not_drawn():
    figure = draw(world(datasets=["digits"])["fig4b"], SPEC | {"reported": reported_values("fig4b")}, "")
    assert dots(figure) == {"digits on photographs": []}


def test_a_value_that_fits_several_arms_is_refused():
    with pytest.raises(ValueError, match="fits several arms"):
        draw(world()["fig4b"], SPEC | {"reported": [{"method": "dq", "mean": 70.0}]}, "")
    two = [{"dataset": "imagenette", "mean": 70.0}]
    with pytest.raises(ValueError, match="must name dataset_title and label"):
        draw(world()["fig4b"], SPEC | {"reported": two}, "")


def test_a_variance_is_a_bar_and_a_plus_minus_is_none():
    frame = pd.concat([method("imagenette", "dq", 55, 1), method("imagenette", "dq_v2", 57, 1)])
    known = [{"method": "dq", "mean": 55.3, "variance": 4.0}]
    bars = [
        len(draw(frame, {"kind": "methods", "reported": entries}, "").axes[0].collections)
        for entries in (known, reported_values("vit"))
    ]
    assert bars[0] == bars[1] + 1


def test_table_two_has_all_of_the_papers_numbers_in_their_cells():
    spec = {"row": "method", "column": "keep_ratio", "reported": reported_values("table2")}
    table = results_table(world()["table2"], spec)
    assert table["reported"].notna().all()
    cell = table.set_index(["method", "keep_ratio"])["reported"]
    assert cell["dq_v2", 0.1] == 53.12
    assert cell["grand", 0.3] == 43.65


def test_what_the_paper_prints_after_plus_minus_is_printed_and_not_called_a_deviation(tmp_path):
    frame = pd.concat([method("imagenette", "dq", 55, 1), method("imagenette", "dq_v2", 57, 1)])
    spec = {"row": "label", "column": "dataset", "reported": reported_values("vit")}
    table = results_table(frame, spec)
    assert table["reported_sd"].isna().all()
    assert table["reported_plus_minus"].tolist() == [2.73, 1.20]
    write_table(frame, spec, "", *(tmp_path / f"t.{kind}" for kind in ("csv", "md", "tex")))
    text = (tmp_path / "t.md").read_text()
    assert "55.30 ± 2.73" in text
    assert "does not say of what" in text
    write_table(frame, spec | {"reported": []}, "", *(tmp_path / f"t.{kind}" for kind in ("csv", "md", "tex")))
    assert "does not say of what" not in (tmp_path / "t.md").read_text()


def test_a_tables_numbers_have_the_interval_for_the_papers_mean_and_the_test_sets_error():
    spec = {"row": "method", "column": "keep_ratio", "reported": reported_values("table2")}
    table = results_table(world()["table2"].assign(n_test=pd.array([10_000], dtype="Int64")[0]), spec)
    row = table.set_index(["method", "keep_ratio"]).loc["dq", 0.2]
    half = 2.7764451 * row["sd"] * (1 / 5 + 1 / 5) ** 0.5
    assert (row["predicted_low"], row["predicted_high"]) == pytest.approx((row["mean"] - half, row["mean"] + half))
    assert row["test_set_error"] == pytest.approx((row["mean"] * (100 - row["mean"]) / 10_000) ** 0.5)
    assert "test_set_error" not in results_table(world()["table2"], spec), "nobody knows how many images"


def test_an_arm_of_which_the_experiment_replaces_something_has_none():
    frame = method("imagenette", "dq", 55, 1).assign(replaces=None)
    other = method("imagenette", "dq", 50, 1).assign(label="DQ, another network", replaces="backbone")
    both, entries = pd.concat([frame, other]), [{"method": "dq", "mean": 55.3}]
    table = results_table(both, {"reported": entries}).set_index("label")["reported"]
    assert table["DQ, another network"] != table["DQ, another network"]  # missing
    assert table.drop("DQ, another network").tolist() == [55.3]
    assert len(dots(draw(both, {"kind": "methods", "reported": entries}, ""))[""]) == 1
