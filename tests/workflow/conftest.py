"""A copy of the project to run snakemake in, so that tests can touch, edit and break it."""

import csv
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.processes import running_in
from tests.ready import READY


@dataclass
class Listed:
    """A job of a dry run."""

    rule: str
    says: dict

    def named(self, name):
        """What it says of its wildcards or resources, by name."""
        return dict(part.split("=", 1) for part in self.says.get(name, "").split(", ") if "=" in part)

    @property
    def seed(self):
        return self.named("wildcards").get("seed")


@dataclass
class Project:
    """A copy of the project, with its own library."""

    folder: Path

    def command(self, *options, config="smoke"):
        overlay = [f"--configfile=config/{config}.yaml"] if config else []
        return [sys.executable, "-m", "snakemake", "--cores", "2", *overlay, *options]

    def environment(self, **more):
        """Its own library, and its own temporary folder: the devices of other tests' jobs are not its jobs'."""
        (self.folder / "tmp").mkdir(exist_ok=True)
        return os.environ | {"PYTHONPATH": str(self.folder / "src"), "TMPDIR": str(self.folder / "tmp")} | more

    def snakemake(self, *options, config="smoke", check=True, env=(), timeout=None):
        """Snakemake's command line and what came of it. It is started where it has an environment of its own: libraries
        read that as they are loaded."""
        command = self.command(*options, config=config)
        how = {"cwd": self.folder, "env": self.environment(**dict(env)), "timeout": timeout}
        done = subprocess.run(command, capture_output=True, text=True, **how) if env else READY.run(command, **how)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *options, **env):
        """Snakemake, started: a process with all that it imports, in a session of its own; its words in one stream."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        env = self.environment(**env)
        return subprocess.Popen(self.command(*options), cwd=self.folder, env=env, start_new_session=True, **pipes)

    def processes(self):
        """What runs in its folder: Snakemake, the warm server, clients and jobs."""
        return running_in(self.folder)

    def waiting(self, *options, config="smoke"):
        """Rule -> how many jobs a run would do now, without the rules that only gather targets."""
        out = self.snakemake("-n", *options, config=config)
        table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\n\n", out.stdout + out.stderr, re.S)
        if table is None:
            assert "Nothing to be done" in out.stdout + out.stderr
            return {}
        counts = dict(line.split() for line in table[1].splitlines())
        return {rule: int(count) for rule, count in counts.items() if rule not in ("all", "coresets", "total")}

    def jobs(self, *options, config="smoke"):
        """What a dry run says of each job, as Snakemake prints it."""
        out = self.snakemake("-n", *options, config=config)
        blocks = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", out.stdout + out.stderr, re.M)
        return [Listed(rule, dict(re.findall(r"^    ([\w-]+): (.*)$", text, re.M))) for rule, text in blocks]

    def metrics(self):
        """The results of all trainings, by path."""
        found = self.folder.glob("results/*/*/train/**/metrics.json")
        return {str(path.relative_to(self.folder)): path.read_text() for path in found}

    def results(self):
        """All that a run is about, by path: every network's weights, every training's numbers byte for byte."""
        found = {}
        for path in self.folder.glob("results/*/*/train/**/*"):
            if path.name == "model.pt":
                found[str(path.relative_to(self.folder))] = digest_of_weights(path)
            elif path.name == "metrics.json":
                found[str(path.relative_to(self.folder))] = path.read_bytes()
        return found


def finished(run, seconds=300):
    """What a started Snakemake has said, once it has ended in success."""
    out = run.communicate(timeout=seconds)[0]
    assert run.returncode == 0, out
    return out


def digest_of_weights(path):
    """Of every tensor's name and bytes. Not of the file, which holds the name under which it was first written."""
    import torch

    digest = hashlib.sha256()

    def add(name, value):
        if isinstance(value, dict):
            for key in sorted(value, key=str):
                add(f"{name}/{key}", value[key])
        elif isinstance(value, torch.Tensor):
            digest.update(name.encode() + value.contiguous().numpy().tobytes())
        else:
            digest.update(f"{name}={value}".encode())

    add("", torch.load(path, map_location="cpu", weights_only=True))
    return digest.hexdigest()


def copy(target):
    """With what Python has compiled, which it takes by the sources' times; x.pyc.123 is just being written."""
    for name in ("config", "profiles", "src", "workflow", "envs"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("*.egg-info", "*.pyc.*"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, target / name)
    return Project(target)


def give(project, other, plan, files):
    """What another project's run made, with all that it was made from, its times and Snakemake's notes."""
    for job in plan.jobs(files):
        for file in plan.files_of(job):
            source, target = other.folder / file, project.folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    shutil.copytree(other.folder / ".snakemake/metadata", project.folder / ".snakemake/metadata")


@pytest.fixture
def copies():
    """Makes fresh copies, in which nothing has run; after the test nothing runs there any more."""
    made = []

    def make(folder):
        made.append(copy(folder))
        return made[-1]

    yield make
    for process in [process for project in made for process in project.processes()]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture
def project(copies, tmp_path):
    """A fresh copy in which nothing has run."""
    return copies(tmp_path)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """A copy in which the whole smoke configuration has run. Tests leave it as they found it."""
    project = copy(tmp_path_factory.mktemp("smoke"))
    run = project.start()
    try:
        finished(run, seconds=None)
    finally:
        with suppress(ProcessLookupError):  # it has ended
            os.killpg(run.pid, signal.SIGKILL)
    return project


@pytest.fixture(scope="session")
def listed(tmp_path_factory):
    """Every job of the smoke configuration, as a dry run in a fresh copy says it with its command."""
    return copy(tmp_path_factory.mktemp("listed")).jobs("-p")


@pytest.fixture(scope="session")
def summary(smoke):
    """What Snakemake says of each file of the smoke run: a row each."""
    return list(csv.DictReader(smoke.snakemake("--detailed-summary").stdout.splitlines(), delimiter="\t"))
