"""The paper's values for a comparison, whether ours agree with them, and the power to find the reported effect."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dqv2.paper.compare import ALPHA, MISSING, Comparison
from dqv2.paper.power import power_of_means, power_of_variances, seeds_for
from dqv2.paper.stats import predicted


class Asked(NamedTuple):
    """What a comparison tests."""

    statistic: str  # "mean" or "variance"
    direction: str  # claimed: "higher", "lower", "not lower" or "comparable" (whose power is not computed)
    margin: float  # of "not lower", in the values' unit, else 0
    first: float  # the level of Holm's first step, for the smallest p of the claims


def value_of(entries: Sequence[Mapping[str, Any]], side: Mapping[str, Any], name: str) -> float:
    """What the paper reports of an arm (``name``: "mean", "variance", "plus_minus"); missing where it does not, or of
    several arms that ``side`` could be. An entry is the arm's if it names all columns of the side, with its values."""
    found = [entry for entry in entries if all(column in entry and entry[column] == side[column] for column in side)]
    values = {float(entry[name]) for entry in found if entry.get(name) is not None}
    return values.pop() if len(values) == 1 else MISSING


def against_paper(
    asked: Asked,
    got: Comparison | None,
    entries: Sequence[Mapping[str, Any]],
    of: Mapping[str, Any],
    against: Mapping[str, Any],
) -> dict[str, Any]:
    """The paper's values for a comparison, as columns; all are missing where it reports no effect.

    got: our comparison. entries: the paper's values for the experiment's arms. of, against: columns that name each
    side's arm.

    Returns:
        ``reported``, ``reported_against`` and ``reported_effect`` (difference of the means, ratio of the variances);
        ``predicted_low``, ``predicted_high`` and ``replicated``: Student's 95 % prediction interval of ours for the
        difference of the means of five new seeds, and whether ("yes", "no") the paper's lies in it;
        ``power_spread`` and ``spread_from`` ("ours", "the paper"): the spread that the power is reckoned with;
        ``power``, ``power_first``: of the run's own number of seeds at the reported effect, at level 0.05 and at that
        of Holm's first step; ``seeds_80``, ``seeds_80_first``: the seeds that 80 % power takes, infinite where no
        number does, as where the paper's effect is not in the claimed direction.
    """
    sides = [value_of(entries, side, asked.statistic) for side in (of, against)]
    found = dict.fromkeys(COLUMNS, MISSING) | {"spread_from": "", "replicated": ""}
    found |= {"reported": sides[0], "reported_against": sides[1]}
    if not all(map(math.isfinite, sides)):
        return found
    if asked.statistic == "variance":
        found["reported_effect"] = sides[0] / sides[1]
        if asked.direction == "comparable":
            return found
        return found | _of_variances(asked, got, found["reported_effect"])
    found["reported_effect"] = sides[0] - sides[1]
    return found | _of_means(asked, got, found["reported_effect"], _reported_spread(entries, of, against))


COLUMNS = ("reported", "reported_against", "reported_effect", "predicted_low", "predicted_high", "replicated")
COLUMNS += ("power_spread", "spread_from", "power", "power_first", "seeds_80", "seeds_80_first")


def _of_means(asked: Asked, got: Comparison | None, effect: float, reported_spread: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    spread, whose = reported_spread, "the paper"
    paired, n = True, 0
    if got is not None and math.isfinite(got.spread):
        spread, whose, paired, n = got.spread, "ours", got.n_paired > 0, min(got.n, got.n_against)
        low, high = predicted(n, got.effect, spread, paired=paired)
        found = {"predicted_low": low, "predicted_high": high, "replicated": "yes" if low <= effect <= high else "no"}
    if not spread > 0:
        return found
    toward = (-effect if asked.direction == "lower" else effect) + asked.margin

    def power(seeds: int, level: float) -> float:
        return power_of_means(toward, spread, seeds, level, paired=paired)

    return found | {"power_spread": spread, "spread_from": whose} | _power(power, asked, n, least=2)


def _of_variances(asked: Asked, got: Comparison | None, ratio: float) -> dict[str, Any]:
    tested = got is not None and got.n_paired > 0 and math.isfinite(got.correlation)
    correlation = got.correlation if tested else None
    toward = 1 / ratio if asked.direction == "lower" else ratio

    def power(seeds: int, level: float) -> float:
        return power_of_variances(toward, seeds, level, correlation=correlation)

    n = 0 if got is None else min(got.n, got.n_against)
    return _power(power, asked, n, least=3)


def _power(power: Callable[[int, float], float], asked: Asked, n: int, *, least: int) -> dict[str, float]:
    found = {}
    for suffix, level in (("", ALPHA), ("_first", asked.first)):
        found[f"power{suffix}"] = power(n, level) if n >= least else MISSING
        found[f"seeds_80{suffix}"] = seeds_for(lambda seeds, level=level: power(seeds, level), least=least)
    return found


def _reported_spread(entries: Sequence[Mapping[str, Any]], *sides: Mapping[str, Any]) -> float:
    """sqrt(s² + s²) by the paper's variances, or by what it prints after ±, taken as a standard deviation."""
    squares = []
    for side in sides:
        variance = value_of(entries, side, "variance")
        squares.append(variance if math.isfinite(variance) else value_of(entries, side, "plus_minus") ** 2)
    return math.sqrt(sum(squares)) if all(map(math.isfinite, squares)) else MISSING
