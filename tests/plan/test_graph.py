"""The jobs behind a run, what sharing saves, and what is made of several experiments together."""

import subprocess
import sys

import pytest
from dqv2.plan.batches import count_jobs
from dqv2.plan.graph import chain_of, job_of, wanted
from dqv2.plan.pipeline import pipelines

from dqv2.config import ConfigError, load_config
from dqv2.plan import Plan
from dqv2.plan import report as together
from dqv2.stages import STAGES
from tests.conftest import ROOT

VERSIONS = dict.fromkeys(STAGES, 1)


def make(values):
    return Plan(load_config(values), VERSIONS)


def run_of(plan, experiment, method):
    return next(run for run, _, name in plan.rows[experiment] if name == method)


def stages(jobs):
    return [job.stage for job in jobs]


def test_a_chain_is_in_an_order_that_can_run(demo):
    plan = make(demo)
    for run in plan.runs[:: len(demo["seeds"])]:
        done = set()
        for job, reads in chain_of(plan, run).items():
            assert set(reads) <= done
            done.add(job)


def test_the_chains_of_dq_and_dq_v2(demo):
    plan = make(demo)
    v2, dq = (chain_of(plan, run_of(plan, "fig4b", name)) for name in ("dq_v2", "dq"))
    assert stages(v2) == [
        "pack",
        "early_train",
        "saliency",
        "augment",
        "features",
        "bin",
        "sample",
        "train",
        "evaluate",
    ]
    assert {"autoencoder", "pixels"} == set(stages(dq)) - set(stages(v2))
    (pixels,) = (reads for job, reads in dq.items() if job.stage == "pixels")
    assert {"sample", "early_train", "autoencoder"} <= set(stages(reads for reads in pixels))
    (bins,) = (reads for job, reads in v2.items() if job.stage == "bin")
    assert {"saliency", "features"} <= set(stages(bins))


def test_a_file_that_no_stage_makes_is_refused():
    assert job_of("digits/early/early/seed-{seed}/model.pt")[0].stage == "early_train"
    with pytest.raises(ValueError, match="no stage makes"):
        job_of("digits/early/early/seed-{seed}/other.pt")


def test_sharing_saves_and_never_loses(demo, change):
    plan = make(change(demo, "arms_per_job", {}))
    shared, apart = count_jobs(plan)
    assert set(shared) == set(apart)
    assert all(shared[stage] <= apart[stage] for stage in apart)
    assert shared["train"] == len(plan.runs) / len(demo["seeds"]) > 30
    assert apart.total() > 2 * shared.total()


def test_one_experiment_by_hand(demo, change):
    plan = make(
        change(change(demo, "arms_per_job", {}), "targets", ["cutmix"])
    )  # dq, dq_cutmix, dq_no_pixel: one coreset, three trainings
    shared, apart = count_jobs(plan)
    assert shared == {
        "pack": 1,
        "early_train": 1,
        "saliency": 1,
        "bin": 1,
        "sample": 1,
        "autoencoder": 1,
        "pixels": 2,
        "train": 3,
        "evaluate": 3,
    }
    assert (apart["sample"], apart["pixels"], apart["autoencoder"]) == (3, 2, 1)


def test_pictures_and_storage_want_no_training(demo):
    plan = make(demo)
    for name in ("fig3", "fig5a", "table1"):
        assert wanted(plan, name)
        assert not any("metrics.json" in file for files in wanted(plan, name) for file in files)
    assert wanted(plan, "fig1") == []


def test_the_diagram_shows_what_runs_and_asks_for_nothing(demo, change):
    plan = make(change(demo, "targets", ["fig1"]))
    assert plan.runs == []
    assert plan.targets() == ["paper_figures/demo/fig1.pdf", "paper_figures/demo/fig1.png"]
    assert count_jobs(plan)[0].total() == 0
    dq, v2 = pipelines(plan, "fig1")
    assert (dq["title"], v2["title"]) == ("DQ", "DQ_V2")
    keys = [stage["key"] for stage in v2["stages"]]
    assert keys == stages(chain_of(plan, run_of(plan, "fig1", "dq_v2")))
    details = {stage["key"]: stage["detail"] for stage in v2["stages"]}
    assert "15 bins" in details["bin"]
    assert "10 epochs" in details["early_train"]
    other = make(change(change(demo, "targets", ["fig1"]), "backbones.early.epochs", 3))
    assert "3 epochs" in pipelines(other, "fig1")[1]["stages"][1]["detail"]
    assert all(stage["detail"] for lane in (dq, v2) for stage in lane["stages"])


def test_the_command_prints_the_table():
    done = subprocess.run(
        [sys.executable, "-m", "dqv2.plan", "config/demo.yaml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert "experiments ask for" in lines[0]
    shared, apart = (int(text.replace(",", "")) for text in lines[-1].split()[1:])
    assert 0 < shared < apart
    bad = subprocess.run(
        [sys.executable, "-m", "dqv2.plan", "config/none.yaml"], cwd=ROOT, capture_output=True, text=True
    )
    assert bad.returncode == 1
    assert "config/none.yaml" in bad.stderr


def test_every_row_of_the_papers_list_is_a_target(paper, demo):
    rows = [
        "fig1",
        "fig2",
        "fig3",
        "fig4a",
        "fig4b",
        "fig5a",
        "fig5b",
        "fig6",
        "table1",
        "table2",
        "table3",
        "table4",
        "tableC",
        "vit",
        "cutmix",
    ]
    for values in (paper, demo):
        assert set(rows) <= set(values["targets"])
    assert paper["seeds"] == [0, 1, 2, 3, 4]
    assert paper["trainers"]["resnet50"]["epochs"] == 200


def test_claims_numbers_and_page_come_with_the_experiments_that_they_are_about(demo, change):
    files = together.report_targets(make(demo))
    assert files == [
        "results/demo/claims.csv",
        "results/demo/claims.md",
        "paper_figures/demo/numbers.tex",
        "results/demo/report/index.html",
    ]
    assert together.report_targets(make(change(demo, "targets", ["baselines"]))) == []
    names = set(together.claim_tables(make(demo)))
    assert names >= {
        "fig2",
        "fig4a",
        "fig4b",
        "cutmix",
        "table2",
        "fig5b",
        "table3",
        "fig6",
        "tableC",
        "masks",
        "cost",
        "cost_jobs",
        "mask_iou",
    }


def test_masks_are_held_against_the_true_one_of_their_set_size_and_seed(demo, change):
    entries = together.mask_recipes(make(demo))
    assert {entry["mask"] for entry in entries} >= {"early", "untrained", "shuffled", "centre", "cells", "object"}
    assert {entry["tobias_size"] for entry in entries} == {8}
    for entry in entries:
        assert entry["truth"] == entry["file"].replace(f"mask-{entry['mask']}", "mask-object")
    assert together.mask_recipes(make(change(demo, "targets", ["fig5b"]))) == []


def test_costs_name_every_stage_of_a_method_and_its_files(demo):
    plan = make(demo)
    jobs = together.stage_jobs(plan, "cost")
    dq = {job["stage"]: job for job in jobs if job["method"] == "dq"}
    assert set(dq) == {"early_train", "saliency", "bin", "sample", "autoencoder", "pixels", "train"}
    assert dq["bin"]["costs"] == [
        f"results/demo/digits/bins/o100/backbone-early/bins/seed-{seed}/cost.json" for seed in demo["seeds"]
    ]
    assert len(dq["autoencoder"]["costs"]) == 1
    assert [stage for stage in dq if not dq[stage]["selects"]] == ["train"]
    run = run_of(plan, "cost", "dq")
    own = {
        stage: [file for job in jobs if job["method"] == "dq" and job["stage"] == stage for file in job["costs"]]
        for stage in dq
    }
    for stage, files in plan.costs_of(run).items():
        assert set(files) <= set(own[stage]), "the same files as those of the column selection_seconds"


def test_what_would_be_the_same_file_is_refused(demo, change):
    for block in ({"figure": {"kind": "methods"}}, {"pictures": {}}, {"cost": {}}):
        with pytest.raises(ConfigError, match="would be the same file"):
            make(change(demo, "experiments.fig1", {"method": ["dq"], "diagram": {}, **block}))
    with pytest.raises(ConfigError, match="a diagram makes no runs"):
        make(change(demo, "experiments.fig1", {"method": ["dq"], "diagram": {}, "table": {}}))
    with pytest.raises(ConfigError, match="say what comes of it"):
        make(change(demo, "experiments.fig1", {"method": ["dq"], "diagram": None}))
