"""Operations of the networks behind coresets: those of the declared work, whatever is on the disk."""

import json

import pytest

from dqv2.cost.flop import networks_behind, tera_flop
from dqv2.cost.networks import count
from dqv2.cost.rates import Net
from tests.conftest import make
from tests.plan.counted import options_of

EARLY = "results/demo/digits/early/early/seed-0/record.json"
SALIENCY = "results/demo/digits/saliency/early/seed-0/record.json"


def test_the_networks_are_those_of_the_jobs_behind_each_run(demo):
    plan = make(demo)
    options = options_of(plan, "cost", experiment="cost")
    assert set(options["networks"]) == {file for row in options["rows"] for _, _, file in row["records"]}
    n, epochs = demo["datasets"]["digits"].get("train", 1200), demo["backbones"]["early"]["epochs"]
    (trained,) = options["networks"][EARLY]
    assert (trained["kind"], trained["images"], trained["classes"]) == ("train", epochs * n, 10)
    (read,) = options["networks"][SALIENCY]
    assert (read["kind"], read["images"]) == ("forward", n)
    assert json.loads(json.dumps(options["networks"])) == options["networks"], "a rule's params are builtins"


def test_operations_are_counted_in_the_networks_themselves(demo):
    networks = networks_behind(make(demo), [EARLY, SALIENCY])
    found = tera_flop(networks)
    net = Net("resnet8", 32)
    assert found[SALIENCY] == pytest.approx(networks[SALIENCY][0]["images"] * count(net).forward / 1e12)
    assert found[EARLY] == pytest.approx(networks[EARLY][0]["images"] * count(net).train / 1e12)
    assert tera_flop({"none": []}) == {"none": 0.0}


def test_a_set_whose_size_nobody_states_has_none(demo, change):
    block = {"title": "mine", "kind": "image_folder", "path": "images", "size": 32}
    values = change(
        change(demo, "datasets.mine", block), "experiments.mine", {"dataset": "mine", "method": "gc", "cost": {}}
    )
    plan = make(change(values, "targets", ["mine"]))
    assert options_of(plan, "cost", experiment="mine")["networks"] == {}
