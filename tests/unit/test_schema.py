"""What editors check configuration files against."""

import json

import jsonschema
import pytest
import yaml

from dqv2.cli.schema import text
from tests.conftest import ROOT

FILES = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_file_is_what_the_configuration_says():
    assert (ROOT / "config/schema.json").read_text(encoding="utf-8") == text(), "run: dqv2 schema"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_shipped_file_passes(validator, file):
    assert [error.json_path for error in validator.iter_errors(yaml.safe_load(file.read_text()))] == []


@pytest.mark.parametrize(
    "overlay",
    [
        {"backbones": {"mine": {"modle": "resnet18"}}},
        {"trainers": {"mine": {"epochs": "many"}}},
        {"defaults": {"keep_ratio": 4}},
        {"datasets": {"mine": {"kind": "digits", "path": "x"}}},
        {"experiments": {"mine": {"figure": {"kind": "pie"}}}},
        {"seed": [0]},
    ],
)
def test_what_the_configuration_refuses_is_marked(validator, overlay):
    assert not validator.is_valid(overlay)


@pytest.mark.parametrize(
    "overlay",
    [
        {"experiments": {"mine": {"method": "dq", "seeds": None, "figure": {"panel": None, "kind": "line"}}}},
        {"datasets": {"mine": {"size": 32}}},
        {"backbones": {"mine": {"weights": "resnet50.tv_in1k", "mean": [0.5, 0.5, 0.5]}}},
    ],
)
def test_an_overlay_has_only_what_it_changes(validator, overlay):
    assert validator.is_valid(overlay)
