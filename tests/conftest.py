"""What several test files share."""

import copy
import os
from functools import cache
from pathlib import Path

import hypothesis
import pytest

from dqv2.config import load_config, read_files
from dqv2.plan import Plan

ROOT = Path(__file__).parents[1]
# Before torch is loaded: threads that wait for each other in a loop take the cores from other processes (84 s in place
# of 3 for a short training of two threads beside another)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# pytest --hypothesis-profile=long: what the suite has no time for
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("long", deadline=None, max_examples=4000)
hypothesis.settings.load_profile("default")


@cache
def _read(*files):
    return read_files([ROOT / "config" / file for file in files], base=ROOT / "config.yaml")


SMOKE = (
    "test_commands.py",
    "test_jobs.py",
    "test_published.py",
    "test_report.py",
    "test_smoke.py",
    "test_warm.py",
)  # look at one run


def group_of(nodeid):
    """The tests that one process of several runs: those of a file, and all that look at the one smoke run."""
    file = nodeid.partition("::")[0]
    return "smoke" if Path(file).name in SMOKE and "workflow" in file else file


def pytest_collection_modifyitems(items):
    """The longest first: those that look at the smoke run, then others that run Snakemake."""
    items.sort(key=lambda item: (group_of(item.nodeid) != "smoke", "workflow" not in item.keywords))


def pytest_xdist_make_scheduler(config, log):
    """Tests of one group stay together, in the order of their first."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    return ByGroup(config, log)


def merged(*files):
    """config.yaml with overlays on top, as Snakemake merges them."""
    return copy.deepcopy(_read(*files))


def make(values):
    """The plan of a configuration."""
    return Plan(load_config(values))


@pytest.fixture
def paper():
    return merged()


@pytest.fixture
def demo():
    return merged("demo.yaml")


@pytest.fixture
def change():
    """A copy of a configuration with one dotted key set."""

    def set_key(values, path, value):
        values = copy.deepcopy(values)
        node = values
        *parents, last = path.split(".")
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
        node[last] = value
        return values

    return set_key
