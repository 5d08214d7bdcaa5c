"""The size and the power of the tests behind the claims, by simulation. By hand:

    python benchmarks/claims_size.py [--draws 10000] [--seeds 5]

Size: how often a test finds what is not there, of so many samples of normal values at the edge of its hypothesis (equal
means or variances; of "not lower", a loss of the margin; of "comparable", variances at the margin), at level 0.05 and
at 0.005, the first of Holm's ten steps. It should be at most the level, within what so many draws tell: the standard
error is printed. Below, the same tests for values of a t distribution with 5 degrees of freedom, which is not what they
assume. Power: at the paper's ratios and differences, simulated and reckoned; of
"comparable", of equal variances.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from common import table
from scipy import optimize, stats

from dqv2.paper.claims import FAMILY
from dqv2.paper.compare import paired_t, pitman_morgan, slopes, variance_f, welch_t, within
from dqv2.paper.power import TARGET, power_of_means, power_of_variances, seeds_for
from dqv2.paper.replication import ALPHA

LEVELS = (ALPHA, ALPHA / FAMILY)
SIZES = np.array([4.0, 8, 16, 32, 40])  # of Tobias cells
RATIOS = {"CUB-200-2011, 0.763 / 0.233": 0.763 / 0.233, "Food-101, 0.197 / 0.0745": 0.197 / 0.0745}
LEADS = {"ImageNette, 73.80 - 72.14": 1.66, "table 2 at 10 %, 53.12 - 52.77": 0.35, "ViT, 57.67 - 55.30": 2.37}
MARGIN = 4.0  # of "comparable" variances
Draw = Callable[..., np.ndarray]


def pairs(
    draw: Draw, draws: int, n: int, *, correlation: float = 0.0, ratio: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Two arms float64[draws, n], whose values at a seed are correlated; ``ratio``: of the first's variance to the
    second's, which is 1."""
    shared, first, second = draw(size=(3, draws, n))
    mix, rest = np.sqrt(correlation), np.sqrt(1 - correlation)
    return np.sqrt(ratio) * (mix * shared + rest * first), mix * shared + rest * second


def brown_forsythe(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two-sided p, float64[draws]."""
    return stats.levene(x, y, center="median", axis=-1).pvalue


def size_rows(draw: Draw, draws: int, n: int) -> list[list[str]]:
    """A row a test: its share of false findings at each level."""
    rows = []

    def add(name: str, p: np.ndarray) -> None:
        rows.append([name, *(share(p, level) for level in LEVELS)])

    for correlation in (0.0, 0.5, 0.9):
        x, y = pairs(draw, draws, n, correlation=correlation)
        about = f"seeds correlated {correlation:g}"
        add(f"Student's t, paired, {about}", paired_t(x, y, "greater"))
        add(f"Pitman-Morgan, {about}", pitman_morgan(x, y, "greater"))
        x, y = pairs(draw, draws, n, correlation=correlation, ratio=MARGIN)
        add(f"Pitman-Morgan twice, variances {MARGIN:g} : 1, {about}", within(pitman_morgan, x, y, MARGIN))
        x, y = pairs(draw, draws, n, correlation=correlation)
        add(f"Student's t, paired, margin 1, {about}", paired_t(x - 1, y, "greater", 1.0))
    for ratio in (1.0, 10.0):
        x, y = pairs(draw, draws, n, ratio=ratio)
        add(f"Welch's t, independent arms, variances 1 : {ratio:g}", welch_t(x, y, "greater"))
    x, y = pairs(draw, draws, n)
    add("F, independent arms", variance_f(x, y, "greater"))
    add("Brown-Forsythe, independent arms (stands beside)", brown_forsythe(x, y))
    p = np.minimum(*(paired_t(x[:, :k], y[:, :k], "greater") for k in (3, n)))
    add("Student's t, paired, at three seeds and again at all", p)
    steps = draw(size=(draws, n, len(SIZES)))
    add("Student's t on the seeds' slopes", paired_t(slopes(steps, SIZES), np.zeros((draws, n)), "greater"))
    return rows


def share(p: np.ndarray, level: float) -> str:
    """How many p are below a level, in %, with the standard error of a share of that level."""
    error = np.sqrt(level * (1 - level) / len(p))
    return f"{100 * (p < level).mean():.2f} ± {100 * error:.2f}"


def power_rows(draw: Draw, draws: int, n: int) -> list[list[str]]:
    """A row a ratio of variances and test: power at each level, and the seeds that 80 % takes."""
    rows = []
    for name, ratio in RATIOS.items():
        for correlation in (0.0, 0.5):
            x, y = pairs(draw, draws, n, correlation=correlation, ratio=ratio)
            p, about = pitman_morgan(x, y, "greater"), f"Pitman-Morgan, seeds correlated {correlation:g}"
            rows.append([name, about, *powers(p, n, partial(power_of_variances, ratio, correlation=correlation))])
        x, y = pairs(draw, draws, n, ratio=ratio)
        found = powers(variance_f(x, y, "greater"), n, partial(power_of_variances, ratio, correlation=None))
        rows.append([name, "F, independent arms", *found])
        p = brown_forsythe(x, y)
        rows.append(
            [name, "Brown-Forsythe, two-sided", *(f"{100 * (p < level).mean():.1f}" for level in LEVELS), "", ""]
        )
    for correlation in (0.0, 0.5, 0.9):
        p = within(pitman_morgan, *pairs(draw, draws, n, correlation=correlation), MARGIN)
        about = f"Pitman-Morgan twice, seeds correlated {correlation:g}"
        rows.append([f"1, within {MARGIN:g}", about, *(f"{100 * (p < level).mean():.1f}" for level in LEVELS), "", ""])
    return rows


def powers(p: np.ndarray, n: int, power: Callable[[int, float], float]) -> list[str]:
    """Power at each level in %, simulated and (reckoned); seeds for 80 % at each."""
    found = [f"{100 * (p < level).mean():.1f} ({100 * power(n, level):.1f})" for level in LEVELS]
    return found + [f"{seeds_for(lambda k, a=level: power(k, a)):,.0f}" for level in LEVELS]


def lead_rows(n: int) -> list[list[str]]:
    """A row a lead: the largest standard deviation of the seeds' differences with which n seeds have 80 % power."""
    rows = []
    for name, lead in LEADS.items():
        found = []
        for level in LEVELS:
            short = partial(shortfall, lead, n, level)
            found.append(f"{optimize.brentq(short, lead / 20, lead * 10):.2f}")
        rows.append([name, *found])
    return rows


def shortfall(lead: float, n: int, level: float, spread: float) -> float:
    return power_of_means(lead, spread, n, level, paired=True) - TARGET


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000, help="samples of each test")
    parser.add_argument("--seeds", type=int, default=5, help="of each arm")
    options = parser.parse_args()
    rng, n = np.random.default_rng(0), options.seeds

    def heavy(size: tuple[int, ...]) -> np.ndarray:
        return rng.standard_t(5, size=size)

    levels = [f"at {100 * level:g} %" for level in LEVELS]
    for about, draw in (("normal values", rng.normal), ("t with 5 degrees of freedom", heavy)):
        print(f"\nSize in %, n = {n}, {options.draws:,} draws, {about}\n")
        print(table(["test", *levels], size_rows(draw, options.draws, n)))
    print(f"\nPower in % at the paper's ratios of variances, n = {n}: simulated (reckoned)\n")
    head = ["ratio", "test", *levels, *(f"seeds for 80 %, {level}" for level in levels)]
    print(table(head, power_rows(rng.normal, options.draws, n)))
    print(f"\nThe largest spread (SD of the seeds' differences, points) with which n = {n} has 80 % power\n")
    print(table(["lead", *levels], lead_rows(n)))


if __name__ == "__main__":
    main()
