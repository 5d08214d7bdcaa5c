"""Comparing a new run with a published one: do they differ by more than their seeds do?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dqv2.paper.compare import ALPHA, holm, means
from dqv2.paper.stats import AXES, SHARED, crossed, plain

SHOWN = ("label", "dataset", "keep_ratio", "tobias_size", "mixture", "mask", "trainer")  # axes printed for an arm


def agreement(ours: pd.DataFrame, published: pd.DataFrame, y: str = "test_accuracy") -> pd.DataFrame:
    """Compare each arm of an experiment's tidy table with the same arm of the published one.

    Returns one row per arm that both have: its columns of ``AXES``, ``seeds`` and ``seeds_published`` (counts),
    ``mean`` and ``mean_published``, ``effect`` (ours minus published, in y's unit) with its 95 % interval ``low`` and
    ``high`` by Welch's t (a training on another machine is an independent draw, even with the same seed), ``p``
    (two-sided), ``equal`` (seeds with identical values), ``lacks`` (the reason for having no p, in words, else empty)
    and ``verdict``: "equal" where all seeds are, "not tested" where there is no p, else "not told apart", until
    `corrected` finds that it differs.

    Raises:
        KeyError: ours lacks a column; the error names it.
        ValueError: an arm has a seed twice, or a value is missing or not a number.
    """
    for name in ("seed", y):
        if name not in ours:
            raise KeyError(name)
    by = _axes(ours, published)
    if not by:
        raise ValueError("it has no column that says which arm a row is of")
    # A coreset that was drawn by one seed may be trained on by several
    seeds = [name for name in ("seed", "selection_seed") if name in ours and name in published]
    theirs, found = _arms(published, by), []
    for arm, mine in _arms(ours, by).items():
        if arm not in theirs:
            continue
        if (twice := mine.duplicated(seeds)).any():
            raise ValueError(f"seed {mine['seed'][twice].iloc[0]} of an arm appears twice")
        x, z = (rows.set_index(seeds)[y].astype("float64") for rows in (mine, theirs[arm]))
        both = x.index.intersection(z.index)
        got = means(x, z.set_axis([f"published {seed}" for seed in z.index]))
        if crossed(mine) or crossed(theirs[arm]):
            got = got.untested(SHARED)
        row = dict(zip(by, arm, strict=True)) | {"seeds": len(x), "seeds_published": len(z)}
        row |= {"mean": x.mean(), "mean_published": z.mean(), "effect": got.effect, "low": got.low, "high": got.high}
        equal = int((x[both] == z[both]).sum())
        row |= {"p": got.p, "equal": equal, "lacks": got.lacks}
        verdict = "equal" if equal == max(len(x), len(z)) else "not tested" if got.lacks else "not told apart"
        found.append(row | {"verdict": verdict})
    return pd.DataFrame(found)


def corrected(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """The tables of `agreement` for all experiments of a run, with ``p_holm``, p corrected by Holm for all arms of the
    run, and the verdict "DIFFERS" where it is below 0.05.

    An arm of several experiments, which has the same numbers in each, counts once.
    """
    numbers = ["seeds", "seeds_published", "mean", "mean_published", "p"]
    both = pd.concat([table[numbers] for table in tables], ignore_index=True)
    arms = both.drop_duplicates()
    p = iter(both.merge(arms.assign(p_holm=holm(arms["p"])), how="left")["p_holm"])
    found = [table.assign(p_holm=[next(p) for _ in range(len(table))]) for table in tables]
    return [table.assign(verdict=table["verdict"].mask(table["p_holm"] < ALPHA, "DIFFERS")) for table in found]


def missing_arms(ours: pd.DataFrame, published: pd.DataFrame) -> int:
    """The number of arms of the published table that `ours` does not have."""
    by = _axes(ours, published)
    return len(set(_arms(published, by)) - set(_arms(ours, by)))


def _axes(ours: pd.DataFrame, published: pd.DataFrame) -> list[str]:
    return [name for name in AXES if name != "experiment" and name in ours and name in published]


def _arms(frame: pd.DataFrame, by: list[str]) -> dict[tuple, pd.DataFrame]:
    """The rows of each arm, by its values; a missing one is None."""
    groups = frame.groupby(by, sort=False, dropna=False, observed=True)
    return {tuple(None if pd.isna(value) else value for value in arm): rows for arm, rows in groups}


def told(table: pd.DataFrame) -> list[str]:
    """The comparison as text, one line per arm: "equal  DQ_V2 · 0.1: 71.2 (n = 5), published 71.2 (n = 5), ..."."""
    lines = []
    for row in table.to_dict("records"):
        shown = [plain(row[name]) for name in SHOWN if name in row and not pd.isna(row[name])]
        interval = "" if np.isnan(row["low"]) else f" [{row['low']:z.2f}, {row['high']:z.2f}]"
        why = f" ({row['lacks']})" * (row["verdict"] == "not tested")
        lines.append(
            f"{row['verdict']}{why}  {' · '.join(shown)}: {row['mean']:.2f} (n = {row['seeds']}), published "
            f"{row['mean_published']:.2f} (n = {row['seeds_published']}), difference {row['effect']:+z.2f}{interval}; "
            f"{row['equal']} equal"
        )
    return lines
