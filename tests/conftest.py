"""What several test files share."""

import copy
from functools import cache
from pathlib import Path

import hypothesis
import pytest

from dqv2.config import load_config, read_files
from dqv2.plan import Plan

ROOT = Path(__file__).parents[1]

# pytest --hypothesis-profile=long: what the suite has no time for
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("long", deadline=None, max_examples=4000)
hypothesis.settings.load_profile("default")


@cache
def _read(*files):
    return read_files([ROOT / "config" / file for file in files], base=ROOT / "config.yaml")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Which tests one process runs, when there are several: those of a file, and all that look at the one smoke run,
    which begin first as they are the longest."""
    items.sort(key=lambda item: "workflow" not in item.keywords)
    for item in items:
        group = "smoke" if "smoke" in item.fixturenames else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))


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
