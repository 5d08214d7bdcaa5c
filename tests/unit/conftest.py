"""A folder of results to look at, and to break."""

import shutil
from pathlib import Path

import pytest

from dqv2.runtime.job import run_job
from tests.conftest import make, merged
from tests.jobs import CORESET, AsBefore, request_of


@pytest.fixture(scope="session")
def small():
    """The demo on 140 digits."""
    values = merged("demo.yaml")
    values["datasets"]["digits"] |= {"train": 100, "validation": 20, "test": 20}
    return make(values)


@pytest.fixture(scope="session")
def run(tmp_path_factory, small):
    """A folder in which a coreset and all behind it was made: pack, bin, sample."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch, AsBefore():
        patch.chdir(folder)
        for job in small.jobs([CORESET]):
            assert run_job(request_of(small, job)) == 0
    return folder


@pytest.fixture
def here(run, tmp_path, monkeypatch):
    """A copy of that folder to break."""
    shutil.copytree(run, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    with AsBefore():
        yield Path()
