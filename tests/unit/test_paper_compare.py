"""Statistics on made-up values with known effects, against SciPy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dqv2.paper.compare import holm, means, trend, variances


def arm(values, seeds=None):
    return pd.Series(np.asarray(values, float), index=range(len(values)) if seeds is None else seeds)


def test_means_are_welchs_with_its_interval():
    rng = np.random.default_rng(0)
    a, b = arm(rng.normal(3, 1, 6)), arm(rng.normal(0, 4, 5))
    got = means(a, b)
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert got.p == pytest.approx(expected.pvalue)
    assert got.effect == pytest.approx(a.mean() - b.mean())
    assert (got.low, got.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert got.low < got.effect < got.high
    assert (got.n, got.n_against, got.n_paired) == (6, 5, 5)


def test_pairs_are_made_by_seed_and_remove_what_seeds_share():
    shared = np.array([0, 10, 20, 30, 40.0])
    a, b = arm(np.add(shared, [1.0, 1.1, 0.9, 1.0, 1.0])), arm(shared)
    got = means(a, b.iloc[::-1])
    assert got.p > 0.9, "Welch does not see the pairs"
    assert got.paired_p < 1e-4
    assert got.paired_low < 1.0 < got.paired_high
    assert got.paired_high - got.paired_low < 0.3
    assert means(a, arm(shared, seeds=range(100, 105))).n_paired == 0


def test_a_margin_turns_the_question_round():
    rng = np.random.default_rng(1)
    a, b = arm(rng.normal(50, 0.2, 5)), arm(rng.normal(50, 0.2, 5))
    assert means(a, b, margin=1).p < 0.001, "equal arms: a loss of 1 is ruled out"
    assert means(a - 2, b, margin=1).p > 0.99
    wide = arm([40, 45, 50, 55, 60])
    assert means(wide, wide + 0.5, margin=1).p > 0.05, "a loss of 1 cannot be ruled out"


def test_variances_are_brown_forsythes_and_their_ratio():
    rng = np.random.default_rng(2)
    a, b = arm(rng.normal(0, 1, 20)), arm(rng.normal(7, 5, 20))
    got = variances([a], [b])
    assert got.p == pytest.approx(stats.levene(a, b, center="median").pvalue)
    assert got.effect == pytest.approx(a.var(ddof=1) / b.var(ddof=1))
    assert got.low < got.effect < got.high < 1
    back = variances([b], [a])
    assert (back.effect, back.low, back.high) == pytest.approx((1 / got.effect, 1 / got.high, 1 / got.low))


def test_an_arm_varies_more_than_one_that_does_not():
    got = variances([arm([1, 50, 99, 20, 70])], [arm([3, 3, 3, 3, 3])])
    assert got.effect == np.inf
    assert got.p < 0.05
    assert np.isnan(got.low)
    assert variances([arm([3, 3, 3, 3, 3])], [arm([1, 50, 99, 20, 70])]).effect == 0


def test_pooled_arms_spread_about_their_own_centres():
    rng = np.random.default_rng(3)
    a, b = arm(rng.normal(0, 1, 10)), arm(rng.normal(0, 1, 10))
    near, far = variances([a, b], [arm([1, 2, 4])]), variances([a, b + 100], [arm([1, 2, 4])])
    assert near.effect == pytest.approx(far.effect)
    assert near.p == pytest.approx(far.p)
    assert near.value == pytest.approx((a.var(ddof=1) + b.var(ddof=1)) / 2)


def test_trend_is_the_mean_slope_of_the_seeds():
    seeds = np.array([0.0, 20, -7, 3])
    steps = [arm(seeds + slope) for slope in (0, np.array([1.9, 2, 2, 2.1]), np.array([4, 4, 4.2, 3.8]))]
    got = trend(steps)
    assert got.effect == pytest.approx(2.0, abs=0.05)
    assert got.p < 0.001
    assert got.low > 1.8
    assert trend(steps[::-1]).effect == pytest.approx(-got.effect)
    flat = trend([arm([1, 5, 2]), arm([2, 4, 2]), arm([1, 4, 3])])
    assert flat.p > 0.2
    short = trend([steps[0], steps[1].iloc[:2]])
    assert short.n == 4, "two seeds at two steps"


@pytest.mark.parametrize(
    "got",
    [
        means(arm([1]), arm([2, 3])),
        means(arm([1, 1, 1]), arm([2, 2])),
        means(arm([]), arm([2, 2])),
        variances([arm([1])], [arm([2, 3])]),
        variances([arm([1, 4])], [arm([2, 3])]),
        variances([arm([1, 1, 1])], [arm([2, 2, 2])]),
        trend([arm([1]), arm([2])]),
        trend([arm([1, 2])]),
    ],
)
def test_without_spread_there_is_no_p(got):
    assert np.isnan(got.p)
    assert np.isnan(got.low)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, np.nan]) == pytest.approx([0.03, 0.06, 0.06, np.nan], nan_ok=True)
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert len(holm([])) == 0


def test_missing_values_are_refused():
    with pytest.raises(ValueError, match="1 of 2 values"):
        means(arm([1, np.nan]), arm([2, 3]))
