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

from tests.conftest import ROOT
from tests.unit.test_lease import check_intervals, record

pytestmark = pytest.mark.workflow

MODEL_STAGES = {"early_train", "saliency", "score", "features", "autoencoder", "pixels", "train", "evaluate"}


def test_only_jobs_that_run_a_model_ask_for_a_gpu(project):
    for rules in (project.folder / "workflow/rules").glob("*.smk"):  # a job with a message does not print its resources
        rules.write_text(re.sub(r"^ +message:\n(.*\n)*?(?= +script:)", "", rules.read_text(), flags=re.M))
    text = project.snakemake("-n", "--quiet", "host").stdout
    head = r"^(?:local)?rule (\w+?)(?:_0_1(?:_batch_\w+)?)?:\n"
    jobs = re.findall(head + r"(?:    .*\n)*?    resources: (.*?)$", text, re.M)
    asked = {}
    for rule, line in jobs:
        asked.setdefault(rule, dict(part.split("=", 1) for part in line.split(", ") if "=" in part))
    assert MODEL_STAGES | {"pack", "augment", "bin", "sample", "collect", "figure"} <= asked.keys()
    assert {rule for rule, found in asked.items() if int(found.get("gpu", 0))} == MODEL_STAGES
    for rule in MODEL_STAGES | {"pack", "augment", "bin", "sample"}:
        assert {"mem_mb", "runtime", "disk_mb"} <= asked[rule].keys(), rule


def test_a_job_says_what_it_runs_on(smoke):
    log = next(smoke.folder.glob("logs/smoke/digits/train/**/*.log")).read_text()
    assert re.search(r"no GPU to be had: runs on the CPU with 1 threads, PyTorch 2", log)


LONG = ["targets=[fig4a]", "trainers={resnet8: {iterations: 60}}", "seeds=[0]", "seeds_per_job=1"]
ONE = "results/smoke/digits/train/o100/random/keep-0.1/resnet8/seed-0/metrics.json"


def start(project, *options):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config/smoke.yaml", *options]
    env = os.environ | {"PYTHONPATH": str(project.folder / "src"), "CUDA_VISIBLE_DEVICES": "3"}
    return subprocess.Popen(
        [*command, "--config", *LONG, "--", ONE],
        cwd=project.folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def script_of(run, name, log, text):
    """The process of a script, once its log holds a text."""
    end = time.time() + 120
    while time.time() < end:
        if log.exists() and text in log.read_text():
            found = [p for p in psutil.Process(run.pid).children(recursive=True) if p.cmdline()[-1:] != []]
            return next(p for p in found if p.cmdline()[-1].endswith(f".{name}.py") and "python" in p.name())
        time.sleep(0.05)
    raise AssertionError(f"no {text!r} in {log}")


def test_preempted_it_keeps_a_checkpoint_within_seconds_and_the_next_attempt_goes_on(project):
    log = project.folder / "logs/smoke/digits/train/o100/random/keep-0.1/resnet8/seed-0.log"
    whole = start(project)
    out = whole.communicate(timeout=200)[0]
    assert whole.returncode == 0, out
    expected = project.results()
    for name in ("results", "logs"):
        shutil.rmtree(project.folder / name)

    run = start(project, "--retries", "1")
    script = script_of(run, "train", log, "epoch 2,")
    assert "took device 3 of 3" in log.read_text()
    began = time.time()
    script.send_signal(signal.SIGTERM)
    psutil.wait_procs([script], timeout=20)
    assert time.time() - began < 5
    out = run.communicate(timeout=200)[0]
    assert run.returncode == 0, out
    assert "was stopped by SIGTERM; started again it goes on from what it kept" in out
    at = re.search(r"goes on from the checkpoint at step (\d+) of 60", log.read_text())
    assert 1 < int(at[1]) < 60
    assert len(expected) == 2
    assert project.results() == expected, "byte for byte"


SNAKEFILE = """
rule all:
    input: expand("out/{i}", i=range(14))
rule job:
    output: "out/{i}"
    log: "logs/{i}.log"
    resources: gpu=1
    script: "job.py"
"""
JOB = """
import time
from datetime import datetime
from pathlib import Path
Path(snakemake.log[0] + ".began").write_text("began " + datetime.now().isoformat())
from dqv2.runtime.job import run_job
def main(snakemake):
    time.sleep(1)
    Path(snakemake.output[0]).touch()
run_job(main, snakemake)
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
