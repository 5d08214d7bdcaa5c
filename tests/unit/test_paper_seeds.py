"""The variance of a method, split by what drew its coreset and what its training drew."""

import itertools

import numpy as np
import pandas as pd
import pytest

from dqv2.paper.arms import NothingYet
from dqv2.paper.figures import draw
from dqv2.paper.seeds import COLOURS, components, split


def made_up(coresets, trainings, sd, seed=0):
    """Accuracies with these standard deviations of coreset, training and rest."""
    draws = np.random.default_rng(seed)
    a, b = draws.normal(0, sd[0], (coresets, 1)), draws.normal(0, sd[1], (1, trainings))
    return pd.DataFrame(50 + a + b + draws.normal(0, sd[2], (coresets, trainings)))


def table(values, label="DQ", dataset="digits"):
    pairs = itertools.product(range(values.shape[0]), range(values.shape[1]))
    rows = [{"selection_seed": i, "seed": j, "test_accuracy": values.iloc[i, j]} for i, j in pairs]
    return pd.DataFrame(rows).assign(label=label, method=label.lower(), dataset=dataset, dataset_title=dataset)


@pytest.mark.parametrize("sd", [(3.0, 1.0, 0.5), (0.0, 2.0, 1.0), (1.0, 0.0, 2.0)])
def test_components_are_those_that_went_in(sd):
    """Unbiased: the mean of many estimates is right (before those below zero are cut off, so small ones are above)."""
    found = np.array([components(made_up(5, 5, sd, seed)) for seed in range(4000)]).mean(0)
    assert found[2] == pytest.approx(sd[2] ** 2, rel=0.03)
    for part in (0, 1):
        if sd[part]:
            assert found[part] == pytest.approx(sd[part] ** 2, rel=0.08)
        else:
            assert found[part] < sd[2] ** 2 / 5


def test_components_by_hand():
    assert components(pd.DataFrame([[1.0, 2.0], [3.0, 4.0]])) == pytest.approx((2.0, 0.5, 0.0))


def test_too_few_or_missing_runs_are_refused():
    with pytest.raises(ValueError, match="1 seeds of the coreset x 3 of the training"):
        components(pd.DataFrame([[1.0, 2.0, 3.0]]))
    frame = table(made_up(3, 3, (1, 1, 1))).iloc[:-1]
    with pytest.raises(ValueError, match=r"DQ: 3 seeds .* 8 runs"):
        split(frame, {})
    with pytest.raises(NothingYet):
        split(frame, {"partial": True})


def test_figure_has_a_bar_for_each_part_of_each_method():
    frame = pd.concat([table(made_up(4, 4, (3, 1, 0.5))), table(made_up(4, 4, (1, 3, 0.5), 1), "DQ_V2")])
    figure = draw(frame, {"kind": "seeds"}, "note")
    bars = [patch for patch in figure.axes[0].patches if patch.get_gid() == "part"]
    assert len(bars) == 2 * len(COLOURS)
    texts = {text.get_text() for text in figure.legends[0].get_texts()}
    assert set(COLOURS) == texts
    note = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "bars: the standard deviation that each adds, of 4 coresets × 4 trainings" in note
    by_part = split(frame, {})[0].set_index(["label", "part"])["sd"]
    assert by_part["DQ", "draw of the coreset"] > by_part["DQ", "training"]
    assert by_part["DQ_V2", "draw of the coreset"] < by_part["DQ_V2", "training"]


def test_two_arms_in_one_are_refused():
    frame = pd.concat([table(made_up(2, 2, (1, 1, 1)))] * 2)
    with pytest.raises(ValueError, match="several runs of the same two seeds"):
        split(frame, {})
