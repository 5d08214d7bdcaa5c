"""Costs from the stages' own clocks and Snakemake's benchmark files."""

import json

import numpy as np
import pandas as pd
import pytest

from dqv2.paper.cost_figure import draw_costs
from dqv2.paper.costs import WHOLE, job_costs, read_benchmark

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
STAGES = {"dq": ("early_train", "bin", "pixels"), "dq_v2": ("early_train", "augment", "bin")}
SECONDS = {"early_train": 8.0, "augment": 1.0, "bin": 2.0, "pixels": 20.0, "train": 40.0}


@pytest.fixture
def jobs(tmp_path):
    """Two methods, two chunks of seeds, of two seeds and of one."""
    found = []
    for method, stages in STAGES.items():
        for seeds in ([0, 1], [2]):
            for stage in (*stages, "train"):
                folder = tmp_path / method / stage / str(seeds[0])
                folder.mkdir(parents=True)
                benchmark = folder / "b.tsv"
                benchmark.write_text(HEAD + f"{30 * len(seeds)}\t0:01:00\t{100 * len(stage)}\t1\t1\t1\t0\t0\t0\t0\n")
                costs = [folder / f"{seed}.json" for seed in seeds]
                for file, seed in zip(costs, seeds, strict=True):
                    facts = {"seconds": SECONDS[stage] + seed / 10, "benchmark": str(benchmark), "made": len(seeds)}
                    file.write_text(json.dumps(facts))
                found.append(
                    {
                        "dataset": "digits",
                        "dataset_title": "digits",
                        "method": method,
                        "label": method,
                        "stage": stage,
                        "seeds": seeds,
                        "selects": stage != "train",
                        "costs": costs,
                    }
                )
    return found


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


def test_seconds_are_the_stages_own_and_a_seeds(jobs):
    table = job_costs(jobs)
    one = table[(table["method"] == "dq_v2") & (table["stage"] == "bin")].set_index("seed")
    assert one["seconds"].to_dict() == pytest.approx({0: 2.05, 2: 2.2})
    assert one["wall"].to_dict() == pytest.approx({0: 30, 2: 30})
    trained = table[(table["method"] == "dq") & (table["stage"] == "train")].set_index("seed")
    assert trained["seconds"].to_dict() == pytest.approx({0: 40.05, 2: 40.2})


def test_the_whole_is_the_sum_of_seconds_and_the_largest_memory_without_training(jobs):
    table = job_costs(jobs)
    whole = table[table["stage"] == WHOLE].set_index(["method", "seed"])
    assert len(whole) == 4
    assert whole.loc[("dq", 2), "seconds"] == pytest.approx(8.2 + 2.2 + 20.2)
    assert whole.loc[("dq_v2", 0), "seconds"] == pytest.approx(8.05 + 1.05 + 2.05)
    assert set(whole["memory"]) == {1100.0}
    assert not whole["selects"].any()


def test_memory_that_was_not_measured_is_missing(tmp_path, jobs):
    file = tmp_path / "x.tsv"
    for text in ("NA", "-", "0"):
        file.write_text(HEAD + f"0.4\t0:00:00\t{text}\t1\t1\t1\t0\t0\t0\t0\n")
        found = read_benchmark(file)
        assert found["seconds"] == 0.4
        assert np.isnan(found["memory"])
    file.write_text("nothing")
    with pytest.raises(ValueError, match="not one of Snakemake's benchmark files"):
        read_benchmark(file)
    jobs[0]["costs"][0].with_name("b.tsv").unlink()
    assert job_costs(jobs)["memory"].isna().sum() == 1


def test_the_figure_shows_every_stage_method_and_seed(jobs, runs):
    figure = draw_costs(job_costs(jobs), runs, "a note", "demo")
    seconds, memory, accuracy = figure.axes
    assert [text.get_text() for text in seconds.get_yticklabels()] == [
        "early train",
        "augment",
        "bin",
        "pixels",
        "whole selection",
        "train",
    ]
    for ax in (seconds, memory):
        assert len([line for line in ax.lines if line.get_gid() == "stage"]) == 2
        assert ax.get_xscale() == "log"
    assert sum(len(line.get_xdata()) for line in accuracy.lines if line.get_gid() == "seeds") == 6
    assert accuracy.lines[0].get_xdata().tolist() == [60, 61, 62]
    size = figure.bbox
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= size.x1


def test_the_axis_says_that_memory_is_the_hosts(jobs, runs):
    axes = draw_costs(job_costs(jobs), runs, "", None).axes
    assert axes[1].get_xlabel() == "Peak host memory (MB)"


def test_without_a_run_the_figure_says_so(runs):
    costs = job_costs([])
    assert costs.empty
    assert {"dataset", "stage", "seconds", "memory", "selects"} <= set(costs)
    figure = draw_costs(costs, runs.iloc[:0], "PARTIAL: 6 of 6 runs are missing", "demo")
    assert figure.axes[0].texts[0].get_text() == "No run to show here has finished yet."
