"""Statistics on made-up values with known effects, against SciPy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dqv2.paper.compare import holm, means, paired_t, pitman_morgan, trend, variance_f, variances, within
from tests.conftest import ROOT


def arm(values, seeds=None):
    return pd.Series(np.asarray(values, float), index=range(len(values)) if seeds is None else seeds)


def apart(values):
    """The same values at seeds that no other arm has."""
    return arm(values, seeds=range(1000, 1000 + len(values)))


def test_arms_that_share_seeds_are_paired_and_welch_stands_beside():
    rng = np.random.default_rng(0)
    a, b = arm(rng.normal(3, 1, 6)), arm(rng.normal(0, 4, 5))
    got = means(a, b)
    expected = stats.ttest_rel(a[:5], b, alternative="greater")
    assert (got.n, got.n_against, got.n_paired) == (5, 5, 5), "one arm has a seed more"
    assert got.p_higher == pytest.approx(expected.pvalue)
    assert got.p_higher + got.p_lower == pytest.approx(1)
    assert got.effect == pytest.approx((a[:5] - b).mean())
    assert (got.low, got.high) == pytest.approx(tuple(stats.ttest_rel(a[:5], b).confidence_interval()))
    assert got.spread == pytest.approx((a[:5] - b).std(ddof=1))
    assert got.correlation == pytest.approx(np.corrcoef(a[:5], b)[0, 1])
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert got.beside == "Welch's t"
    assert (got.beside_low, got.beside_high) == pytest.approx(tuple(welch.confidence_interval()))
    assert got.beside_p == pytest.approx(stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue)


def test_pairs_remove_what_seeds_share():
    shared = np.array([0, 10, 20, 30, 40.0])
    a, b = arm(np.add(shared, [1.0, 1.1, 0.9, 1.0, 1.0])), arm(shared)
    got = means(a, b.iloc[::-1])
    assert got.beside_p > 0.4, "Welch does not see the pairs"
    assert got.p_higher < 1e-4
    assert got.low < 1.0 < got.high < got.low + 0.3


def test_arms_without_seeds_in_common_are_compared_by_welch():
    rng = np.random.default_rng(1)
    a, b = arm(rng.normal(3, 1, 6)), apart(rng.normal(0, 4, 5))
    got = means(a, b)
    assert (got.test, got.n, got.n_against, got.n_paired, got.beside) == ("Welch's t", 6, 5, 0, "")
    assert got.p_lower == pytest.approx(stats.ttest_ind(a, b, equal_var=False, alternative="less").pvalue)
    assert got.spread == pytest.approx(np.hypot(a.std(ddof=1), b.std(ddof=1)))


@pytest.mark.parametrize("other", [arm, apart])
def test_a_margin_turns_the_question_round(other):
    rng = np.random.default_rng(1)
    a, b = rng.normal(50, 0.2, 5), rng.normal(50, 0.2, 5)
    assert means(arm(a), other(b), margin=1).p_higher < 0.001, "equal arms: a loss of 1 is ruled out"
    assert means(arm(a - 2), other(b), margin=1).p_higher > 0.99
    assert means(arm(a - 2), other(b), margin=1).p_lower < 0.001, "it is lower than no loss at all"
    wide = rng.normal(50, 9, 5)
    assert means(arm(wide), other(b), margin=1).p_higher > 0.05, "a loss of 1 cannot be ruled out"


def test_variances_of_pairs_are_pitman_and_morgans():
    rng = np.random.default_rng(2)
    both = rng.normal(0, 3, 20)
    a, b = arm(both + rng.normal(0, 1, 20)), arm(7 + both + rng.normal(0, 5, 20))
    got = variances(a, b)
    r = np.corrcoef(a - b, a + b)[0, 1]
    t = r * np.sqrt(18 / (1 - r**2))
    assert got.p_lower == pytest.approx(stats.t.cdf(t, 18))
    assert got.p_higher + got.p_lower == pytest.approx(1)
    assert got.effect == pytest.approx(a.var(ddof=1) / b.var(ddof=1))
    assert got.low < got.effect < got.high
    assert got.beside_p == pytest.approx(stats.levene(a, b, center="median").pvalue)
    back = variances(b, a)
    assert (back.effect, back.low, back.high) == pytest.approx((1 / got.effect, 1 / got.high, 1 / got.low))
    assert back.p_higher == pytest.approx(got.p_lower)


def test_morgans_interval_ends_where_the_test_is_no_longer_significant():
    """The ratio at an end of the 95 % interval, divided out, has a one-sided p of 2.5 %."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(0, 2, 8), rng.normal(0, 1, 8)
    got = variances(arm(a), arm(b))
    assert pitman_morgan(a / np.sqrt(got.low), b, "greater") == pytest.approx(0.025)
    assert pitman_morgan(a / np.sqrt(got.high), b, "less") == pytest.approx(0.025)


def test_variances_of_independent_arms_are_compared_by_f():
    rng = np.random.default_rng(2)
    a, b = arm(rng.normal(0, 1, 20)), apart(rng.normal(7, 5, 15))
    got = variances(a, b)
    ratio = a.var(ddof=1) / b.var(ddof=1)
    assert (got.test, got.n_paired) == ("F (normal values)", 0)
    assert got.p_lower == pytest.approx(stats.f.cdf(ratio, 19, 14))
    assert (got.low, got.high) == pytest.approx(
        (ratio / stats.f.ppf(0.975, 19, 14), ratio / stats.f.ppf(0.025, 19, 14))
    )
    assert variance_f(a.to_numpy(), b.to_numpy(), "greater") == pytest.approx(1 - got.p_lower)


@pytest.mark.parametrize(("other", "test"), [(arm, pitman_morgan), (apart, variance_f)])
def test_comparable_variances_are_two_one_sided_tests(other, test):
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1.1, 60), rng.normal(0, 1, 60)
    got = variances(arm(a), other(b), margin=4)
    assert got.p_within == pytest.approx(max(test(a / 2, b, "less"), test(2 * a, b, "greater")))
    assert got.p_within < 0.01
    assert got.p_outside == 1
    back = variances(other(b), arm(a), margin=4)
    assert (back.p_within, back.p_outside) == pytest.approx((got.p_within, got.p_outside)), "no side is the first"
    assert got.p_higher == variances(arm(a), other(b)).p_higher
    for far in (20 * a, a / 20):
        out = variances(arm(far), other(b), margin=4)
        assert out.p_outside < 0.001
        assert out.p_within > 0.999
    few = variances(arm(a[:5]), other(b[:5]), margin=4)
    assert few.p_within > 0.05, "five seeds show no equivalence"
    assert "margin 4" in got.test


@pytest.mark.parametrize(("n", "ratio"), [(5, 4.0), (5, 0.25), (12, 4.0)])
def test_at_the_margin_equivalence_is_found_as_seldom_as_the_level_says(n, ratio):
    rng = np.random.default_rng(7)
    shared = rng.normal(size=(4000, n))
    x, y = ((shared + rng.normal(size=(4000, n))) * scale for scale in (ratio**0.5, 1.0))
    within = np.maximum(pitman_morgan(x / 2, y, "less"), pitman_morgan(2 * x, y, "greater"))
    outside = 2 * np.minimum(pitman_morgan(x / 2, y, "greater"), pitman_morgan(2 * x, y, "less"))
    for p in (within, outside):
        assert (p < 0.05).mean() < 0.05 + 3 * 0.0035


def test_what_docs_claims_says_of_five_seeds_and_of_added_ones_is_so():
    said, rng = (ROOT / "docs/claims.md").read_text(encoding="utf-8"), np.random.default_rng(0)
    texts = {0.0: "1.7 % for pairs without correlation", 0.5: "6 % at a correlation of 0.5", 0.9: "53 % at 0.9"}
    for correlation, text in texts.items():
        shared, first, second = rng.normal(size=(3, 4000, 5))
        arms = [correlation**0.5 * shared + (1 - correlation) ** 0.5 * own for own in (first, second)]
        assert text in said
        assert 100 * (within(pitman_morgan, *arms, 4) < 0.05).mean() == pytest.approx(float(text.split()[0]), abs=2.4)
    assert "(power 0 %)" not in said
    x, y = rng.normal(size=(2, 40_000, 5))
    found = np.minimum(paired_t(x[:, :3], y[:, :3], "greater"), paired_t(x, y, "greater"))
    assert 100 * (found < 0.05).mean() == pytest.approx(8.1, abs=0.4)
    assert "in 8.1 % of draws" in said


def test_trend_is_the_mean_slope_of_the_seeds_over_the_places_as_they_are():
    seeds = np.array([0.0, 20, -7, 3])
    noise = {4: 0, 8: np.array([0.1, 0, 0, -0.1]), 40: np.array([0, 0, 0.2, -0.2])}
    steps = {place: arm(seeds + place / 2 + noise[place]) for place in noise}
    got = trend(steps)
    assert got.effect == pytest.approx(0.5, abs=0.01), "half a point a cell, though 8 is no middle between 4 and 40"
    assert got.p_higher < 0.001
    assert got.low > 0.45
    assert (got.n, got.n_paired) == (12, 4)
    back = trend({-place: values for place, values in steps.items()})
    assert back.effect == pytest.approx(-got.effect)
    assert back.p_lower == pytest.approx(got.p_higher)
    flat = trend({1: arm([1, 5, 2]), 2: arm([2, 4, 2]), 3: arm([1, 4, 3])})
    assert min(flat.p_higher, flat.p_lower) > 0.1
    assert trend({1: steps[4], 2: steps[8].iloc[:2]}).n == 4, "two seeds at two places"


def test_a_trend_of_a_lead_is_that_of_the_difference():
    rng = np.random.default_rng(4)
    base = {place: arm(rng.normal(50, 5, 6)) for place in (0.1, 0.2, 0.4)}
    ahead = {place: values + 3 - 5 * place + rng.normal(0, 0.05, 6) for place, values in base.items()}
    got = trend(ahead, base)
    assert got.effect == pytest.approx(-5, abs=0.5)
    assert got.p_lower < 0.001
    assert trend(ahead, {0.1: base[0.1]}).lacks == "too few places on the axis"


@pytest.mark.parametrize(
    ("got", "lacks"),
    [
        (means(arm([1]), arm([2, 3])), "too few seeds"),
        (means(arm([1, 1, 1]), apart([2, 2])), "the values do not vary"),
        (means(arm([0.1, 0.2, 0.3]) + 9, arm([0.1, 0.2, 0.3])), "the differences of the seeds do not vary"),
        (means(arm([]), arm([2, 2])), "too few seeds"),
        (variances(arm([1, 4]), arm([2, 3])), "too few seeds"),
        (variances(arm([1, 4, 2]), apart([2, 3])), "too few seeds"),
        (variances(arm([1, 50, 99]), arm([3, 3, 3])), "the values of an arm do not vary"),
        (variances(arm([1, 4, 2]), arm([1, 4, 2]), margin=4), "the values of the arms are perfectly correlated"),
        (variances(arm([1, 4, 2.5]), 7 - arm([1, 4, 2.5])), "the values of the arms are perfectly correlated"),
        (trend({1: arm([1]), 2: arm([2])}), "too few seeds"),
        (trend({1: arm([1, 2])}), "too few places on the axis"),
        (trend({1: arm([0.1, 0.7]), 3: arm([0.1, 0.7]) + 1}), "the slopes of the seeds do not vary"),
    ],
)
def test_without_spread_there_is_no_p(got, lacks):
    assert got.lacks == lacks
    assert np.isnan([got.p_higher, got.p_lower, got.p_within, got.low, got.high]).all()


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.01, 0.04, np.nan]) == pytest.approx([0.03, 0.08, np.nan], nan_ok=True), "counts as 1"
    assert holm([0.001, 0.004], family=10) == pytest.approx([0.01, 0.036])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert len(holm([])) == 0


def test_missing_values_are_refused():
    with pytest.raises(ValueError, match="1 of 2 values"):
        means(arm([1, np.nan]), arm([2, 3]))


def test_an_arm_that_does_not_vary_is_compared_without_a_warning(recwarn):
    got = means(arm([3.1, 3.1, 3.1, 3.1]), arm([1.0, 2.0, 1.5, 1.2]))
    assert got.p_higher < 0.01
    assert got.beside_p < 0.01
    assert not recwarn.list
