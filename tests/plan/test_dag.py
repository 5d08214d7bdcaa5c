"""Snakemake's own jobs are those of the plan's walk, file by file, for every configuration of the project.

Of all that Snakemake prints of its jobs (--d3dag, --detailed-summary, a dry run), only a dry run names their wildcards,
threads and resources; each field of a job stands on a line of its own there.
"""

import os
import re
import sys
from typing import NamedTuple

import pytest

from dqv2.stages import all_stages
from tests.conftest import ROOT, make, merged
from tests.ready import READY

pytestmark = pytest.mark.workflow

FILES = ["", *sorted(file.name for file in (ROOT / "config").glob("*.yaml"))]
ASKING = {"all", "coresets"}  # rules that ask for files and make none
JOB = re.compile(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", re.M)


class Job(NamedTuple):
    """A job as both sides have it."""

    stage: str
    wildcards: frozenset
    reads: frozenset
    writes: frozenset


class Asked(NamedTuple):
    """What a job asks of the machine."""

    threads: int
    gpu: int
    memory: int


def dry_run(folder, file, *targets):
    """The jobs of a dry run -> what they ask for."""
    command = [sys.executable, "-m", "snakemake", "-n", "-F", "--cores", "64", *targets]
    command += ["-s", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(ROOT / "config" / file)] if file else []
    done = READY.run(command, cwd=folder, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    found = {}
    for name, text in JOB.findall(done.stdout):
        fields = dict(re.findall(r"^    (\w+): (.*)$", text, re.M))
        wildcards = frozenset(tuple(each.split("=", 1)) for each in listed(fields, "wildcards"))
        resources = dict(each.split("=", 1) for each in listed(fields, "resources"))
        job = Job(name, wildcards, frozenset(listed(fields, "input")), frozenset(listed(fields, "output")))
        assert job not in found, "Snakemake does it once"
        asked = Asked(int(fields.get("threads", 1)), int(resources.get("gpu", 0)), int(resources.get("mem_mb", 0)))
        found[job] = asked
    return found


def listed(fields, name):
    return fields[name].split(", ") if fields.get(name) else []


def walked(plan, files):
    """The jobs of the plan's walk, as Snakemake would have them -> what they ask for."""
    found = {}
    for planned in plan.jobs(files):
        stage = planned.stage
        reads = frozenset(plan.files_read(planned))
        writes = frozenset(plan.file_of(planned, output) for output in stage.writes)
        gpus = plan.config.trainers[planned.w.trainer].devices if stage.name == "train" else int(stage.model)
        asked = Asked(stage.cores or plan.config.threads, gpus, 0)
        found[Job(stage.name, frozenset(planned.wildcards), reads, writes)] = asked
    return found


@pytest.mark.parametrize(("file", "target"), [*((file, "all") for file in FILES), ("own_images.yaml", "coresets")])
def test_the_jobs_of_snakemake_are_those_of_the_plan(file, target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make(merged(*[file] if file else []))
    expected = walked(plan, plan.targets() if target == "all" else plan.exports())
    found = {job: asked for job, asked in dry_run(tmp_path, file, target).items() if job.stage not in ASKING}
    assert len(expected) > 5
    assert {job.stage for job in found} <= set(all_stages())
    missing, more = set(expected) - set(found), set(found) - set(expected)
    assert not missing, f"{len(missing)} jobs that Snakemake does not have, such as {min(missing)[:2]}"
    assert not more, f"{len(more)} jobs that the plan does not have, such as {min(more)[:2]}"
    for job, asked in found.items():
        assert asked[:2] == expected[job][:2], job
        assert bool(asked.memory) == (job.stage not in LOCAL), f"{job.stage}: a cluster's job says what memory it needs"


RULES = "".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "workflow/rules").glob("*.smk")))
LOCAL = {text.partition(":")[0] for text in RULES.split("\nrule ")[1:] if "    localrule: True\n" in text}
