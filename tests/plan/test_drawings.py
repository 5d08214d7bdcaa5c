"""What cannot be drawn is said before the hours that its numbers would take."""

import re

import pytest

from dqv2.config import ConfigError, load_config
from dqv2.plan import Plan
from dqv2.plan.drawings import drawn_options, faults_of_drawings, planned_table
from dqv2.stages import STAGES
from tests.conftest import merged

VERSIONS = dict.fromkeys(STAGES, 1)


def make(values):
    return Plan(load_config(values), VERSIONS)


def mine(demo, change, **block):
    return make(change(change(demo, "experiments.mine", block), "targets", ["mine"]))


@pytest.mark.parametrize("file", ["", "demo.yaml", "smoke.yaml", "folder.yaml", "boxes.yaml", "own_images.yaml"])
def test_every_configuration_of_the_project_can_be_drawn(file):
    plan = make(merged(*[file] if file else []))
    assert faults_of_drawings(plan, plan.config.targets) == []


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"tobias_size": [4, 8], "table": {}}, "share seed 0 at .*they differ in tobias_size"),
        ({"table": {"column": "keepratio"}}, "no column 'keepratio'"),
        ({"table": {"beside": ["seconds"]}}, "no column 'seconds'"),
        ({"figure": {"kind": "line", "x": "tobias"}, "tobias_size": [4, 8]}, "they differ in tobias_size"),
        ({"figure": {"kind": "methods", "y": "accuracy"}}, "no column 'accuracy'"),
        ({"figure": {"kind": "methods", "hue": "maks"}}, "no column 'maks'"),
        ({"figure": {"kind": "methods", "where": {"method": "dq"}}}, "no row to draw"),
        ({"figure": {"kind": "methods", "reference": [{"label": "r", "method": "random"}]}}, "matches the reference"),
        (
            {"mask": ["early", "cells"], "figure": {"kind": "methods", "x": "mask", "order": ["early"]}},
            "mask has cells",
        ),
    ],
)
def test_a_fault_is_found_in_the_plan(demo, change, block, message):
    (fault,) = faults_of_drawings(mine(demo, change, method="dq_v2", **block), ["mine"])
    kind = "table" if "table" in block else "figure"
    assert fault.startswith(f"experiments.mine.{kind}: ")
    assert re.search(message, fault)


def test_a_table_has_the_columns_of_its_data_by_default(demo, change):
    """Of several sets, of several keep ratios, of masks, of encoded images: an empty block is enough."""
    values = change(demo, "datasets.more", demo["datasets"]["digits"] | {"title": "more digits"})
    storage = {"mask": "early", "tobias_size": 8}
    for block in (
        {"dataset": ["digits", "more"], "method": ["random", "gc"], "table": {}},
        {"keep_ratio": [0.1, 0.2], "method": ["random", "gc"], "table": {}},
        {"method": "dq_v2", "mask": ["early", "cells"], "overlap": True, "table": {"y": "iou"}},
        {"method": "dq", "storage": storage, "table": {"y": "megabytes"}},
    ):
        assert faults_of_drawings(mine(values, change, **block), ["mine"]) == []


def test_the_made_up_table_has_the_options_of_the_real_one(demo, change):
    plan = mine(demo, change, method=["random", "dq_v2"], table={"caption": "c"})
    assert drawn_options(plan, "table", "mine")["caption"] == "c"
    table = planned_table(plan, "mine")
    assert list(table["method"].unique()) == ["random", "dq_v2"]
    assert len(table) == 2 * len(demo["seeds"])


def test_pictures_say_which_mask_and_size_they_show(demo, change):
    masks = {"method": "dq_v2", "mask": ["early", "centre"], "tobias_size": [4, 8], "pictures": {}}
    plan = mine(demo, change, **masks)
    early, centre = (plan.config.masks[name].title for name in ("early", "centre"))
    titles = [f"{mask}, {size} × {size}" for size in (4, 8) for mask in (early, centre)]
    assert plan.picture_options("mine")["titles"] == titles
    assert early not in plan.note("mine")
    one = mine(demo, change, **masks | {"mask": "early"})
    assert one.picture_options("mine")["titles"] == ["4 × 4", "8 × 8"]
    assert early in one.note("mine")


def test_pictures_of_nothing_or_of_several_sets_are_refused(demo, change):
    with pytest.raises(ConfigError, match="show Tobias images, and no method of it has any"):
        mine(demo, change, method="random", pictures={})
    values = change(demo, "datasets.more", demo["datasets"]["digits"])
    with pytest.raises(ConfigError, match="show one set's images, and it has 2 datasets"):
        mine(values, change, method="dq_v2", dataset=["digits", "more"], pictures={})


def test_a_cost_is_of_trainings(demo, change):
    with pytest.raises(ConfigError, match="a cost is of trainings"):
        mine(demo, change, method="dq_v2", overlap=True, table={"y": "iou"}, cost={})
