"""Power, seeds and replication: against simulation, printed tables and by hand."""

import numpy as np
import pandas as pd
import pytest

from dqv2.paper.claims import judge
from dqv2.paper.compare import paired_t, pitman_morgan, variance_f, welch_t
from dqv2.paper.power import power_of_means, power_of_variances, seeds_for
from dqv2.paper.replication import value_of
from dqv2.paper.reported import read_claims, reported_experiments, reported_values
from dqv2.paper.stats import binomial_error, predicted
from tests.unit.claimed import tables_for
from tests.unit.made_up import method

CLAIMS = read_claims()
REPORTED = {name: reported_values(name) for name in reported_experiments()}
DRAWS = 20_000  # a share near 0.5 is off by less than 0.011 at three standard errors


def pairs(n, scale, correlation):
    rng = np.random.default_rng(n)
    shared, own = rng.normal(size=(2, DRAWS, n))
    return scale * shared, correlation * shared + np.sqrt(1 - correlation**2) * own


def test_power_is_what_simulated_samples_show():
    x, y = pairs(5, 1, 0.0)
    spread = np.sqrt(2)
    assert power_of_means(2, spread, 5, 0.05, paired=True) == pytest.approx(
        (paired_t(x + 2, y, "greater") < 0.05).mean(), abs=0.011
    )
    assert power_of_means(2, spread, 5, 0.05, paired=False) == pytest.approx(
        (welch_t(x + 2, y, "greater") < 0.05).mean(), abs=0.02
    )
    for ratio, correlation, n in ((3.27, 0.0, 5), (3.27, 0.7, 12), (0.5, 0.3, 8)):
        x, y = pairs(n, np.sqrt(ratio), correlation)
        found = (pitman_morgan(x, y, "greater") < 0.05).mean()
        assert power_of_variances(ratio, n, 0.05, correlation=correlation) == pytest.approx(found, abs=0.011)
    x, y = pairs(5, np.sqrt(3.27), 0.0)
    found = (variance_f(x, y, "greater") < 0.05).mean()
    assert power_of_variances(3.27, 5, 0.05, correlation=None) == pytest.approx(found, abs=0.011)


def test_without_an_effect_power_is_the_level():
    assert power_of_means(0, 1, 5, 0.05, paired=True) == pytest.approx(0.05)
    for correlation in (None, 0.0, 0.9):
        assert power_of_variances(1, 6, 0.01, correlation=correlation) == pytest.approx(0.01, rel=1e-3)


def test_seeds_are_the_fewest_that_reach_the_power():
    def power(n):
        return power_of_means(1, 1, n, 0.05, paired=True)

    assert seeds_for(power, least=2) == 8  # Cohen 1988: d = 1, one-sided, one sample
    assert power(8) >= 0.8 > power(7)
    assert seeds_for(lambda n: 0.9, least=3) == 3
    assert seeds_for(lambda n: 0.05) == float("inf")
    many = seeds_for(lambda n: power_of_variances(1.2, n, 0.05, correlation=0.5))
    assert 100 < many < 1000
    assert power_of_variances(1.2, int(many), 0.05, correlation=0.5) == pytest.approx(0.8, abs=0.01)


def test_a_prediction_interval_holds_the_next_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=(DRAWS, 4)), rng.normal(size=(DRAWS, 5)).mean(1)
    low, high = predicted(4, old.mean(1), old.std(1, ddof=1))
    assert ((low <= new) & (new <= high)).mean() == pytest.approx(0.95, abs=0.006)
    assert predicted(5, 1.0, 2.0)[1] == pytest.approx(1 + 2.7764451 * 2 * np.sqrt(2 / 5))
    assert predicted(5, 1.0, 2.0, paired=False)[1] == pytest.approx(1 + 2.3060041 * 2 * np.sqrt(2 / 5))
    assert np.isnan(predicted(1, 1.0, float("nan"))).all()


def test_the_test_sets_error_is_the_binomials():
    assert binomial_error(80.0, 10_000) == pytest.approx(0.4)
    assert binomial_error(100.0, 50) == 0
    assert np.isnan(binomial_error(50.0, float("nan")))


def test_a_reported_value_is_of_the_arm_that_it_names():
    assert (
        value_of(REPORTED["table2"], {"dataset": "tiny_imagenet", "keep_ratio": 0.3, "method": "gc"}, "mean") == 53.75
    )
    assert np.isnan(value_of(REPORTED["table2"], {"dataset": "tiny_imagenet", "method": "gc"}, "mean")), "four of them"
    assert value_of(REPORTED["tableC"], {"dataset": "imagenet30", "mix": "both"}, "mean") == 73.87
    assert np.isnan(value_of(REPORTED["fig4a"], {"dataset": "cub200", "method": "dq"}, "mean"))


def only(rows, claim, part, dataset):
    (row,) = rows.query("claim == @claim and part == @part and dataset == @dataset").to_dict("records")
    return row


def test_the_papers_effects_have_power_before_anything_ran():
    rows = judge(CLAIMS, {}, "x", REPORTED)
    cub = only(rows, 2, 3, "cub200")
    assert cub["reported_effect"] == pytest.approx(0.233 / 0.763)
    assert np.isnan(cub["power"]), "no seed was run"
    assert power_of_variances(0.763 / 0.233, int(cub["seeds_80"]), 0.05, correlation=None) >= 0.8
    assert cub["seeds_80_first"] > cub["seeds_80"] > 5
    vit = only(rows, 2, 4, "imagenette")
    assert (vit["reported_effect"], vit["spread_from"]) == (pytest.approx(2.37), "the paper")
    assert vit["power_spread"] == pytest.approx(np.hypot(2.73, 1.20))
    assert np.isnan(only(rows, 2, 5, "imagenette")["reported_effect"]), "± says of no variance"
    assert np.isnan(only(rows, 1, 1, "imagenette")["seeds_80"]), "nobody knows the spread"
    assert only(rows, 1, 1, "imagenette")["reported_effect"] == pytest.approx(69.69 - 72.14)


def test_ours_gives_the_spread_and_says_whether_the_papers_effect_replicates():
    def row(gain, sd):
        table = [method("imagenette", "dq", 70, sd), method("imagenette", "dq_v2", 70 + gain, sd)]
        return only(judge(CLAIMS, {"fig4b": pd.concat(table)}, "x", REPORTED), 2, 1, "imagenette")

    got = row(1.7, 0.2)
    assert got["replicated"] == "yes"
    assert got["predicted_low"] < 1.66 < got["predicted_high"]
    assert got["spread_from"] == "ours"
    assert got["power"] == pytest.approx(power_of_means(1.66, got["spread"], 5, 0.05, paired=True))
    assert got["power"] > got["power_first"] > 0.5
    assert row(6.0, 0.2)["replicated"] == "no"
    assert row(1.7, 5.0)["power"] < 0.3


def test_an_effect_against_the_claim_is_never_found():
    """As in table C, CutMix alone adds 0.35 points; a claim that it takes away finds no number of seeds."""
    claim = CLAIMS[7] | {"tests": [CLAIMS[7]["tests"][0] | {"direction": "lower"}]}
    rows = judge([claim], tables_for(CLAIMS[7:8], 1), "x", REPORTED)
    assert np.isinf(rows["seeds_80"]).all()
    assert (rows["power"] < 0.05).all()
