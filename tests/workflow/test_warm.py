"""The warm start in real runs: the same bytes as cold, whatever is killed, and nothing left behind."""

import json
import os
import re
import signal
import sys
import time
from contextlib import suppress

import psutil
import pytest

from dqv2.config import load_config
from dqv2.plan import Plan
from tests.conftest import merged
from tests.workflow.conftest import digest_of_weights, finished, give

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(sys.platform != "linux", reason="the warm start is for Linux"),
]
SELECTIONS = ("o100/random", "o100/backbone-early/bins", "o100_t50/mask-early/tobias-4/backbone-early/bins")
CORESETS = [f"results/smoke/digits/coreset/{each}/keep-0.1/seed-0/coreset.csv" for each in SELECTIONS]
TRAININGS = [f"results/smoke/digits/train/{each}/keep-0.1/resnet8/seed-0/metrics.json" for each in SELECTIONS]
COLD = "jobs start"  # cold, or started cold


def results(project):
    """Bins, coresets, recipes, features, weights and metrics, by path: the bytes of each; of weights their tensors."""
    found = {}
    for path in project.folder.glob("results/smoke/digits/**/*"):
        name = str(path.relative_to(project.folder))
        if path.name == "model.pt":
            found[name] = digest_of_weights(path)
        elif path.name in ("bins.csv", "coreset.csv", "recipe.npz", "embedding.npy", "metrics.json", "training.json"):
            found[name] = path.read_bytes()
    return found


def assert_same(project, smoke, *, count):
    """What a run made is what the whole smoke run made, byte for byte."""
    mine, theirs = results(project), results(smoke)
    assert len(mine) >= count
    assert [path for path, found in mine.items() if found != theirs[path]] == []


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def begun(project, count):
    """Once so many jobs have ended."""
    wait_for(lambda: len(list(project.folder.glob("results/smoke/digits/**/record.json"))) >= count)


def server_of(project):
    """The server, and none of its jobs, which are forks of it."""
    found = {}
    for process in project.processes():
        with suppress(psutil.NoSuchProcess):
            if "dqv2.runtime.warm_server" in process.cmdline():
                found[process.pid] = process
    return next((process for process in found.values() if process.ppid() not in found), None)


def left(project):
    """Folders of servers, in the temporary folder."""
    return [path.name for path in (project.folder / "tmp").glob("dqv2-warm-*")]


def test_cold_jobs_make_the_same_bytes(copies, tmp_path, smoke):
    """Every kind of selection and training, of one seed; of jobs that do the same with other files, one."""
    plan = Plan(load_config(merged("smoke.yaml")))
    shown = {row.method: row.run for name in ("baselines", "vit") for row in plan.rows[name] if row.run.seed == 0}
    fresh = next(row.run for row in plan.rows["masks"] if row.run.seed == 0 and row.run.trainer == "resnet8_cells")

    def file(run, stage, name):
        return plan.file(stage, name, plan.axes(run))

    models = {name: file(run, "train", "model") for name, run in {**shown, "fresh": fresh}.items()}
    from_nothing = [plan.metrics_of(shown["random"]), file(shown["forgetting"], "bin", "bins"), models["dq_v2"]]
    given = [file(fresh, "sample", "coreset"), plan.file("weights", "json", block="backbones", network="pretrained")]
    given += [plan.file("early_train", "model", plan.axes(shown["dq"]), backbone="importance", seed=0)]
    for name, there, asked, count in (
        ("nothing", [], from_nothing, 14),
        ("given", given, [models["dq"], models["fresh"]], 9),
    ):
        project = copies(tmp_path / name)
        give(project, smoke, plan, there)
        done = project.snakemake(*asked, env={"DQV2_WARM": "0"})
        assert COLD not in done.stderr
        assert len(re.findall("^(?:local)?rule ", done.stderr + done.stdout, re.M)) == count
        assert all((project.folder / file).exists() for file in asked)
        assert_same(project, smoke, count=8)
        assert left(project) == []


def test_records_are_the_jobs_own_and_nothing_is_left(smoke):
    records = [json.loads(path.read_text()) for path in smoke.folder.glob("results/**/record.json")]
    assert len(records) > 300
    for record in records:
        assert record["memory_mb"] > 50, record["stage"]
        assert 0 < record["cpu_seconds"] < 2 * record["wall_seconds"] + 1, record["stage"]
    # Less than it takes to import torch, which is not a job's own where it starts warm
    assert sorted(record["cpu_seconds"] for record in records if record["stage"] == "sample")[10] < 1
    assert left(smoke) == []
    assert smoke.processes() == []


def test_a_server_that_is_killed_is_said_once_and_done_without(project, smoke):
    run = project.start(*TRAININGS[:2])
    begun(project, 7)  # of 11
    server_of(project).kill()
    assert finished(run).count(COLD) == 1
    assert len(project.metrics()) == 2
    assert_same(project, smoke, count=8)
    assert left(project) == []


def test_snakemake_killed_three_times_leaves_no_process_and_ends_in_the_same_bytes(project, smoke):
    """Itself alone, with its clients, and with a job under way."""
    for count, whole in ((3, False), (7, True), (12, False)):  # of 17
        run = project.start(*TRAININGS)
        begun(project, count)
        (os.killpg if whole else os.kill)(run.pid, signal.SIGKILL)
        run.wait()
        wait_for(lambda: not project.processes(), seconds=60)
        project.snakemake("--unlock", *TRAININGS)
        for text in project.metrics().values():
            json.loads(text)  # never half-written
    finished(project.start(*TRAININGS))
    assert len(project.metrics()) == 3
    assert_same(project, smoke, count=17)
    assert left(project) == [], "swept by the next run"


def test_two_at_once_and_a_job_that_crashes_the_interpreter_in_one_of_them(project, smoke, copies, tmp_path_factory):
    """It fails alone, under its rule's name; neither the jobs beside it nor the other run take harm."""
    crashing = copies(tmp_path_factory.mktemp("crashing"))
    module = crashing.folder / "src/dqv2/stages/sample.py"
    crash = '        if job.wildcards.selection == "o100/random":\n            __import__("os").abort()\n'
    module.write_text(module.read_text().replace("    def run(self, job):\n", f"    def run(self, job):\n{crash}"))
    runs = [each.start(*CORESETS) for each in (project, crashing)]
    wait_for(lambda: server_of(project) and server_of(crashing))
    finished(runs[0])
    said = runs[1].communicate(timeout=300)[0]
    assert runs[1].returncode != 0
    assert re.findall(r"^Error in rule (\w+)", said, re.M)[:1] == ["sample"]
    assert set(re.findall(r"^Error in rule (\w+)", said, re.M)) == {"sample"}
    assert "o100/random" in said
    assert COLD not in said
    made = [{path for path in results(each) if path.endswith("coreset.csv")} for each in (project, crashing)]
    assert {path for path in made[0] if "o100/random" not in path} == made[1]
    for each in (project, crashing):
        assert_same(each, smoke, count=8)
        assert left(each) == []
        assert each.processes() == []
