"""The whole DAG for real on a tiny set, and the contract of what makes it run again."""

import csv
import json
import os
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from dqv2.config import load_config
from dqv2.paper.collect import read_csv
from dqv2.plan import Plan
from tests.conftest import ROOT, merged

pytestmark = pytest.mark.workflow
ONCE = ("collect", "table", "claims", "numbers", "page")  # of one experiment more


def test_every_target_is_there_and_nothing_is_left_to_do(smoke):
    figures = smoke.folder / "paper_figures/smoke"
    for name in ("fig3", "fig4a", "fig5a", "fig5b", "fig6"):
        assert (figures / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        with Image.open(figures / f"{name}.png") as picture:
            assert min(picture.size) > 400
    for kind in ("csv", "md", "tex"):
        assert (figures / f"controls_table.{kind}").stat().st_size > 200
    assert smoke.waiting() == {}


def test_every_method_stands_in_one_table_with_its_cost(smoke):
    with (smoke.folder / "results/smoke/experiments/baselines.csv").open() as file:
        rows = list(csv.DictReader(file))
    methods = {row["method"] for row in rows}
    assert {"random", "grand", "forgetting", "ccs", "adq", "dqas", "dq", "dq_cutmix"} <= methods
    assert {row["coreset_size"] for row in rows} == {"20"}
    seconds = {row["method"]: float(row["selection_seconds"]) for row in rows}
    assert seconds["dq"] > seconds["dq_cutmix"] > seconds["random"] > 0
    table = (smoke.folder / "paper_figures/smoke/baselines_table.md").read_text()
    assert "Selection, s" in table
    assert "a small MAE of the set itself" in table, "captions say which autoencoder drew"
    weights = {row["method"]: row["weights"] for row in rows}
    assert len(weights["dq"]) == 64
    assert not weights["dq_cutmix"]


def test_every_job_left_a_record_and_a_log(smoke):
    plan = Plan(load_config(merged("smoke.yaml")))
    jobs = plan.jobs(plan.targets())
    assert len(jobs) > 300
    for job in jobs:
        record = json.loads((smoke.folder / plan.file_of(job, "record")).read_text())
        assert record["stage"] == job.stage.name
        assert record["wildcards"] == dict(job.wildcards)
        assert record["options"] == plan.options(job)
        read = {*plan.files_read(job)}
        assert {each["file"] for found in record["inputs"].values() for each in found} == read
        log = plan.file_of(job, "record").replace(plan.root, plan.logs, 1).removesuffix("/record.json") + ".log"
        assert (smoke.folder / log).exists()


def test_a_lost_record_is_a_job_to_be_done_whatever_its_stage_shows(smoke):
    """Also where nothing reads it: a figure without inputs, say, whose record went with results/."""
    plan = Plan(load_config(merged("smoke.yaml")))
    shown = {job.stage.name: job for job in plan.jobs(plan.targets()) if job.stage.shows}
    assert {"diagram", "pictures", "figure", "table", "claims", "page"} <= set(shown)
    records = [smoke.folder / plan.file_of(job, "record") for job in shown.values()]
    for record in records:
        record.rename(record.with_suffix(".away"))
    try:
        assert set(smoke.waiting()) >= set(shown)
    finally:
        for record in records:
            record.with_suffix(".away").rename(record)
    assert smoke.waiting() == {}


def test_a_table_has_the_columns_that_were_foreseen(smoke):
    """Which is what figures and tables are checked on before the first job."""
    plan = Plan(load_config(merged("smoke.yaml")))
    made = sorted(smoke.folder.glob("results/smoke/experiments/*.csv"))
    assert len(made) > 8
    for file in made:
        real, (foreseen, _) = read_csv(file), plan.planned_table(file.stem)
        assert set(real.columns) == set(foreseen.columns), file.stem
        assert len(real) == len(foreseen)


def test_storage_is_of_the_same_images(smoke):
    with (smoke.folder / "results/smoke/experiments/table1.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["variant"] for row in rows} == {"original", "dropped", "reconstructed", "tobias"}
    size = {row["variant"]: float(row["megabytes"]) for row in rows}
    assert size["dropped"] < size["original"]
    assert {row["coreset_size"] for row in rows} == {"20"}


def test_a_redrawn_coreset_is_given_away_with_its_new_pixels(smoke):
    selection = "digits/{}/o100/backbone-early/bins/keep-0.1"
    folder = f"results/smoke/{selection.format('coreset')}/pixels-mae/seed-0/export-packed-png"
    smoke.snakemake(folder)
    folder = smoke.folder / folder
    redrawn = np.load(smoke.folder / f"results/smoke/{selection.format('pixels')}/mae/seed-0/pixels.npz")
    with (folder / "ids.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    for row, pixels in zip(rows, redrawn["images"], strict=True):
        assert row["kind"] == "redrawn"
        with Image.open(folder / row["image"]) as image:
            np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1), pixels)
    making = json.loads((folder / "manifest.json").read_text())["provenance"]
    stages = {each["stage"]: each["options"] for each in making["stages"]}
    assert stages["pixels"]["step"] == "mae"
    assert stages["bin"]["selector"]["kind"] == "graphcut_bins"
    assert making["keep_ratio"] == 0.1
    assert making["autoencoder_sha256"] == str(redrawn["weights"])


def test_rows_and_sizes_are_exact(smoke):
    with (smoke.folder / "results/smoke/experiments/controls.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 * 2
    assert {row["coreset_size"] for row in rows} == {"20"}
    assert {row["label"] for row in rows if row["n_tobias"] == "0"} == {
        "Random",
        "GraphCut",
        "DQ (no pixel step)",
        "DQ without pre-trained networks (no pixel step)",
    }
    assert all(0 <= float(row["test_accuracy"]) <= 100 for row in rows)


def test_selection_and_training_have_no_path_to_the_held_out_splits(summary):
    """The inputs of every job, as Snakemake lists them: only evaluation reads them, and nothing reads evaluation but
    collect, so no choice can depend on them."""
    rules = {row["rule"] for row in summary}
    readers = {r["rule"] for r in summary if re.search(r"data/(test|validation)", r["input-file(s)"])}
    stages = {"early_train", "saliency", "score", "augment", "features", "bin", "sample", "pixels", "train"}
    assert stages | {"autoencoder"} <= rules
    assert readers == {"evaluate"}
    assert {r["rule"] for r in summary if "metrics.json" in r["input-file(s)"]} == {"collect"}


def test_touched_sources_rerun_nothing(smoke):
    for folder in ("workflow", "src", "config", "profiles", "envs"):
        for path in (smoke.folder / folder).rglob("*"):
            path.touch()
    for name in ("Snakefile", "config.yaml"):
        (smoke.folder / name).touch()
    assert smoke.waiting() == {}


def test_an_edited_library_reruns_nothing_by_itself(smoke):
    path = smoke.folder / "src/dqv2/train/fit.py"
    text = path.read_text()
    path.write_text(text + "\n# edited\n")
    try:
        assert smoke.waiting() == {}
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    ("stage", "reruns", "stays"),
    [
        (
            "bin",
            {"bin", "sample", "train", "evaluate", "collect", "figure", "table"},
            {"features", "augment", "pack"},
        ),
        ("figure", {"figure"}, {"collect", "train", "table"}),
        ("pack", {"pack", "early_train", "train"}, set()),
    ],
)
def test_a_raised_version_reruns_the_stage_and_what_follows(smoke, stage, reruns, stays):
    path = smoke.folder / f"src/dqv2/stages/{stage}.py"
    text = path.read_text()
    path.write_text(re.sub(r"^    version = \d+", "    version = 99", text, flags=re.M))
    try:
        waiting = set(smoke.waiting())
    finally:
        path.write_text(text)
    assert reruns <= waiting
    assert not stays & waiting


def test_it_runs_from_another_folder(smoke, tmp_path):
    options = ["--snakefile", str(smoke.folder / "Snakefile"), "--configfile", str(smoke.folder / "config/smoke.yaml")]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(smoke.folder / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "rule train:" in done.stdout + done.stderr


def test_one_more_seed_adds_only_its_jobs(smoke):
    """One job a seed and arm: every rule with a seed once more for each arm, and what gathers them once."""
    there = Counter((job.rule, job.seed) for job in smoke.jobs("--forceall"))
    new = Counter((job.rule, job.seed) for job in smoke.jobs("--config", "seeds=[0,1,2]"))
    assert {seed for _, seed in new} == {None, "2"}
    own = {"early_train", "saliency", "augment", "features", "bin", "sample", "train", "evaluate"}
    assert own <= {rule for rule, seed in new if seed}
    # As of seed 1: seed 0 also stands for all seeds of a pre-trained network. Two arms train on another seed's coreset
    crossed = {"train": 2, "evaluate": 2}
    assert all(count == there[rule, "1"] - crossed.get(rule, 0) for (rule, seed), count in new.items() if seed)
    gather = {rule for rule, seed in new if not seed}
    assert {"collect", "figure", "claims"} <= gather
    assert not gather & {"pack", "autoencoder", "diagram"}


def test_an_added_experiment_adds_only_its_jobs(smoke):
    """Two methods at another keep ratio: what they share with other experiments is there, and stays as it is."""
    more = "experiments={more: {dataset: digits, method: [random, dq_v2], keep_ratio: [0.3], table: {}}}"
    waiting = smoke.waiting("--config", more, "targets=[fig4a, more]")
    assert waiting == dict.fromkeys(("sample", "train", "evaluate"), 4) | dict.fromkeys(ONCE, 1)


def test_a_job_that_reruns_finds_its_finished_trainings(smoke):
    before = smoke.metrics()
    lost = sorted(path for path in before if "/resnet8_cells/" in path)[1]
    for name in ("metrics.json", "model.pt"):
        (smoke.folder / lost).with_name(name).unlink()
    # Snakemake makes a file that nothing present needs only when it is asked for: this one experiment reads it
    for path in (
        smoke.folder / "results/smoke/experiments/masks.csv",
        *smoke.folder.glob("paper_figures/smoke/masks*"),
    ):
        path.unlink()
    out = smoke.snakemake()
    assert "was finished before" in out.stdout + out.stderr
    assert smoke.metrics() == before
    assert smoke.waiting() == {}


def test_python_api_in_one_line():
    code = "from dqv2 import graphcut_bins, sample_bins, saliency, foreground, tobias, GradientFeatures"
    code += "; assert all(map(callable, (graphcut_bins, sample_bins, saliency, foreground, tobias, GradientFeatures)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
