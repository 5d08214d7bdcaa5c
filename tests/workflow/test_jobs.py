"""What jobs ask for, on which device they run, and how they stop and go on."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from dqv2.config import load_config
from dqv2.plan import Plan
from tests.conftest import ROOT, merged
from tests.unit.test_lease import check_intervals, record
from tests.workflow.conftest import copy, finished, give

pytestmark = pytest.mark.workflow

MODEL_STAGES = {"early_train", "saliency", "score", "features", "redrawn", "autoencoder", "pixels", "train", "evaluate"}


@pytest.mark.parametrize(("at_hand", "given"), [((), 2), (("--resources", "gpu=1"), 1)])
def test_a_trainer_of_several_devices_asks_for_them_and_makes_do_with_what_there_is(project, at_hand, given):
    options = ["--config", "targets=[fig4a]", "seeds=[0]", "trainers={resnet8: {devices: 2}}"]
    jobs = [job for job in project.jobs(*at_hand, *options) if "gpu" in job.named("resources")]
    asked = {(job.rule, int(job.named("resources")["gpu"])) for job in jobs}
    assert ("train", given) in asked
    assert {number for rule, number in asked if rule in MODEL_STAGES - {"train"}} == {1}
    assert [number for rule, number in asked if rule == "train"] == [given]


def test_only_jobs_that_run_a_model_ask_for_a_gpu(listed):
    asked = {job.rule: job.named("resources") for job in listed}
    assert MODEL_STAGES | {"pack", "augment", "bin", "sample", "collect", "figure"} <= asked.keys()
    assert {rule for rule, found in asked.items() if int(found.get("gpu", 0))} == MODEL_STAGES
    for rule in MODEL_STAGES | {"pack", "augment", "bin", "sample"}:
        assert {"mem_mb", "runtime"} <= asked[rule].keys(), rule


def test_a_job_says_what_it_runs_on(smoke):
    log = next(smoke.folder.glob("logs/smoke/digits/train/**/*.log")).read_text()
    assert re.search(r"no GPU available: runs on the CPU with 1 threads, PyTorch 2", log)


LONG = ["targets=[fig4a]", "trainers={resnet8: {iterations: 60}}", "seeds=[0]"]
ONE = "results/smoke/digits/train/o100/random/keep-0.1/resnet8/seed-0/metrics.json"


def client_of(project, name, log, text):
    """The process of a script, once its job's log holds a text: that of the job itself is a child of the server."""
    end = time.time() + 120
    while time.time() < end:
        if log.exists() and text in log.read_text():
            return next(p for p in project.processes() if p.cmdline()[-1].endswith(f".{name}.py"))
        time.sleep(0.05)
    raise AssertionError(f"no {text!r} in {log}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A project in which one training has run to its end."""
    project = copy(tmp_path_factory.mktemp("whole"))
    project.snakemake("--config", *LONG, "--", ONE)
    return project


@pytest.mark.parametrize("warm", ["1", "0"])
def test_preempted_it_keeps_a_checkpoint_and_the_next_attempt_goes_on(project, whole, warm):
    """What is sent to a script reaches its job, whose process is another one where it starts warm."""
    log = project.folder / "logs/smoke/digits/train/o100/random/keep-0.1/resnet8/seed-0.log"
    env = {"CUDA_VISIBLE_DEVICES": "3"} | ({"DQV2_WARM": "0"} if warm == "0" else {})
    expected = whole.results()
    plan = Plan(load_config(merged("smoke.yaml")))
    give(project, whole, plan, [plan.file("bin", "bins", dataset="digits", selection="o100/random", seed=0)])

    run = project.start("--retries", "1", "--config", *LONG, "--", ONE, **env)
    client = client_of(project, "train", log, "epoch 2,")
    job = re.search(r"took device 3 of 3: process (\d+)", log.read_text())[1]
    assert (int(job) == client.pid) == (warm == "0")
    client.send_signal(signal.SIGTERM)
    gone, _ = psutil.wait_procs([client], timeout=30)  # SLURM's KillWait: then it would be killed
    assert gone
    out = finished(run)
    assert "was stopped by SIGTERM; started again, it resumes from what it saved" in out
    at = re.search(r"resumes from the checkpoint at step (\d+) of 60", log.read_text())
    assert 1 < int(at[1]) < 60
    assert len(expected) == 2
    assert project.results() == expected, "byte for byte"


SNAKEFILE = """
rule all:
    input: expand("out/{i}", i=range(14))
rule sample:
    output: made="out/{i}"
    log: "logs/{i}.log"
    resources: gpu=1
    script: "job.py"
"""
JOB = """
import sys, time
from datetime import datetime
from pathlib import Path
Path(snakemake.log[0] + ".began").write_text("began " + datetime.now().isoformat())
from dqv2.runtime.job import run_job
from dqv2.runtime.script import request_of
from dqv2.stages import stage
def run(job):
    time.sleep(1)
    Path(job.output.made).touch()
stage("sample").run = run
sys.exit(run_job(request_of(snakemake, "sample.py")))
"""


@pytest.mark.parametrize("options", [["--resources", "gpu=4"], []])
def test_four_devices_of_one_machine(tmp_path, options):
    """Snakemake counts; the lease says whose device is whose. Without a count all fourteen jobs ask at once."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "job.py").write_text(JOB)
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "CUDA_VISIBLE_DEVICES": "0,1,2,3", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "snakemake", "--cores", "14", *options]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    records = [record(tmp_path / f"logs/{i}.log") for i in range(14)]
    check_intervals(records, devices="0123", handover=1.5)
    assert max(sum(took <= t < gave for _, took, gave, *_ in records) for _, t, *_ in records) == 4
    assert ("waits for a device" in done.stderr) == (not options)


def test_weights_are_the_same_whatever_cores_are_given(copies, tmp_path):
    """On a CPU they depend on the number of threads, which the configuration says and nothing else."""
    found, said, pack = {}, {}, "results/smoke/digits/data"
    asked = ["--config", "threads=2", "targets=[fig5a]", "seeds=[0]", "--until", "early_train"]
    given = {"two": ["--cores", "2"], "one": ["--cores", "1"]}
    for name, options in given.items():
        project = copies(tmp_path / name)
        if found:  # what no thread has a part in is made once
            shutil.copytree(tmp_path / "two" / pack, project.folder / pack)
        out = project.snakemake(*options, *asked)
        said[name] = out.stdout + out.stderr
        (model,) = project.folder.glob("results/smoke/digits/early/early/seed-0/model.pt")
        (log,) = project.folder.glob("logs/smoke/digits/early/early/seed-0.log")
        assert "rule early_train:" in said[name]
        assert "runs on the CPU with 2 threads" in log.read_text(encoding="utf-8")
        found[name] = model.read_bytes()
    assert found["two"] == found["one"]
    assert "threads: 2 in the configuration is more than --cores 1" in said["one"]
    assert "in the configuration is more than" not in said["two"]
