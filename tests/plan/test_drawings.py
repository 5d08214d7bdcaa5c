"""What cannot be drawn is said before the hours that its numbers would take."""

import re
from pathlib import Path

import pytest

from dqv2.config import ConfigError
from dqv2.plan.before import check_jobs, faults_of_drawings, faults_of_numbers
from tests.conftest import make, merged
from tests.plan.counted import job_of, options_of


def mine(demo, change, **block):
    return make(change(change(demo, "experiments.mine", block), "targets", ["mine"]))


def drawings_of(plan):
    blocks = plan.config.experiments
    return [(kind, name) for name in plan.rows for kind in ("figure", "table") if getattr(blocks[name], kind)]


@pytest.mark.parametrize(
    "file",
    ["", "demo.yaml", "smoke.yaml", "folder.yaml", "boxes.yaml", "own_images.yaml", "cifar10.yaml", "masks.yaml"],
)
def test_every_configuration_of_the_project_can_be_drawn(file):
    plan = make(merged(*[file] if file else []))
    assert faults_of_drawings(plan, drawings_of(plan)) == []
    assert faults_of_numbers(plan) == []


def test_two_experiments_whose_numbers_would_have_one_name_are_refused(demo, change):
    for name in ("mine1", "mine_one"):
        demo = change(demo, f"experiments.{name}", {"method": "dq", "table": {}})
    plan = make(change(demo, "targets", ["mine1", "mine_one"]))
    (fault,) = faults_of_numbers(plan)
    assert re.fullmatch(r"two numbers would be \\dqvMineOne\w+: mine1: .*; mine_one: .*: rename one of the two", fault)
    with pytest.raises(ConfigError, match=r"numbers cannot be named:\n  two numbers would be"):
        check_jobs(plan, [job_of("numbers")])


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"tobias_size": [4, 8], "table": {}}, "share seed 0 at .*they differ in tobias_size: make it .*row or column"),
        ({"selection_seeds": [0, 1], "training_seeds": [0], "table": {}}, "they differ in selection_seed: make it"),
        (
            {"arms": [{"title": "a", "pixels": ["none", "mae"]}], "mixture": "o100", "table": {}},
            "they differ in pixels",
        ),
        ({"table": {"row": "label", "column": "label"}}, "row and column are both label: choose another"),
        ({"table": {"y": "label"}}, "column 'label' holds text such as 'DQ_V2', not numbers"),
        ({"table": {"beside": ["label"]}}, "column 'label' holds text such as 'DQ_V2', not numbers"),
        ({"figure": {"kind": "methods", "y": "device"}}, "column 'device' holds text such as 'made up', not numbers"),
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
    plan = mine(demo, change, **{"method": "dq_v2"} | block)
    (fault,) = faults_of_drawings(plan, drawings_of(plan))
    kind = "table" if "table" in block else "figure"
    assert fault.startswith(f"experiments.mine.{kind}: ")
    assert re.search(message, fault)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"figure": {"kind": "methods", "order": ["Random", "Zork", "GraphCut"]}},
            "figure.order: nothing is called 'Zork'. The values of label are Random, GraphCut",
        ),
        (
            {"table": {"order": ["Random", "GraphCut", "DQ_V3"]}},
            "table.order: nothing is called 'DQ_V3'. Did you mean DQ_V2? The values of label are Random, GraphCut",
        ),
        (
            {"keep_ratio": [0.1, 0.2], "table": {"names": {"Randon": "Chance"}}},
            "table.names: nothing is called 'Randon'. Did you mean Random? The values of label are Random, GraphCut; "
            "the values of keep_ratio are 0.1, 0.2",
        ),
        (
            {"keep_ratio": [0.1, 0.2], "figure": {"kind": "line", "x": "keep_ratio", "hue": "label",
             "order": [0.1, 0.2, 0.77]}},
            "figure.order: nothing is called '0.77'. The values of keep_ratio are 0.1, 0.2",
        ),
        (
            {"figure": {"kind": "methods", "names": {"gc": "GC"}}},  # a method's own name is not its title
            "figure.names: nothing is called 'gc'. The values of label are Random, GraphCut",
        ),
    ],
)  # fmt: skip
def test_a_misspelt_name_is_found_in_the_plan(demo, change, block, message):
    plan = mine(demo, change, **{"method": ["random", "gc"]} | block)
    assert faults_of_drawings(plan, drawings_of(plan)) == [f"experiments.mine.{message}"]


@pytest.mark.parametrize(
    "block",
    [
        {"figure": {"kind": "methods", "order": ["Random", "DQ_V2", "DQ_V2, centre mask", "GraphCut"]}},
        {"keep_ratio": [0.1, 0.2], "table": {"names": {"DQ": "Theirs", "Random": "Chance", "0.1": "a tenth"}}},
        {"figure": {"kind": "methods", "x": "mask_title", "hue": "label", "order": ["no mask", "centre mask"]}},
        {"figure": {"kind": "methods", "x": "method", "hue": "pixels", "names": {"none": "as they are", "mae": "MAE"}}},
    ],
)
def test_a_name_of_the_configuration_that_no_row_has_is_accepted(demo, change, block):
    plan = mine(demo, change, method=["random", "gc"], **block)
    assert faults_of_drawings(plan, drawings_of(plan)) == []


def test_names_are_checked_where_only_the_figure_is_to_be_made(demo, change):
    plan = mine(demo, change, method=["random", "gc"], figure={"kind": "methods", "order": ["Random", "GraphCut", "Z"]})
    with pytest.raises(ConfigError, match=r"cannot be drawn:\n  experiments.mine.figure.order: nothing is called 'Z'"):
        check_jobs(plan, [job_of("figure", experiment="mine")])


def test_a_table_has_the_columns_of_its_data_by_default(demo, change):
    """Of several sets, of several keep ratios, of masks, of encoded images: an empty block is enough."""
    values = change(demo, "datasets.more", demo["datasets"]["digits"] | {"title": "more digits"})
    storage = {"mask": "early", "tobias_size": 8}
    for block in (
        {"dataset": ["digits", "more"], "method": ["random", "gc"], "table": {}},
        {"keep_ratio": [0.1, 0.2], "method": ["random", "gc"], "table": {}},
        {"dataset": ["digits", "more"], "method": "gc", "table": {"row": "dataset_title"}},
        {"dataset": ["digits", "more"], "method": "gc", "table": {"row": "dataset"}},
        {"keep_ratio": [0.1, 0.2], "method": "gc", "table": {"row": "keep_ratio"}},
        {"method": "dq_v2", "mask": ["early", "cells"], "overlap": True, "table": {"y": "iou"}},
        {"method": "dq", "storage": storage, "table": {"y": "megabytes"}},
    ):
        plan = mine(values, change, **block)
        assert faults_of_drawings(plan, drawings_of(plan)) == []


@pytest.mark.parametrize(
    "block",
    [
        {"keep_ratio": [0.1, 0.2], "figure": {"kind": "line", "x": "coreset_size", "hue": "label"}},
        {"keep_ratio": [0.1, 0.2], "table": {"column": "coreset_size"}},
        {"keep_ratio": [0.1, 0.2], "figure": {"kind": "methods", "x": "coreset_size", "order": [120, 240]}},
        {"figure": {"kind": "methods", "where": {"precision": "bfloat16"}}},
        {"figure": {"kind": "methods", "reference": [{"label": "all", "coreset_size": 1200}]}},
    ],
)
def test_what_rests_on_a_measurement_is_not_refused(demo, change, block):
    plan = mine(demo, change, method=["random", "gc"], **block)
    assert faults_of_drawings(plan, drawings_of(plan)) == []


def test_a_partial_drawing_is_not_refused(demo, change):
    block = {"method": "gc", "figure": {"kind": "methods", "where": {"method": "random"}}}
    plan = mine(change(demo, "partial", True), change, **block)
    assert faults_of_drawings(plan, drawings_of(plan)) == []


def test_a_partial_report_asks_for_what_is_there(demo, change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"fig4a", "fig5a", "fig1", "table1"} <= names_of(make(demo).targets())
    plan = make(change(demo, "partial", True))
    of_all = {"claims", "numbers", "index"}
    assert names_of(plan.targets()) == {"fig1"} | of_all, "a diagram needs nothing"
    for file in [plan.metrics_of(plan.rows["fig4a"][0].run), *plan.kind("fig5a", "pictures").files()["recipes"]]:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    assert {"fig4a", "fig5a"} <= names_of(plan.targets())
    assert not {"fig3", "table1"} & names_of(plan.targets())


def test_a_partial_report_makes_nothing_else(demo, change):
    plan = make(change(demo, "partial", True))
    metrics = plan.metrics_of(plan.rows["fig4a"][0].run)
    shown, asked = ([plan.job_making(file) for file in files] for files in ([f"{plan.figures}/fig4a.pdf"], [metrics]))
    with pytest.raises(ConfigError, match=f"and makes nothing else, such as {metrics}"):
        plan.require_shown(shown + asked)
    make(demo).require_shown(asked)
    plan.require_shown(shown)


def names_of(files):
    return {Path(file).stem.removesuffix("_table") for file in files}


def test_a_reference_has_a_label(demo, change):
    with pytest.raises(ConfigError, match="each entry of reference needs a label"):
        mine(demo, change, method="gc", figure={"kind": "methods", "reference": [{"method": "random"}]})


def test_networks_are_those_of_the_jobs_to_be_done(demo, change):
    plan = mine(demo, change, method=["grand", "dq_v2"], table={})
    files = [
        "results/demo/digits/train/o100/random/keep-0.1/resnet8/seed-0/model.pt",
        "results/demo/digits/early/early/seed-0/model.pt",
        "results/demo/digits/scores/early/seed-0/scores.npz",
        "results/demo/digits/saliency/early/seed-0/saliency.npy",
    ]
    train, early, score, saliency = (plan.job_making(file) for file in files)
    (place,) = train.stage.builds(plan, train.w)
    assert place == "trainers.resnet8 on datasets.digits"
    for job in (early, score):
        (place,) = job.stage.builds(plan, job.w)
        assert place == "backbones.early on datasets.digits"
    assert saliency.stage.builds(plan, saliency.w) == {}, "it reads one that was built"


def test_a_network_that_cannot_be_built_is_named_before_the_first_job(demo, change):
    values = change(demo, "trainers.resnet8.model", "resnet_eight")
    plan = mine(values, change, method="random", table={})
    train = plan.job_making("results/demo/digits/train/o100/random/keep-0.1/resnet8/seed-0/model.pt")
    with pytest.raises(ValueError, match=r"trainers\.resnet8.*'resnet_eight'"):
        check_jobs(plan, [train])  # also where the demo was run, whose packs say how many images there are


def test_the_made_up_table_has_the_options_of_the_real_one(demo, change):
    plan = mine(demo, change, method=["random", "dq_v2"], table={"caption": "c"})
    assert options_of(plan, "table", experiment="mine")["spec"]["caption"] == "c"
    table, measured = plan.planned_table("mine")
    assert {"test_accuracy", "coreset_size", "train_seconds"} <= measured
    assert not {"method", "keep_ratio", "seed"} & measured
    assert list(table["method"].unique()) == ["random", "dq_v2"]
    assert len(table) == 2 * len(demo["seeds"])


def test_pictures_say_which_mask_and_size_they_show(demo, change):
    masks = {"method": "dq_v2", "mask": ["early", "centre"], "tobias_size": [4, 8], "pictures": {}}
    plan = mine(demo, change, **masks)
    early, centre = (plan.config.masks[name].title for name in ("early", "centre"))
    titles = [f"{mask}, {size} × {size}" for size in (4, 8) for mask in (early, centre)]
    assert plan.kind("mine", "pictures").titles() == titles
    assert early not in plan.note("mine")
    one = mine(demo, change, **masks | {"mask": "early"})
    assert one.kind("mine", "pictures").titles() == ["4 × 4", "8 × 8"]
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
