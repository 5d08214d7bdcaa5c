"""A copy of the project to run snakemake in, so that tests can touch, edit and break it."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT


@dataclass
class Project:
    """A copy of the project, with its own library."""

    folder: Path

    def snakemake(self, *options, config="smoke", check=True, **popen):
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *options]
        command += ["--configfile", f"config/{config}.yaml"] if config else []
        env = os.environ | {"PYTHONPATH": str(self.folder / "src")}
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, **popen)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done

    def waiting(self, *options, config="smoke"):
        """Rule -> how many jobs a run would do now; batches of arms count as the rule of their stage and seeds."""
        out = self.snakemake("-n", *options, config=config)
        table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\n\n", out.stdout + out.stderr, re.S)
        if table is None:
            assert "Nothing to be done" in out.stdout + out.stderr
            return {}
        found = Counter()
        for line in table[1].splitlines():
            rule, count = line.split()
            found[without_batch(rule)] += int(count)
        return dict(found)

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


def without_batch(rule):
    """train_0_1_batch_8d4e10 -> train_0_1."""
    return re.sub(r"_batch_[0-9a-f]{6}$", "", rule)


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
    for name in ("config", "profiles", "src", "workflow", "envs"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, target / name)
    return Project(target)


@pytest.fixture
def project(tmp_path):
    """A fresh copy in which nothing has run."""
    return copy(tmp_path)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """A copy in which the whole smoke configuration has run. Tests leave it as they found it."""
    project = copy(tmp_path_factory.mktemp("smoke"))
    project.snakemake()
    return project
