"""Collecting metrics files, and the statistics over seeds."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from dqv2.paper.collect import collect, device_note, read_csv, write_csv
from dqv2.paper.stats import require_one_row_per_seed, summarise
from dqv2.runtime import record
from dqv2.stages.collect import Collect
from tests.jobs import NOTHING


@pytest.fixture
def grid(tmp_path):
    rows = []
    for label, size in (("None", None), ("DQ_V2", 4)):
        for seed in range(3):
            columns = {
                "experiment": "fig5b", "dataset": "digits", "label": label, "tobias_size": size,
                "originals": 1.0, "keep_ratio": 0.1, "seed": seed,
            }  # fmt: skip
            file = tmp_path / f"{label}-{seed}" / "metrics.json"
            file.parent.mkdir()
            metrics = {"test_accuracy": 50.0 + seed, "coreset_size": 120, "n_test": 400, "device": "cpu", "seed": seed}
            file.write_text(json.dumps(metrics | {"history": [1, 2], "keep_ratio": 0.1, "dataset": "digits"}))
            rows.append({"columns": columns, "metrics": str(file), "records": []})
    return rows


def file_of(row):
    return Path(row["metrics"])


def test_one_tidy_row_a_run_with_whole_numbers_that_may_be_missing(grid):
    frame = collect(grid)
    assert frame.columns[:7].tolist() == list(grid[0]["columns"])
    assert {"test_accuracy", "coreset_size", "device"} <= set(frame.columns)
    assert "history" not in frame
    assert frame["tobias_size"].dtype == frame["n_test"].dtype == "Int64"
    assert frame["tobias_size"].isna().tolist() == [True] * 3 + [False] * 3
    assert frame["test_accuracy"].tolist() == [50.0, 51.0, 52.0] * 2


def test_seconds_by_stage_and_of_the_whole_selection_without_the_training(grid, tmp_path):
    behind = {
        "early_train": ("early", 10.0, "GPU"),
        "bin": ("selection", 2.0, "CPU"),
        "train": ("training", 300.0, "another GPU"),
    }
    records = []
    for stage, (account, seconds, device) in behind.items():
        file = tmp_path / stage / "record.json"
        file.parent.mkdir()
        record.write(file, NOTHING | {"stage": stage, "seconds": seconds, "device": device})
        records.append([stage, account, str(file)])
    rows = [row | {"records": records} for row in grid]
    frame = collect(rows)
    assert set(frame["selection_seconds"]) == {12.0}
    assert set(frame["early_seconds"]) == {10.0}
    assert set(frame["train_seconds"]) == {300.0}
    assert set(frame["selection_device"]) == {"CPU + GPU"}
    Path(records[1][2]).unlink()
    with pytest.raises(FileNotFoundError, match=r"records are missing, such as .*bin"):
        collect(rows)
    assert "selection_seconds" not in collect(rows, partial=True)


def test_csv_reads_back_equal_and_is_the_same_each_time(grid, tmp_path):
    frame = collect(grid)
    write_csv(frame, tmp_path / "a" / "x.csv")
    write_csv(collect(grid), tmp_path / "b.csv")
    text = (tmp_path / "b.csv").read_text()
    assert (tmp_path / "a" / "x.csv").read_text() == text
    assert ",4," in text
    assert "4.0" not in text
    back = read_csv(tmp_path / "b.csv")
    pd.testing.assert_frame_equal(back, frame)
    assert back["label"].tolist() == ["None"] * 3 + ["DQ_V2"] * 3  # a name, not a missing value
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["x.csv"]


def test_an_incomplete_grid_is_refused_with_names_and_count(grid):
    for row in grid[:2]:
        file_of(row).unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 6 runs") as error:
        collect(grid)
    assert grid[0]["metrics"] in str(error.value)
    assert grid[2]["metrics"] not in str(error.value)
    assert collect(grid, partial=True)["seed"].tolist() == [2, 0, 1, 2]


def test_at_most_five_missing_files_are_named(grid):
    for row in grid:
        file_of(row).unlink()
    with pytest.raises(FileNotFoundError) as error:
        collect(grid)
    assert str(error.value).count("metrics.json") == 5
    empty = collect(grid, partial=True)
    assert empty.empty
    assert "label" in empty


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 7}, "seed is 7, but the plan says 0"),
        ({"keep_ratio": 0.2}, "keep_ratio is 0.2"),
        ({"dataset": "cub"}, "dataset is 'cub'"),
        ({"test_accuracy": None}, "test_accuracy is None"),
        ({"test_accuracy": float("nan")}, "test_accuracy is nan"),
        ({"test_accuracy": 101}, "test_accuracy is 101"),
    ],
)
def test_a_file_of_another_run_or_without_an_accuracy_is_refused(grid, change, message):
    file = file_of(grid[0])
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        collect(grid)


def test_a_broken_file_is_named(grid):
    file_of(grid[3]).write_text('{"test_accuracy": 5')
    with pytest.raises(ValueError, match=r"DQ_V2-0.*not readable"):
        collect(grid)


def test_statistics_by_hand():
    frame = pd.DataFrame({"label": ["b", "b", "b", "a"], "y": [1.0, 2.0, 6.0, 4.0]})
    b, a = summarise(frame, "label", "y").to_dict("records")
    assert (b["label"], b["n"], b["mean"], b["min"], b["max"]) == ("b", 3, 3.0, 1.0, 6.0)
    assert b["variance"] == pytest.approx(7)
    assert b["sd"] == pytest.approx(7**0.5)
    assert b["ci95"] == pytest.approx(4.302652729911275 * (7 / 3) ** 0.5)  # t(0.975, 2) from a printed table
    low, _ = scipy_stats.t.interval(0.95, 2, loc=3, scale=(7 / 3) ** 0.5)
    assert b["mean"] - b["ci95"] == pytest.approx(low)
    assert (a["n"], a["mean"]) == (1, 4.0)
    assert np.isnan([a["sd"], a["variance"], a["ci95"]]).all()


def test_statistics_keep_missing_groups_and_refuse_missing_values():
    frame = pd.DataFrame({"size": pd.array([4, None, 4], dtype="Int64"), "y": [1.0, 2.0, 3.0]})
    assert summarise(frame, ["size"], "y")["n"].tolist() == [2, 1]
    assert summarise(frame, [], "y")["mean"].tolist() == [2.0]
    with pytest.raises(ValueError, match="1 of 3 values"):
        summarise(frame.assign(y=[1.0, None, 3.0]), "size", "y")
    with pytest.raises(ValueError, match="no column 'z'"):
        summarise(frame, "z", "y")


def test_a_mean_over_anything_but_seeds_is_refused():
    frame = pd.DataFrame({"label": ["a", "a"], "keep_ratio": [0.1, 0.2], "seed": [0, 0]})
    with pytest.raises(ValueError, match="differ in keep_ratio"):
        require_one_row_per_seed(frame, ["label"])
    require_one_row_per_seed(frame, ["label", "keep_ratio"])
    with pytest.raises(ValueError, match="listed twice"):
        require_one_row_per_seed(frame.assign(keep_ratio=0.1), ["label"])


def test_trainings_with_different_numbers_of_threads_are_said_in_the_note():
    frame = pd.DataFrame({"device": ["CPU", "CPU", "A GPU"], "threads": [4, 1, 8]}).astype({"threads": "Int64"})
    assert device_note("n = 3", frame, 3) == "n = 3 · A GPU · CPU · trained with 1 and 4 threads"
    assert device_note("n = 2", frame.iloc[1:], 2) == "n = 2 · A GPU · CPU"  # a GPU's weights do not depend on them
    assert device_note("n = 1", frame.drop(columns="threads"), 3) == "n = 1 · A GPU · CPU"


def test_collect_warns_of_different_numbers_of_threads(tmp_path, caplog):
    def run_of(*threads):
        rows = []
        for seed, count in enumerate(threads):
            file = tmp_path / f"{seed}.json"
            file.write_text(json.dumps({"test_accuracy": 50, "device": "CPU", "threads": count}))
            columns = {"dataset": "digits", "keep_ratio": 0.1, "seed": seed}
            rows.append({"columns": columns, "metrics": str(file), "records": []})
        output, wildcards = SimpleNamespace(csv=tmp_path / "table.csv"), SimpleNamespace(experiment="mine")
        options = {"rows": rows, "partial": False}
        Collect().run(SimpleNamespace(options=options, output=output, wildcards=wildcards))
        return caplog.text

    assert run_of(2, 2) == ""
    assert "collect mine: trained with 1 and 4 threads" in run_of(4, 1)
