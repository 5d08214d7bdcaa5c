"""Two arms compared: effect, interval and p, as every claim is tested.

Means by Welch's t (Welch 1947), spread by Brown and Forsythe's test (1974: Levene's with medians), corrections by Holm
(1979). Values of one seed pair off where both arms have it: the paired interval stands beside Welch's and decides
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

LEVEL = 0.95  # of every interval
MISSING = float("nan")


@dataclass(frozen=True)
class Comparison:
    """An arm against another, in the unit of the values unless said.

    Attributes:
        n, n_against: values of each arm.
        value, value_against: the statistic of each arm (mean, variance), or missing for a trend.
        effect: difference of the means; ratio of the variances; for a trend, the rise a step of its axis.
        low, high: 95 % interval of the effect, by ``interval``.
        p: of no effect, two-sided; with a margin, one-sided, of a loss as large as the margin.
        n_paired, paired_low, paired_high, paired_p: the same means by seed (Student's t on the differences).
        test, interval: which they are.
    """

    n: int
    n_against: int
    value: float = MISSING
    value_against: float = MISSING
    effect: float = MISSING
    low: float = MISSING
    high: float = MISSING
    p: float = MISSING
    test: str = ""
    interval: str = ""
    n_paired: int = 0
    paired_low: float = MISSING
    paired_high: float = MISSING
    paired_p: float = MISSING


def means(of: pd.Series, against: pd.Series, *, margin: float = 0.0) -> Comparison:
    """Compare the means of two arms by Welch's t.

    Args:
        of, against: the values of each arm, by seed (the index); two or more each for a p.
        margin: 0 tests for a difference, two-sided. Above 0 it tests one-sided that ``of`` is not lower by ``margin``
            (in the unit of the values) or more.

    Where neither arm varies there is no test: p and interval are missing.
    """
    from scipy import stats

    a, b = _values(of), _values(against)
    test = f"Welch's t, one-sided, margin {margin:g}" if margin else "Welch's t"
    effect = _mean(a) - _mean(b)
    low = high = p = MISSING
    if min(len(a), len(b)) > 1 and (np.ptp(a) > 0 or np.ptp(b) > 0):
        found = stats.ttest_ind(a, b, equal_var=False)
        low, high = found.confidence_interval(LEVEL)
        p = found.pvalue
        if margin:
            p = stats.ttest_ind(a + margin, b, equal_var=False, alternative="greater").pvalue
    both = of.index.intersection(against.index)
    paired = _paired((of.loc[both] - against.loc[both]).to_numpy("float64"))
    numbers = map(float, (_mean(a), _mean(b), effect, low, high, p))
    return Comparison(len(a), len(b), *numbers, test, "Welch's t", *paired)


def variances(of: Sequence[pd.Series], against: Sequence[pd.Series]) -> Comparison:
    """Compare the variances of two arms by Brown and Forsythe's test, their ratio by the F distribution.

    Each side is one arm or several that are pooled: every arm spreads about its own centre (its mean for the variance,
    its median for the test), so that what sets the arms apart is no spread. Three values an arm are the least: of two,
    both are as far from their median, and the test would take that for certainty. Smaller arms are left out.
    """
    from scipy import stats

    sides = [[values for arm in side if len(values := _values(arm)) > 2] for side in (of, against)]
    names = {"test": "Brown-Forsythe", "interval": "F (normal values)"}
    counts = [sum(map(len, side)) for side in sides]
    if not all(sides):
        return Comparison(*counts, **names)
    free = [sum(len(values) - 1 for values in side) for side in sides]
    squares = [sum(((values - values.mean()) ** 2).sum() for values in side) for side in sides]
    pooled = [total / n for total, n in zip(squares, free, strict=True)]
    p = ratio = low = high = MISSING
    if max(pooled) > 0:
        p = stats.levene(*(np.concatenate([v - np.median(v) for v in side]) for side in sides)).pvalue
    if pooled[1] > 0:
        ratio = pooled[0] / pooled[1]
        tail = (1 - LEVEL) / 2
        low, high = (ratio / stats.f.ppf(share, *free) for share in (1 - tail, tail))
    elif pooled[0] > 0:
        ratio = np.inf  # against arms that do not vary at all
    return Comparison(*counts, *map(float, (*pooled, ratio, low, high, p)), **names)


def trend(steps: Sequence[pd.Series]) -> Comparison:
    """Whether the values rise along an ordered axis: the mean over seeds of each seed's own slope.

    Args:
        steps: the values at each step of the axis, in its order, by seed. Steps count alike, however far apart.

    A seed that a step lacks is left out; two seeds and two steps are the least. Student's t on the slopes.
    """
    table = pd.concat([step.astype("float64") for step in steps], axis=1).dropna() if len(steps) > 1 else pd.DataFrame()
    at = np.arange(len(steps)) - (len(steps) - 1) / 2
    slopes = table.to_numpy() @ at / (at**2).sum() if len(table) else np.array([])
    _, low, high, p = _paired(slopes)
    name = "t on the seeds' slopes"
    return Comparison(table.size, 0, effect=_mean(slopes), low=low, high=high, p=p, test=name, interval=name)


def holm(p: Sequence[float]) -> np.ndarray:
    """Correct p-values for their number, as Holm does: float64[N]; a missing one stays so and counts for nothing."""
    p = np.asarray(p, dtype="float64")
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    out = np.full_like(p, np.nan)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def _paired(differences: np.ndarray) -> tuple[int, float, float, float]:
    """n, 95 % interval and two-sided p of a mean of 0, by Student's t."""
    from scipy import stats

    n = len(differences)
    if n < 2 or np.ptp(differences) == 0:
        return n, MISSING, MISSING, MISSING
    found = stats.ttest_1samp(differences, 0.0)
    low, high = found.confidence_interval(LEVEL)
    return n, float(low), float(high), float(found.pvalue)


def _values(arm: pd.Series) -> np.ndarray:
    values = arm.to_numpy(dtype="float64")
    if not np.isfinite(values).all():
        raise ValueError(f"{(~np.isfinite(values)).sum()} of {len(values)} values to compare are missing or not finite")
    return values


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else MISSING
