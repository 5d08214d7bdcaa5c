"""The power of a comparison to find an existing effect, and the number of seeds that it takes.

For normal values, as the tests take them: the noncentral t distribution for means, the F distribution for variances of
independent arms, and for Pitman and Morgan's test the distribution of a correlation in a bivariate normal sample.
All tests are one-sided.
"""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
import scipy

TARGET = 0.8  # the power that `seeds_for` aims at
MOST = 100_000  # seeds; an effect that takes more counts as out of reach
NODES = 200  # of the quadrature over a chi-squared variable


def power_of_means(effect: float, spread: float, n: int, level: float, *, paired: bool) -> float:
    """Power of the t test of two means, from 0 to 1.

    Args:
        effect: the true difference in the claimed direction (with a margin: plus the margin), in the values' unit.
        spread: standard deviation of the differences of pairs, or sqrt(s² + s²) of independent arms.
        n: seeds of each arm, 2 or more.
        level: of the one-sided test, between 0 and 1.
        paired: Student's t on n differences, else the t of two independent arms of like variances, with 2n − 2 degrees
            of freedom: Welch's has no more, so this is its power at best.
    """
    free = n - 1 if paired else 2 * n - 2
    return float(1 - scipy.special.nctdtr(free, effect / spread * np.sqrt(n), scipy.special.stdtrit(free, 1 - level)))


def power_of_variances(ratio: float, n: int, level: float, *, correlation: float | None) -> float:
    """Power of the test of two variances, from 0 to 1.

    Args:
        ratio: the true ratio of the variances, claimed to be the larger over the other; above 0.
        n: seeds of each arm, 3 or more.
        level: of the one-sided test, between 0 and 1.
        correlation: of pairs, for Pitman and Morgan's test; None for the F test of independent arms.
    """
    if correlation is None:
        return float(scipy.special.fdtrc(n - 1, n - 1, scipy.special.fdtri(n - 1, n - 1, 1 - level) / ratio))
    # Of x - y and x + y, with variances `ratio` and 1
    rho = (ratio - 1) / np.sqrt((ratio + 1) ** 2 - 4 * correlation**2 * ratio)
    # Given one of a pair, the t of the correlation is noncentral; its noncentrality goes with the root of a chi-squared
    # variable of n - 1 degrees of freedom (Fisher 1928). The mean over that is taken by Gauss and Legendre's rule over
    # the variable's quantiles
    at, weights = scipy.special.roots_legendre(NODES)
    away = rho / np.sqrt(1 - rho**2) * np.sqrt(2 * scipy.special.gammaincinv((n - 1) / 2, (at + 1) / 2))
    found = 1 - scipy.special.nctdtr(n - 2, away, scipy.special.stdtrit(n - 2, 1 - level))
    return float(found @ weights / weights.sum())


def seeds_for(power: Callable[[int], float], *, least: int = 3) -> float:
    """The smallest number of seeds, at least `least`, with power `TARGET`; infinite where about `MOST` do not reach it.

    ``power``: from a number of seeds to the power; must be non-decreasing.
    """
    high = least
    while power(high) < TARGET:
        high *= 2
        if high > MOST:
            return float("inf")
    low = max(least, high // 2)
    return float(low + bisect_left(range(low, high), TARGET, key=power))
