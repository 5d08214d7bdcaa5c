"""Comparing two arms: effect, interval and p, as used for every claim.

Arms that share seeds are paired by seed: means by Student's t on the differences (Student 1908), variances by the test
of Pitman (1939) and Morgan (1939). Others are independent samples: Welch's t (1947), the F test of two variances
(Fisher 1924). All assume normal values within an arm. p-values are one-sided, one for each direction, as a claim states
a direction; Holm's method (1979) corrects for their number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import scipy  # its parts are imported when they are used

LEVEL = 0.95  # of every interval
ALPHA = 0.05  # of every test; its level after Holm's correction lies between this over the number of claims and this
MISSING = float("nan")
Side = Literal["greater", "less"]


@dataclass(frozen=True)
class Comparison:
    """The comparison of two arms, in the unit of the values unless stated otherwise."""

    n: int  # values of each arm that the test uses
    n_against: int
    value: float = MISSING  # the statistic of each arm (mean, variance), or missing for a trend
    value_against: float = MISSING
    effect: float = MISSING  # difference of the means; ratio of the variances; of a trend the rise a unit of its axis
    low: float = MISSING  # two-sided 95 % interval of the effect
    high: float = MISSING
    p_higher: float = MISSING  # one-sided, for an effect above none; with a margin, above minus the margin
    p_lower: float = MISSING  # and below none
    p_within: float = MISSING  # of variances with a margin, for a ratio between 1 / margin and margin
    p_outside: float = MISSING  # and for one outside
    test: str = ""  # which it is, of p and interval
    n_paired: int = 0  # seeds that both arms have and the test pairs; 0 where it does not
    spread: float = MISSING  # of means: standard deviation of the pairs' differences, or sqrt(s² + s²) without pairs
    correlation: float = MISSING  # of the pairs (Pearson's); missing where there are none
    beside: str = ""  # a secondary test of the same, which does not affect the verdict
    beside_low: float = MISSING
    beside_high: float = MISSING
    beside_p: float = MISSING  # of means as `p_higher`; of variances both are one two-sided p
    beside_p_lower: float = MISSING  # of means as `p_lower`
    lacks: str = ""  # the reason for having no p, in words; empty if there is one

    @property
    def p(self) -> float:
        """Two-sided."""
        return 2 * min(self.p_higher, self.p_lower)

    def untested(self, why: str) -> Comparison:
        """The effect alone, and why there is no test."""
        return Comparison(self.n, self.n_against, effect=self.effect, lacks=why)


# The tests themselves: on arrays whose last axis is the seeds, so that a benchmark draws thousands of samples at once.


def paired_t(x: np.ndarray, y: np.ndarray, side: Side, shift: float = 0.0) -> np.ndarray:
    """p of Student's t on the differences of pairs, float64[...] of two float64[..., N], N at least 2.

    ``side``: the alternative, of the mean of x − y + shift.
    """
    return scipy.stats.ttest_1samp(x - y + shift, 0.0, axis=-1, alternative=side).pvalue


def welch_t(x: np.ndarray, y: np.ndarray, side: Side, shift: float = 0.0) -> np.ndarray:
    """p of Welch's t, float64[...] of float64[..., N] and float64[..., M], both at least 2; ``side`` as above."""
    return scipy.stats.ttest_ind(x + shift, y, axis=-1, equal_var=False, alternative=side).pvalue


def pitman_morgan(x: np.ndarray, y: np.ndarray, side: Side) -> np.ndarray:
    """p of Pitman and Morgan's test, float64[...] of two float64[..., N] of pairs, N at least 3.

    The variance of x is greater than y's just where x − y and x + y are correlated above 0; their correlation is tested
    by t, which is exact for pairs from a bivariate normal distribution.
    """
    return scipy.stats.pearsonr(x - y, x + y, axis=-1, alternative=side).pvalue


def variance_f(x: np.ndarray, y: np.ndarray, side: Side) -> np.ndarray:
    """p of the F test of two independent normal samples, float64[...] of float64[..., N] and float64[..., M], both at
    least 2."""
    ratio = x.var(axis=-1, ddof=1) / y.var(axis=-1, ddof=1)
    tail = scipy.special.fdtrc if side == "greater" else scipy.special.fdtr
    return tail(x.shape[-1] - 1, y.shape[-1] - 1, ratio)


def within(test: Callable[..., np.ndarray], x: np.ndarray, y: np.ndarray, margin: float) -> np.ndarray:
    """p of two one-sided tests (Schuirmann 1987) that the ratio of the variances is below ``margin`` and above 1 / it.

    ``test``: `pitman_morgan` or `variance_f`, of one arm's values scaled so that the ratio at the margin is 1.
    """
    root = margin**0.5
    return np.maximum(test(x / root, y, "less"), test(x * root, y, "greater"))


def slopes(values: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Least-squares slope of each seed's values, float64[...] of float64[..., K], over the K places ``axis``."""
    apart = axis - axis.mean()
    return values @ apart / (apart**2).sum()


# Arms of a table.


def means(of: pd.Series, against: pd.Series, *, margin: float = 0.0) -> Comparison:
    """Compare the means of two arms: paired by seed where at least two seeds are shared, else by Welch's t.

    of, against: the values of each arm, indexed by seed. margin: in the unit of the values; above 0, `p_higher` is that
    of a non-inferiority test: ``of`` is not lower by the margin or more.

    Pairs leave out seeds that one arm lacks; Welch's t, as the secondary test, uses all. Without any variation there is
    no test. Raises ValueError for values that are missing or not finite.
    """
    a, b = _values(of), _values(against)
    both = of.index.intersection(against.index)
    welch = _welch(a, b, margin)
    if len(both) < 2:
        return welch
    x, y = _values(of.loc[both]), _values(against.loc[both])
    differences = x - y
    found = Comparison(
        len(x), len(y), float(x.mean()), float(y.mean()), float(differences.mean()),
        test="Student's t, paired by seed" + _said(margin), n_paired=len(x), beside=welch.test,
        beside_low=welch.low, beside_high=welch.high, beside_p=welch.p_higher, beside_p_lower=welch.p_lower,
    )  # fmt: skip
    if not _vary(differences, x, y):
        return replace(found, lacks="the differences of the seeds do not vary")
    return replace(found, **_student(x, y, margin), correlation=_correlation(x, y))


def _welch(a: np.ndarray, b: np.ndarray, margin: float) -> Comparison:
    found = Comparison(len(a), len(b), _mean(a), _mean(b), _mean(a) - _mean(b), test="Welch's t" + _said(margin))
    if min(len(a), len(b)) < 2:
        return replace(found, lacks="too few seeds")
    if not (_vary(a) or _vary(b)):
        return replace(found, lacks="the values do not vary")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss")  # of an arm that does not vary, whose variance is 0
        low, high = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(LEVEL)
        p_higher, p_lower = float(welch_t(a, b, "greater", margin)), float(welch_t(a, b, "less"))
    spread = float(np.sqrt(a.var(ddof=1) + b.var(ddof=1)))
    return replace(found, low=float(low), high=float(high), p_higher=p_higher, p_lower=p_lower, spread=spread)


def variances(of: pd.Series, against: pd.Series, *, margin: float = 0.0) -> Comparison:
    """Compare the variances of two arms: by Pitman and Morgan's test where at least three seeds are shared, else by F.

    Args:
        of, against: the values of each arm, by seed (the index), three or more each.
        margin: above 1, equivalence is tested too: `p_within` is of the two one-sided tests (Schuirmann 1987) that the
            ratio is below the margin and above 1 / margin, the larger of their p; `p_outside` that it is beyond one of
            them, twice the smaller p. Each is the same test, of one arm's values scaled by the margin's root, and so
            exact for normal values and no more robust.

    The interval corresponds to the test (Morgan 1939 for pairs). Both assume normal values and are not robust against
    deviations; the secondary test is Brown and Forsythe's (1974; Levene's with medians, two-sided, for independent
    arms), which is robust. An arm that does not vary at all is not a normal sample: there is no test,
    nor of pairs that are perfectly correlated, as of identical arms.
    """
    both = of.index.intersection(against.index)
    paired = len(both) >= 3
    x, y = (_values(arm.loc[both]) if paired else _values(arm) for arm in (of, against))
    name = "Pitman-Morgan, paired by seed (normal values)" if paired else "F (normal values)"
    found = Comparison(len(x), len(y), test=name, n_paired=len(both) if paired else 0)
    if min(len(x), len(y)) < 3:
        return replace(found, lacks="too few seeds")
    var_x, var_y = float(x.var(ddof=1)), float(y.var(ddof=1))
    found = replace(found, value=var_x, value_against=var_y)
    if not (_vary(x) and _vary(y)):
        return replace(found, lacks="the values of an arm do not vary")
    ratio, tail = var_x / var_y, (1 - LEVEL) / 2
    if paired:
        r, free = _correlation(x, y), len(x) - 2
        if abs(r) > 1 - 1e-12:  # as of identical arms: their ratio is known, and not a sample's
            return replace(found, lacks="the values of the arms are perfectly correlated")
        k = 1 + 2 * (1 - r**2) * scipy.special.stdtrit(free, 1 - tail) ** 2 / free
        wide = k + np.sqrt(k**2 - 1)
        low, high, test = ratio / wide, ratio * wide, pitman_morgan
        found = replace(found, correlation=r)
    else:
        free = (len(x) - 1, len(y) - 1)
        low, high = (ratio / scipy.special.fdtri(*free, share) for share in (1 - tail, tail))
        test = variance_f
    if margin:
        root = margin**0.5
        outside = 2 * min(float(test(x / root, y, "greater")), float(test(x * root, y, "less")))
        inside = float(within(test, x, y, margin))
        found = replace(found, test=name + _said(margin), p_within=inside, p_outside=min(outside, 1.0))
    found = replace(found, effect=ratio, low=float(low), high=float(high))
    found = replace(found, p_higher=float(test(x, y, "greater")), p_lower=float(test(x, y, "less")))
    p = float(scipy.stats.levene(x, y, center="median").pvalue)
    return replace(found, beside="Brown-Forsythe, two-sided", beside_p=p, beside_p_lower=p)


def counts(of: pd.Series, against: pd.Series) -> Comparison:
    """Compare counted rather than measured numbers, such as operations: seeds do not change them, so there is no test.

    of, against: the numbers of each arm, indexed by seed; two or more each, as elsewhere. The effect is the difference
    of the means; p is 0 for a direction that holds for all numbers of one arm against all of the other's, else 1.
    """
    a, b = _values(of), _values(against)
    found = Comparison(len(a), len(b), _mean(a), _mean(b), _mean(a) - _mean(b), test="counted, no test")
    if min(len(a), len(b)) < 2:
        return replace(found, lacks="too few seeds")
    return replace(found, p_higher=float(a.min() <= b.max()), p_lower=float(a.max() >= b.min()))


def trend(of: Mapping[float, pd.Series], against: Mapping[float, pd.Series] | None = None) -> Comparison:
    """Whether the values, or their lead over another arm, rise along an axis: the mean of the seeds' own slopes.

    Args:
        of: place on the axis -> the values there, by seed. Slopes are over the places as they are, in the values' unit
            a unit of the axis.
        against: the same of another arm, whose values are subtracted seed by seed.

    A seed that a place lacks is left out; two seeds and two places are the least. Student's t on the slopes.
    """
    places = [place for place in sorted(of) if against is None or place in against]
    led = [of[place] - against[place] if against is not None else of[place] for place in places]
    table = pd.concat([values.astype("float64") for values in led], axis=1).dropna() if len(led) > 1 else pd.DataFrame()
    found = Comparison(table.size, table.size if against is not None else 0, test="Student's t on the seeds' slopes")
    if len(table) < 2:
        return replace(found, lacks="too few seeds" if len(places) > 1 else "too few places on the axis")
    rises = slopes(table.to_numpy("float64"), np.asarray(places, "float64"))
    found = replace(found, effect=float(rises.mean()), n_paired=len(rises))
    if not _vary(rises, table.to_numpy("float64") / np.ptp(places)):
        return replace(found, lacks="the slopes of the seeds do not vary")
    return replace(found, **_student(rises, np.zeros_like(rises)))


def holm(p: Sequence[float], family: int = 0) -> np.ndarray:
    """Correct p-values for the number of hypotheses, as Holm (1979) does: float64[N].

    p: missing values stay missing and count as 1, as do the hypotheses of the family that are not given. family: the
    total number of hypotheses, at least len(p).
    """
    p = np.asarray(p, dtype="float64")
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * (max(family, len(p)) - np.arange(len(order)))
    out = np.full_like(p, np.nan)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def _student(x: np.ndarray, y: np.ndarray, margin: float = 0.0) -> dict[str, float]:
    """What Student's t says of the differences of pairs."""
    low, high = scipy.stats.ttest_1samp(x - y, 0.0).confidence_interval(LEVEL)
    p = {"p_higher": float(paired_t(x, y, "greater", margin)), "p_lower": float(paired_t(x, y, "less"))}
    return {"low": float(low), "high": float(high), "spread": float((x - y).std(ddof=1))} | p


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if _vary(x) and _vary(y) else MISSING


def _said(margin: float) -> str:
    return f", margin {margin:g}" if margin else ""


def _vary(values: np.ndarray, *scale: np.ndarray) -> bool:
    """Whether values differ by more than the rounding of what they were computed from."""
    size = max(float(np.abs(each).max()) for each in (values, *scale))
    return bool(np.ptp(values) > 1e-9 * size)


def _values(arm: pd.Series) -> np.ndarray:
    values = arm.to_numpy(dtype="float64")
    if not np.isfinite(values).all():
        raise ValueError(f"{(~np.isfinite(values)).sum()} of {len(values)} values to compare are missing or not finite")
    return values


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else MISSING
