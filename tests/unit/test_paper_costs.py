"""Costs from the records of the jobs behind each run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dqv2.paper.cost_figure import draw_costs
from dqv2.paper.costs import WHOLE, job_costs
from dqv2.runtime import record
from dqv2.stages import all_stages
from tests.jobs import NOTHING

TITLES = {name: each.title for name, each in all_stages().items()}
STAGES = {"dq": ("early_train", "bin", "pixels"), "dq_v2": ("early_train", "augment", "bin")}
SECONDS = {"early_train": 8.0, "augment": 1.0, "bin": 2.0, "pixels": 20.0, "train": 40.0}
ACCOUNTS = {"early_train": "early", "train": "training"}


@pytest.fixture
def jobs(tmp_path):
    """Two methods with three seeds each."""
    rows = []
    for method, stages in STAGES.items():
        for seed in range(3):
            records = []
            for stage in (*stages, "train"):
                file = tmp_path / method / stage / str(seed) / "record.json"
                file.parent.mkdir(parents=True)
                on_gpu = stage in ("early_train", "train")
                facts = NOTHING | {"stage": stage, "seconds": SECONDS[stage] + seed / 10, "wall_seconds": 30.0}
                facts |= {"memory_mb": 100.0 * len(stage), "device_memory_mb": 5.0 if on_gpu else None}
                record.write(file, facts)
                records.append([stage, ACCOUNTS.get(stage, "selection"), str(file)])
            columns = {"dataset": "digits", "dataset_title": "digits", "method": method, "label": method, "seed": seed}
            rows.append({"columns": columns, "records": records})
    return rows


@pytest.fixture
def runs():
    return pd.DataFrame(
        [
            {
                "dataset": "digits",
                "dataset_title": "digits",
                "method": method,
                "label": method,
                "seed": seed,
                "test_accuracy": 50.0 + seed,
                "selection_seconds": 20.0,
                "train_seconds": 40.0 + seed,
            }
            for method in STAGES
            for seed in range(3)
        ]
    )


def test_seconds_are_the_stages_own(jobs):
    table = job_costs(jobs)
    one = table[(table["method"] == "dq_v2") & (table["stage"] == "bin")].set_index("seed")
    assert one["seconds"].to_dict() == pytest.approx({0: 2.0, 1: 2.1, 2: 2.2})
    assert one["wall"].to_dict() == pytest.approx({0: 30, 1: 30, 2: 30})
    assert one["selects"].all()
    trained = table[(table["method"] == "dq") & (table["stage"] == "train")].set_index("seed")
    assert trained["seconds"].to_dict() == pytest.approx({0: 40.0, 1: 40.1, 2: 40.2})
    assert not trained["selects"].any()


def test_the_whole_is_the_sum_of_seconds_and_the_largest_memory_without_training(jobs):
    table = job_costs(jobs)
    whole = table[table["stage"] == WHOLE].set_index(["method", "seed"])
    assert len(whole) == 6
    assert whole.loc[("dq", 2), "seconds"] == pytest.approx(8.2 + 2.2 + 20.2)
    assert whole.loc[("dq_v2", 0), "seconds"] == pytest.approx(8.0 + 1.0 + 2.0)
    assert set(whole["memory"]) == {1100.0}
    assert set(whole["device_memory"]) == {5.0}
    assert not whole["selects"].any()


def test_operations_of_the_whole_are_known_where_those_of_all_its_jobs_are(jobs):
    flop = {file: 2.0 for row in jobs for *_, file in row["records"]}
    del flop[jobs[0]["records"][1][2]]
    table = job_costs(jobs, flop)
    whole = table[table["stage"] == WHOLE].set_index(["method", "seed"])["tflop"]
    assert np.isnan(whole["dq", 0])
    assert whole.drop(("dq", 0)).tolist() == [6.0] * 5
    assert job_costs(jobs)["tflop"].isna().all()


def test_memory_of_a_device_is_missing_where_there_was_none(jobs):
    table = job_costs(jobs).set_index(["stage", "method", "seed"])
    assert np.isnan(table.loc[("bin", "dq", 0), "device_memory"])
    assert table.loc[("train", "dq", 0), "device_memory"] == 5.0


def test_a_run_without_one_of_its_records_is_refused_or_left_out(jobs):
    Path(jobs[0]["records"][0][2]).unlink()
    with pytest.raises(ValueError, match=r"record\.json cannot be read .*its stage runs again"):
        job_costs(jobs)
    table = job_costs(jobs, partial=True)
    assert set(zip(table["method"], table["seed"], strict=True)) == {
        (row["columns"]["method"], row["columns"]["seed"]) for row in jobs[1:]
    }


def test_the_figure_shows_every_stage_method_and_seed(jobs, runs):
    figure = draw_costs(job_costs(jobs), runs, TITLES, "a note", "demo")
    seconds, memory, accuracy = figure.axes
    assert [text.get_text() for text in seconds.get_yticklabels()] == [
        "network",
        "Tobias images",
        "bins",
        "pixel step",
        "whole selection",
        "training",
    ], "as figure 1 says it"
    for ax in (seconds, memory):
        assert len([line for line in ax.lines if line.get_gid() == "stage"]) == 2
        assert ax.get_xscale() == "log"
    (seeds,) = [points for points in accuracy.collections if points.get_gid() == "seeds"]
    assert seeds.get_offsets().tolist() == [[60, 50], [61, 51], [62, 52]] * 2
    assert len({tuple(face) for face in seeds.get_facecolor()}) == 2
    whiskers = [bar for drawn in accuracy.containers for lines in drawn[2] for bar in lines.get_segments()]
    np.testing.assert_allclose(whiskers, [[[61, 50], [61, 52]]] * 2)
    assert "± 1 standard deviation" in " ".join(text.get_text() for text in figure.texts)
    size = figure.bbox
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= size.x1


def test_two_jobs_of_a_stage_count_together(jobs, runs):
    """As of a method with two networks: its seconds are their sum, its memory the larger."""
    for row in jobs:
        if row["columns"]["method"] == "dq":
            file = Path(row["records"][0][2])
            again = file.with_name("second.json")
            again.write_text(file.read_text(encoding="utf-8"))
            row["records"].insert(0, ["early_train", "early", str(again)])
    seconds, memory, _ = draw_costs(job_costs(jobs), runs, TITLES, "", None).axes
    of_dq = [next(line for line in ax.lines if line.get_gid() == "stage").get_xdata()[0] for ax in (seconds, memory)]
    assert of_dq == [pytest.approx(2 * 8.1), 1100.0]


def test_the_axis_says_that_memory_is_the_hosts(jobs, runs):
    axes = draw_costs(job_costs(jobs), runs, TITLES, "", None).axes
    assert axes[1].get_xlabel() == "Peak host memory (MB)"


def test_without_a_run_the_figure_says_so(runs):
    costs = job_costs([])
    assert costs.empty
    assert {"dataset", "stage", "seconds", "memory", "selects"} <= set(costs)
    figure = draw_costs(costs, runs.iloc[:0], {}, "PARTIAL: 6 of 6 runs are missing", "demo")
    assert figure.axes[0].texts[0].get_text() == "No run to show here has finished yet."


def test_no_claim_finds_an_arm_of_which_the_experiment_replaces_something(jobs):
    for row in jobs:
        if row["columns"]["method"] == "dq":
            row["columns"] |= {"label": "DQ, another network", "replaces": "backbone"}
    assert set(job_costs(jobs)["method"]) == {"DQ, another network", "dq_v2"}
