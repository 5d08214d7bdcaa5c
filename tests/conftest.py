"""What several test files share."""

import copy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def merged(*files):
    """config.yaml with overlays on top, as Snakemake merges them."""

    def update(into, new):
        for key, value in new.items():
            into[key] = update(into.get(key) or {}, value) if isinstance(value, dict) else value
        return into

    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    for file in files:
        update(values, yaml.safe_load((ROOT / "config" / file).read_text()))
    return values


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
