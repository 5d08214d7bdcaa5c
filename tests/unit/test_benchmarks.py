"""The benchmarks run, on next to nothing; how fast anything is, no test asks."""

import argparse
import importlib
import json
import os
import subprocess
import sys
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dqv2.config.blocks import Trainer
from dqv2.cost.rates import Net
from tests.conftest import ROOT, make

LOG = """\
Select jobs to execute...
[Tue Nov 24 10:00:00 2026]
rule pack:
    jobid: 6
[Tue Nov 24 10:00:05 2026]
Finished jobid: 6 (Rule: pack)
[Tue Nov 24 10:00:05 2026]
rule bin:
    input: results/demo/digits/data/train
    jobid: 7
[Tue Nov 24 10:00:05 2026]
rule train:
    jobid: 9
[Tue Nov 24 10:00:15 2026]
Finished jobid: 7 (Rule: bin)
[Tue Nov 24 10:00:45 2026]
Finished jobid: 9 (Rule: train)
[Tue Nov 24 10:00:45 2026]
localrule fetch:
    jobid: 10
[Tue Nov 24 10:00:55 2026]
Finished jobid: 10 (Rule: fetch)
[Tue Nov 24 10:00:55 2026]
rule evaluate:
    jobid: 11
"""


@pytest.fixture
def load(monkeypatch):
    """A benchmark as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def test_where_the_wall_time_of_a_run_went(tmp_path):
    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    def record(place, stage, seconds, cpu, second):
        file = f"results/demo/digits/{place}/seed-0/record.json"
        write(file, json.dumps({"stage": stage, "seconds": seconds, "cpu_seconds": cpu}))
        os.utime(tmp_path / file, times=(0, datetime(2026, 11, 24, 10, 0, second).timestamp()))

    write(".snakemake/log/2026.snakemake.log", LOG)
    record("data", "pack", 4, 5, 4)
    record("bins/a", "bin", 3, 4.4, 14)
    record("train/a/keep-0.1/resnet8", "train", 36, 38, 44)
    record("train/b/keep-0.1/resnet8", "train", 99, 99, 44)
    os.utime(tmp_path / "results/demo/digits/train/b/keep-0.1/resnet8/seed-0/record.json", (0, 0))  # of another run
    command = [sys.executable, "benchmarks/demo.py", "--folder", str(tmp_path), "--cores", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in table(done.stdout)}
    assert rows["bin"] == ["1", "10", "3", "7", "4"]
    assert rows["train"] == ["1", "40", "36", "4", "38"]
    assert rows["pack"] == ["1", "5", "4", "1", "5"]
    assert rows["fetch"] == ["1", "10", "none", "10", ""]
    assert rows["**all**"] == ["4", "65", "43", "22", "47"]
    assert "1 jobs had begun and were not finished" in done.stdout
    assert "selection and training at work: 60% of the jobs' wall time, 35% of wall time × cores" in done.stdout
    assert "stages without a record: fetch" in done.stdout


def table(text):
    return [line for line in text.splitlines() if line.startswith("| ")][1:]


def test_what_timms_script_prints_is_read(load):
    line = (
        "Train: 2 [  17/18 (100%)]  Loss: 2.30 (2.31)  Time: 0.112s,  571.43/s  (0.125s,  512.00/s)  LR: 1.000e-02"
        "  Data: 0.010 (0.012)"
    )
    (found,) = load("training").LINE.finditer(line)
    assert (found[1], found[2], found[3]) == ("2", "100", "512.00")


def test_a_gpu_is_waited_for_before_and_after_a_call(load, monkeypatch):
    seen = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: seen.append("waits"))
    load("common").clock(lambda: seen.append("call"), torch.device("cuda"))
    load("common").clock(lambda: seen.append("call"), torch.device("cpu"))
    assert seen == ["waits", "call", "waits", "call"]


def test_on_a_gpu_training_is_measured_without_recording_and_with_its_own_flops(load, monkeypatch):
    """By a training of half a second and a tenth more for each epoch."""
    training = load("training")
    monkeypatch.setattr(training, "fit", lambda *args, **_: SimpleNamespace(seconds=0.5 + 0.1 * args[3].epochs))
    given = {"device": "cuda", "batch": 4, "epochs": 3, "stem": "small", "compile": False, "peak_tflops": 1.0}
    images, labels = np.zeros((8, 3, 16, 16), np.uint8), np.arange(8) % 2
    bench = training.Bench("resnet8", images, labels, argparse.Namespace(**given), "float32")
    assert bench.ours()[0] == pytest.approx(3 * 8 / 0.3)
    found = {"ours": [(100.0, 1.0)], "limit": [], "graph": [], "timm": []}
    flops = 100 * training.count(Net("resnet8", 16, "small"), 2).train
    assert training.row(bench, "made up", found, 1.0)[-1] == f"{100 * flops / 1e12:.1f} %"
    assert flops > 350 * training.count(Net("resnet8", 16), 2).train, "four times, but for the last layer"


def test_rates_are_measured_and_the_file_says_how(load):
    rates = load("rates")
    block = Trainer(model="resnet8", epochs=1, batch_size=4)
    about = {"block": block, "augment": {"crop": "none", "pad": 0, "flip": False}}
    found = rates.network_rates(Net("resnet8", 16), about, torch.device("cpu"), 0.01)
    assert found["train"] > 0
    assert found["forward"] > 0
    half = rates.network_rates(Net("resnet8", 16, precision="bfloat16"), about, torch.device("cpu"), 0.01)
    assert set(half) == {"train", "forward"}
    assert rates.rounded({"a": [1234.5, 3]}) == {"a": [1230.0, 3]}


def test_a_network_is_measured_in_each_precision_that_it_is_used_in(load, demo, change):
    values = change(change(demo, "trainers.resnet8.precision", "bfloat16"), "trainers.resnet8.compile", True)
    found = load("rates").nets_of(make(values))
    asked = {(net.precision, net.compile) for net in found if net.model == "resnet8"}
    assert asked == {("bfloat16", True), ("bfloat16", False), ("float32", False)}


def test_both_forms_of_tobias_images_are_the_same_pixels(load):
    row = load("tobias").row(20, 8, 6, 4, 1, torch.device("cpu"))
    assert row[0] == "20 px, 8 × 8 cells"
    assert row[-1] == "yes"


def test_size_and_power_of_the_claims_tests_are_simulated(load):
    sizes, rng = load("claims_size"), np.random.default_rng(1)
    found = {row[0]: float(row[1].split(" ")[0]) for row in sizes.size_rows(rng.normal, 2000, 5)}
    assert len(found) == 18
    assert found.pop("Student's t, paired, at three seeds and again at all") == pytest.approx(8.1, abs=3)
    assert max(found.values()) < 7, "in %, of a level of 5: four standard errors"
    rows = sizes.power_rows(rng.normal, 2000, 5)
    assert len(rows) == 11
    simulated, reckoned = (float(text.strip("()")) for text in rows[0][2].split(" "))
    assert simulated == pytest.approx(reckoned, abs=4)


def test_orders_with_a_budget_are_measured_beside_a_plain_k_center(load):
    baselines = load("baselines")
    names = ["plain", "k-Center", "herding", "CRAIG", "GradMatch", "GraphCut"]
    for mapped in (False, True):
        rows = baselines.rows_of((4, 60, 8), 0.1, names[1:], mapped=mapped, done=2, repeats=1)
        assert [row[0] for row in rows] == names
        assert {row[2] for row in rows} == {24}
        assert rows[0][5] == rows[0][6] == "1.00"
        assert [row[-1] for row in rows] == ["", "yes", "", "", "", ""]
    assert [row[0] for row in baselines.growth((1, 60, 8), 0.1, names[1:], 1)] == names
