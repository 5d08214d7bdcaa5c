"""What the diagram says of each stage."""

import pytest

from tests.conftest import make


def details(values, change, **arm):
    """Stage -> what is said of it, for one arm."""
    experiment = {"dataset": "digits", "diagram": {}, **arm}
    plan = make(change(change(values, "experiments.shown", experiment), "targets", ["shown"]))
    (lane,) = plan.kind("shown", "diagram").lanes()
    return {stage["key"]: stage["detail"] for stage in lane["stages"]}


def test_a_trainers_own_masks_are_named(demo, change):
    found = details(demo, change, method="dq_no_pixel", trainer="resnet8_object")
    assert found["augment"] == "true mask, 8 × 8 cells, another image's background"
    assert found["train"].endswith("backgrounds drawn anew")
    both = details(demo, change, method="dq_v2", tobias_size=4, trainer="resnet8_object")
    assert both["augment"] == "early-trained mask, 4 × 4 cells, another image's background"
    assert both["augment 2"] == found["augment"]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("dq_v2", "the same share of every bin"),
        ("random", "at random, the same share of every class"),
        ("adq", "from every bin by its size and importance"),
        ("ccs", "the same number from every stratum"),
        ("gc", "the first of every class"),
        ("herding", "the first of every class"),
    ],
)
def test_how_a_coreset_is_drawn_is_told_by_its_selector(demo, change, method, said):
    assert details(demo, change, method=method)["sample"] == f"{said}: 10 % of the originals' number"


def test_what_the_keep_ratio_is_a_share_of_is_told_by_the_mixture(demo, change):
    values = change(demo, "mixtures.o100_t50.budget", "pool")
    assert details(values, change, method="dq_v2")["sample"] == "the same share of every bin: 10 % of the pool"
