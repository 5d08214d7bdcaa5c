"""An experiment that replaces what makes a method says so, and is not taken for that method."""

import pytest

from dqv2.cli import main
from dqv2.config import ConfigError
from tests.conftest import make, merged


def table2(values, change, **block):
    for key, value in block.items():
        values = change(values, f"experiments.table2.{key}", value)
    return make(values)


def seen(plan, name="table2"):
    """Title -> the column `replaces`, of an experiment's rows."""
    return {row.title: plan.columns(name, row).get("replaces") for row in plan.rows[name]}


def test_a_title_says_what_an_experiment_replaces_of_a_method(paper, change):
    plan = table2(paper, change, method=["random", "gc", "dq", "dq_v2"], backbone="early")
    assert seen(plan) == {
        "Random": None,  # it reads no features
        "GraphCut, early-trained ResNet-50": "backbone",
        "DQ, early-trained ResNet-50": "backbone",
        "DQ_V2": None,  # whose block leaves the network to the defaults
    }
    assert seen(table2(paper, change, method="dq", pixels="none")) == {"DQ, pixels as they are": "pixels"}
    assert seen(table2(paper, change, method="random", selector="bins")) == {"Random, selector bins": "selector"}
    assert seen(table2(paper, change, method="dq_v2", mixture="o100")) == {"DQ_V2, originals alone": "mixture"}
    masks = {"DQ_V2, random network, early-trained mask": "mask", "DQ_V2, random network, random-network mask": None}
    assert seen(table2(paper, change, method="dq_v2_untrained", mask=["early", "untrained"])) == masks


def test_what_a_method_leaves_open_is_no_replacement(paper, change):
    plan = table2(paper, change, method=["random", "dq_v2"], backbone="untrained", mask="centre", tobias_size=8)
    assert {row.title for row in plan.rows["table2"]} == {"Random", "DQ_V2"}
    assert not any("replaces" in plan.columns("table2", row) for row in plan.rows["table2"])


def test_a_number_that_a_method_sets_is_one_of_its_values(paper, change):
    for axis, own, other in (("keep_ratio", 0.3, 0.2), ("tobias_size", 16, 8)):
        values = change(paper, f"methods.dq_v2.{axis}", own)
        words = {"keep_ratio": "keep ratio", "tobias_size": "Tobias size"}[axis]
        found = seen(table2(values, change, method="dq_v2", **{axis: [own, other]}))
        assert found == {"DQ_V2": None, f"DQ_V2, {words} {other}": axis}


@pytest.mark.parametrize("overlay", ["demo", "smoke", "cifar10", "tiny_imagenet", "masks", "boxes", "own_images"])
def test_the_experiments_that_are_shipped_replace_nothing_unsaid(overlay):
    plan = make(merged(f"{overlay}.yaml"))
    for name, rows in plan.rows.items():
        assert not any("replaces" in plan.columns(name, row) for row in rows), name


def test_an_arm_with_a_title_of_its_own_keeps_it_and_is_marked(paper, change):
    arms = [{"method": "random", "selector": "bins", "title": "Ours"}]
    plan = table2(paper, change, method=None, arms=arms)
    assert seen(plan) == {"Ours": "selector"}


def test_an_experiment_that_shows_the_axis_beside_methods_is_marked_too(paper, change):
    shown = {"method": "dq", "keep_ratio": 0.1, "selector": ["bins", "random_bins"], "table.column": "selector"}
    plan = table2(paper, change, **shown)
    assert seen(plan) == {"DQ": None, "DQ, selector random_bins": "selector"}


def test_methods_that_become_the_same_trainings_are_refused(paper, change):
    with pytest.raises(ConfigError, match=r"table2: random and gc are the same trainings with this selector and back"):
        table2(paper, change, method=["random", "gc"], selector="bins", backbone="early")


def test_plan_show_prints_no_value_of_the_paper_beside_it(tmp_path, capsys):
    file = tmp_path / "x.yaml"
    file.write_text("experiments: {table2: {method: [random, dq_v2], selector: random_bins}}")
    assert main(["plan", "show", "table2", str(file)]) == 0
    out = capsys.readouterr().out
    assert "Random, selector random_bins (method random)" in out
    assert "the paper:" not in out
    file.write_text("experiments: {table2: {method: [random, dq_v2], selector: null}}")
    assert main(["plan", "show", "table2", str(file)]) == 0
    assert "the paper: 50.19" in capsys.readouterr().out
