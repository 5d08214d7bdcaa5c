"""The pipeline through SLURM: the same numbers, each job its own device, and jobs that end before their time go on."""

import os
import re
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import copy

pytestmark = pytest.mark.cluster

# Few stages, and trainings long enough to be met while they run
CONFIG = [
    "targets=[pair]",
    "seeds=[0]",
    "seeds_per_job=1",
    "arms_per_job={default: 1, sample: 3}",
    "trainers={resnet8: {iterations: 900}}",
    "experiments={pair: {method: [random, gc, dq_no_pixel], table: {}}}",
]
QUICK = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "6"]
QUICK += ["--seconds-between-status-checks", "3", "--latency-wait", "10"]
RUN = "snakemake --profile profiles/slurm --configfile config/smoke.yaml"
CANCELLED, PREEMPTED, BESIDE = "o100/random", "o100/backbone-early/greedy", "o100/backbone-early/bins"


def train_log(project, selection):
    return project.folder / f"logs/smoke/digits/train/{selection}/keep-0.1/resnet8/seed-0.log"


def wait_for(what, seconds=240):
    end = time.time() + seconds
    while time.time() < end:
        if found := what():
            return found
        time.sleep(0.2)
    raise TimeoutError


@pytest.fixture(scope="session")
def run(slurm, docs, tmp_path_factory):
    """One run on this machine alone, and one through SLURM in which a job is cancelled and another preempted."""
    local = copy(tmp_path_factory.mktemp("local"))
    local.snakemake("--config", *CONFIG)
    project = copy(tmp_path_factory.mktemp("cluster"))
    folder = ROOT / ".venv/bin"
    scripts = folder if (folder / "snakemake").exists() else Path(sys.executable).parent
    env = os.environ | slurm.env
    env |= {"PATH": f"{slurm.folder}/bin:{scripts}:{slurm.env['PATH']}", "PYTHONPATH": str(project.folder / "src")}
    env.pop("CUDA_VISIBLE_DEVICES", None)

    def shell(command, *options, **popen):
        words = " ".join(f"'{word}'" for word in options)
        return subprocess.run(
            f"{command} {words}", shell=True, cwd=project.folder, env=env, capture_output=True, text=True, **popen
        )

    shell.env, shell.slurm, logs, events = env, slurm, {}, []

    def job_of(selection):
        """The number of the SLURM job that trains on a selection."""
        name = selection.replace("/", "_")
        lines = shell(docs.command('squeue --me --format "%i %T %M %k"')).stdout.splitlines()
        return next((line.split()[0] for line in lines if "RUNNING" in line and f"digits_{name}_0.1" in line), None)

    def interrupt(selection, command):
        log = train_log(project, selection)
        wait_for(lambda: log.exists() and "epoch 20," in log.read_text())
        if selection == PREEMPTED:  # while another holds the other device
            other = train_log(project, BESIDE)
            wait_for(lambda: other.exists() and "epoch 1," in other.read_text(), 20)
        job = wait_for(lambda: job_of(selection), 10)
        began = time.time()
        assert shell(docs.command(command, JOBID=job)).returncode == 0
        seconds = wait_for(lambda: "keeps a checkpoint" in log.read_text() and time.time() - began, 10)
        wait_for(lambda: "gave back device" in log.read_text(), 10)
        logs[selection] = log.read_text()
        events.append(SimpleNamespace(selection=selection, job=job, seconds=seconds))

    threads = [
        threading.Thread(target=interrupt, args=pair)
        for pair in ((CANCELLED, "scancel JOBID"), (PREEMPTED, "scontrol requeue JOBID"))
    ]
    for thread in threads:
        thread.start()
    done = shell(docs.command(RUN), *QUICK, "--config", *CONFIG, timeout=480)
    for thread in threads:
        thread.join(timeout=10)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert len(events) == 2, text
    return SimpleNamespace(project=project, local=local, shell=shell, text=text, logs=logs, events=events)


def test_the_numbers_are_those_of_the_local_run_byte_for_byte(run):
    found = run.project.results()
    assert len(found) == 6, "three networks, and what they reach"
    assert found == run.local.results()
    table = "paper_figures/smoke/pair_table.csv"
    assert (run.project.folder / table).read_bytes() == (run.local.folder / table).read_bytes()


def test_every_job_went_through_slurm_but_the_local_ones(run):
    started = re.findall(r"^Job (\d+): (\S+)", run.text, re.M)
    through = set(re.findall(r"^Job (\d+) has been submitted with SLURM jobid", run.text, re.M))
    stages = {"pack", "early-train", "saliency", "bins", "coreset", "train", "evaluate"}
    assert {word for number, word in started if number in through} == stages
    assert {word for number, word in started if number not in through}.isdisjoint(stages)
    assert len(through) == 3 + 3 * 4 - 1, "pack, early training, saliency; two coresets share a job"


def test_devices_are_disjoint(run):
    stages = {"train", "early", "saliency", "evaluate"}
    texts = list(run.logs.values())  # of the attempts that were interrupted
    for log in run.project.folder.glob("logs/smoke/digits/**/*.log"):
        if log.relative_to(run.project.folder / "logs/smoke/digits").parts[0] in stages:
            texts.append(log.read_text())
        else:
            assert "took device" not in log.read_text()
    held = []
    for text in texts:
        took = re.search(r"took device (\S+) given by SLURM: process \d+, (\S+)", text)
        gave = re.search(r"gave back .* process \d+, (\S+)", text)
        held.append((took[1], *(datetime.fromisoformat(t) for t in (took[2], gave[1]))))
    assert {device for device, *_ in held} == {"0", "1"}
    pairs = [(a, b) for a in held for b in held if a < b and a[1] < b[2] and b[1] < a[2]]
    assert pairs, "no two jobs ran at the same time: the test shows nothing"
    assert all(a[0] != b[0] for a, b in pairs)


@pytest.mark.parametrize("selection", [CANCELLED, PREEMPTED])
def test_a_job_that_ended_before_its_time_went_on(run, selection):
    event = next(event for event in run.events if event.selection == selection)
    assert event.seconds < 5, "a checkpoint within seconds"
    kept = re.search(r"keeps a checkpoint at step (\d+) of 900", run.logs[selection])[1]
    text = train_log(run.project, selection).read_text()
    assert f"goes on from the checkpoint at step {kept} of 900" in text


def test_cancelled_is_submitted_again_and_preempted_keeps_its_number(run):
    by_selection = {event.selection: event.job for event in run.events}
    assert f"SLURM-job '{by_selection[CANCELLED]}' failed, SLURM status is: 'CANCELLED'" in run.text
    assert run.text.count("Trying to restart job") == 1
    assert f"SLURM-job '{by_selection[PREEMPTED]}' failed" not in run.text
    shown = run.shell(f"scontrol show job {by_selection[PREEMPTED]}").stdout
    assert "Restarts=1" in shown
    assert "JobState=COMPLETED" in shown


def test_nothing_is_left_to_do_and_the_other_commands_of_the_page_work(run, docs):
    install = docs.command(".venv/bin/python -m pip install -r envs/requirements-slurm.txt")
    assert run.shell(install.replace(".venv/bin/python", sys.executable), "--dry-run", "--no-deps").returncode == 0
    assert "idle" in run.shell(docs.command("sinfo")).stdout
    dry = run.shell(docs.command(f"{RUN} -n"), "--config", *CONFIG)
    assert dry.returncode == 0
    assert "Nothing to be done" in dry.stdout + dry.stderr
    assert run.shell(docs.command(f"{RUN} --unlock")).returncode == 0
    # The paper's data is not here, so no more than what would be done
    for command in ("snakemake --profile profiles/slurm", "snakemake --cores all --resources gpu=4"):
        plan = run.shell(docs.command(command), "-n")
        assert plan.returncode == 0, plan.stderr
        assert "train_4" in plan.stdout + plan.stderr


def test_each_command_of_the_page_was_run(run, docs):
    by_make = {"git clone <this repository> && cd <its folder>", "make setup", "source .venv/bin/activate"}
    assert set(docs.commands) - docs.used == by_make
