"""The pipeline through SLURM: the same numbers, each job its own device, and jobs that end before their time go on."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import copy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # of one run for all; minutes on an idle machine

# Few stages, and trainings long enough to be met while they run
CONFIG = [
    "targets=[pair]",
    "seeds=[0]",
    "trainers={resnet8: {iterations: 900}}",
    "experiments={pair: {method: [random, control_gc, control_bins], table: {}}}",
]
QUICK = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "6"]
QUICK += ["--seconds-between-status-checks", "3", "--latency-wait", "10"]
TOGETHER = ["--group-components", "select=3"]  # so that the three trainings can begin at the same time
RUN = "snakemake --profile profiles/slurm --configfile config/smoke.yaml"
CANCELLED, PREEMPTED, LATE = "o100/random", "o100/backbone-early/greedy", "o100/backbone-early/bins"


def train_log(project, selection):
    return project.folder / f"logs/smoke/digits/train/{selection}/keep-0.1/resnet8/seed-0.log"


def wait_for(what, seconds=900):
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
    ask_for_more_memory(project.folder / "profiles/slurm/config.yaml")
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

    def interrupt(selection, command):
        log = train_log(project, selection)
        wait_for(lambda: log.exists() and "epoch 20," in log.read_text())
        process = int(re.search(r"process (\d+)", log.read_text())[1])
        if selection == PREEMPTED:  # while another holds the other device
            other = train_log(project, LATE)
            with standing_still(process):
                wait_for(lambda: other.exists() and "epoch 1," in other.read_text())
        job = re.search(r"in the SLURM job (\d+)", log.read_text())[1]
        listed = shell(docs.command('squeue --me --format "%i %T %M %k"')).stdout.splitlines()
        assert any(line.split()[:2] == [job, "RUNNING"] and "_train_evaluate" in line for line in listed), listed
        began = time.time()
        assert shell(command.replace("JOBID", job)).returncode == 0
        if selection == LATE:  # SLURM looks twice a minute whose time is over
            with standing_still(process):
                wait_for(lambda: is_told(process), 100)
            began = time.time()
        seconds = wait_for(lambda: "saved a checkpoint" in log.read_text() and time.time() - began, 30)
        wait_for(lambda: "gave back device" in log.read_text(), 30)
        logs[selection] = log.read_text()
        events.append(SimpleNamespace(selection=selection, job=job, seconds=seconds))

    commands = {
        CANCELLED: docs.command("scancel JOBID"),
        PREEMPTED: docs.command("scontrol requeue JOBID"),
        LATE: "scontrol update JobId=JOBID TimeLimit=1",
    }
    threads = [threading.Thread(target=interrupt, args=pair) for pair in commands.items()]
    for thread in threads:
        thread.start()
    done = shell(docs.command(RUN), *QUICK, *TOGETHER, "--config", *CONFIG, timeout=1500)
    for thread in threads:
        thread.join(timeout=10)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert len(events) == len(commands), text
    return SimpleNamespace(project=project, local=local, shell=shell, text=text, logs=logs, events=events)


def ask_for_more_memory(profile):
    """As the profile and the page say in their example for trainings."""
    text, found = re.subn(r"train: \*model +# .*(\{.*\})", r"train: \1", profile.read_text())
    assert found == 1
    assert "train: {<<: *model, mem_mb: 32000 * attempt}" in text
    assert "train: {<<: *model, mem_mb: 32000 * attempt}" in (ROOT / "docs/cluster.md").read_text()
    profile.write_text(text)


@contextmanager
def standing_still(process):
    """A training that does not come to its end meanwhile."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # SLURM may wake what it ends
            os.kill(process, signal.SIGCONT)


def is_told(process):
    """Whether SIGTERM waits for it, or has ended it."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True
    masks = re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)", status, re.M)
    return any(int(mask, 16) >> (signal.SIGTERM - 1) & 1 for mask in masks)


def test_the_numbers_are_those_of_the_local_run_byte_for_byte(run):
    found = run.project.results()
    assert len(found) == 6, "three networks, and what they reach"
    assert found == run.local.results()
    table = "paper_figures/smoke/pair_table.csv"
    assert (run.project.folder / table).read_bytes() == (run.local.folder / table).read_bytes()
    for pattern in ("**/bins.csv", "**/coreset.csv"):
        made = sorted(path.relative_to(run.local.folder) for path in run.local.folder.glob(f"results/{pattern}"))
        assert len(made) == 3
        assert all((run.project.folder / file).read_bytes() == (run.local.folder / file).read_bytes() for file in made)


def test_jobs_go_through_slurm_in_groups_and_local_ones_stay(run):
    through = re.findall(r"^Job \S+ has been submitted with SLURM jobid \d+ \(log: \S+/slurm/(\w+)/", run.text, re.M)
    assert Counter(through) == {
        "rule_pack": 1,
        "group_early_early_train_saliency": 1,
        "group_select_bin_sample": 1,
        "group_train_evaluate_train": 3 + 2,  # two were submitted again
    }
    table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\n\n", run.text, re.S)[1]
    jobs = {rule: int(count) for rule, count in (line.split() for line in table.splitlines())}
    local = sum(jobs.pop(rule) for rule in ("all", "collect", "table", "numbers", "page"))
    assert jobs.pop("total") - local == sum(jobs.values()) == 3 + 3 * 4
    assert len(through) - 2 == 6, "submissions for 15 jobs"


def test_a_group_asks_for_its_largest_job_and_the_time_of_all_and_for_more_at_each_attempt(run):
    def asked(job):
        shown = run.shell(f"scontrol show job {job}").stdout
        return [re.search(pattern, shown)[1] for pattern in (r"MinMemoryNode=(\S+)", r"TimeLimit=(\S+)")]

    numbers = re.findall(r"submitted with SLURM jobid (\d+) \(log: .*?/group_([a-z]+)_", run.text)
    first = {group: number for number, group in reversed(numbers)}
    assert asked(first["early"]) == ["24000M", "05:00:00"], "of an early training; 240 and 60 minutes"
    assert asked(first["select"]) == ["24000M", "12:45:00"], "of bins; 3 times 240 and 15 minutes"
    devices = {group: run.shell(f"scontrol show job {job}").stdout.count("gres:gpu:1") for group, job in first.items()}
    assert devices == {"early": 1, "select": 0, "train": 1}
    cancelled = next(event.job for event in run.events if event.selection == CANCELLED)
    again = re.search(r"in the SLURM job (\d+)", train_log(run.project, CANCELLED).read_text())[1]
    assert asked(cancelled) == ["32000M", "13:00:00"], "of a training, as the profile has it; 720 and 60 minutes"
    assert asked(again) == ["62.50G", "1-02:00:00"], "both twice"


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


@pytest.mark.parametrize("selection", [CANCELLED, PREEMPTED, LATE])
def test_a_job_that_ended_before_its_time_went_on(run, selection):
    event = next(event for event in run.events if event.selection == selection)
    assert event.seconds < 10, "a checkpoint within seconds"
    kept = re.search(r"saved a checkpoint at step (\d+) of 900", run.logs[selection])[1]
    text = train_log(run.project, selection).read_text()
    assert f"resumes from the checkpoint at step {kept} of 900" in text


def test_cancelled_and_late_are_submitted_again_and_preempted_keeps_its_number(run):
    shown = {event.selection: run.shell(f"scontrol show job {event.job}").stdout for event in run.events}
    assert "JobState=CANCELLED" in shown[CANCELLED]
    assert re.search("JobState=(TIMEOUT|FAILED)", shown[LATE]), "FAILED where it ended before SLURM ended it"
    assert run.text.count("Trying to restart job") == 2
    assert "Restarts=1" in shown[PREEMPTED]
    assert "JobState=COMPLETED" in shown[PREEMPTED]


def test_nothing_is_left_to_do_and_the_other_commands_of_the_page_work(run, docs):
    install = docs.command(".venv/bin/python -m pip install -r envs/requirements-slurm.txt")
    assert run.shell(install.replace(".venv/bin/python", sys.executable), "--dry-run", "--no-deps").returncode == 0
    assert "idle" in run.shell(docs.command("sinfo")).stdout
    dry = run.shell(docs.command(f"{RUN} -n"), "--config", *CONFIG)
    assert dry.returncode == 0
    assert "Nothing to be done" in dry.stdout + dry.stderr
    assert run.shell(docs.command(f"{RUN} --unlock")).returncode == 0
    # The paper's data is not here, so no more than what would be done
    of_one_machine = "snakemake --cores all --resources gpu="
    shared = f"{of_one_machine}8 --default-resources jobs_per_gpu=2"
    for command in ("snakemake --profile profiles/slurm", f"{of_one_machine}4", shared):
        plan = run.shell(docs.command(command), "-n")
        assert plan.returncode == 0, plan.stderr
        trainings = re.findall(r"^ *rule train:(?:\n.+)*?\n *resources: (.*)", plan.stdout + plan.stderr, re.M)
        assert len(trainings) == 740
        assert all(("jobs_per_gpu=2" in asked) == (command == shared) for asked in trainings)
        if "slurm" in command:
            paper = plan.stdout + plan.stderr

    found = re.search(r"The paper's ([\d,]+) jobs are ([\d,]+) submissions", docs.text)
    jobs, submissions = (int(number.replace(",", "")) for number in found.groups())
    alone, grouped = (
        len(re.findall(p, paper, re.M)) for p in (r"^rule (?:pack|score|pixels|autoencoder):", r"Group job ")
    )
    assert submissions == alone + grouped
    assert jobs == alone + len(re.findall(r"^    rule ", paper, re.M))


def test_each_command_of_the_page_was_run(run, docs):
    by_make = {"git clone <this repository> && cd <its folder>", "make setup", "source .venv/bin/activate"}
    assert set(docs.commands) - docs.used == by_make
