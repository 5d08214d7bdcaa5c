"""A verdict for each of the paper's claims, from the tidy tables. docs/claims.md states the rules."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from dqv2.config.base import Block
from dqv2.paper.arms import match, own, printed
from dqv2.paper.compare import ALPHA, Comparison, counts, holm, means, trend, variances
from dqv2.paper.replication import COLUMNS as PAPER
from dqv2.paper.replication import Asked, against_paper
from dqv2.paper.stats import SHARED, crossed, require_columns

COSTS = ("selection_seconds", "early_seconds", "memory", "device_memory")  # measured: they differ in each run
FAMILY = 10  # the number of the paper's claims, which p is corrected for, whatever was run
SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_TESTED = "supported", "contradicted", "inconclusive", "not tested"
UNITS = {"test_accuracy": "points", "iou": "IoU", "own_minus_others": "IoU", "megabytes": "MB"}
UNITS |= {"selection_seconds": "s", "memory": "MB", "device_memory": "MB", "tflop": "10¹² operations"}


class ClaimTest(Block):
    """One comparison, or a family of them."""

    says: str  # what it tests, in words
    experiment: str  # the table that it reads
    of: dict[str, Any]  # a side: {column: value}; a list makes a test of each value
    against: dict[str, Any] = Field(default_factory=dict)  # the other one; of a trend, what is subtracted
    # {column: values}: tested at each, on both sides; "all" are those of the table
    each: dict[str, list[Any] | Literal["all"]] = Field(default_factory=dict)
    datasets: list[str]  # those that the paper's claim is about
    stand_in: bool = True  # where the table has none of these: whether others that the claim does not name are tested
    y: str = "test_accuracy"  # the column compared
    minus: str | None = None  # a column that is subtracted from it
    statistic: Literal["mean", "variance", "trend", "count"] = "mean"
    over: str | None = None  # of a trend: the column along which it is
    direction: Literal["higher", "lower", "not lower", "comparable"]  # of `of` against `against`
    margin: float = Field(1.0, gt=0)  # of "not lower", in y's unit; of "comparable", a factor that is above 1

    @model_validator(mode="after")
    def _consistent(self) -> ClaimTest:
        if (self.statistic == "trend") != (self.over is not None):
            raise ValueError("a trend needs 'over', and nothing else has it")
        if self.statistic != "trend" and not self.against:
            raise ValueError("all but a trend needs 'against'")
        if self.direction == "not lower" and self.statistic != "mean":
            raise ValueError("'not lower' is for means")
        if self.direction == "comparable" and (self.statistic != "variance" or self.margin <= 1):
            raise ValueError("'comparable' is for variances, and needs a margin above 1")
        return self


class Claim(Block):
    """A claim of the paper."""

    claim: int
    statement: str
    place: str
    tests: list[ClaimTest] = Field(min_length=1)


def judge(
    claims: Sequence[dict[str, Any]],
    tables: Mapping[str, pd.DataFrame],
    scale: str,
    reported: Mapping[str, Sequence[dict[str, Any]]] | None = None,
    family: int = FAMILY,
) -> pd.DataFrame:
    """Test every claim on the tables of a run.

    Args:
        claims: as ``read_claims`` gives them.
        tables: experiment -> its tidy table: a row a run, with ``dataset``, ``seed``, the columns that the tests name
            and their ``y``. One that is missing was not run; an empty one has no finished run yet.
        scale: the scale of the results, such as "demo"; repeated in every row.
        reported: experiment -> the paper's values for its arms, as from ``reported_values``.
        family: the total number of claims, which p is corrected for.

    Returns:
        One row per comparison: ``claim``, ``part`` (number of the test), what it states and compares, effect, interval,
        p of the claimed direction and of its opposite, both also Holm-corrected for the claims, the secondary test,
        ``verdict`` and ``why``, and the paper's values with power (see ``against_paper``); ``paper_data`` tells whether
        the claim is about this dataset; ``claim_verdict`` is the verdict on the claim.

    Raises ValueError where an arm has several runs of a seed, or a table lacks a column.
    """
    rows = [
        {"claim": claim.claim, "part": part, "says": test.says, **row}
        for claim in map(Claim.model_validate, claims)
        for part, test in enumerate(claim.tests, 1)
        for row in _comparisons(
            test, _named_with(claim, test), tables.get(test.experiment), (reported or {}).get(test.experiment, [])
        )
    ]
    frame = pd.DataFrame(rows)
    frame["p_holm"], frame["p_opposite_holm"] = (_corrected(frame, name, family) for name in ("p", "p_opposite"))
    verdicts = [_verdict(row) for row in frame.to_dict("records")]
    frame["verdict"], frame["why"] = zip(*verdicts, strict=True)
    frame["claim_verdict"] = frame.groupby("claim")["verdict"].transform(_of_claim)
    frame["scale"] = scale
    return frame[[*COLUMNS]]


COLUMNS = ("claim", "claim_verdict", "part", "verdict", "why", "says", "experiment", "dataset", "dataset_title")
COLUMNS += ("paper_data", "scale", "at", "of", "against", "y", "minus", "statistic", "direction", "margin", "n")
COLUMNS += ("n_against", "n_paired", "value", "value_against", "effect", "unit", "low", "high", "test", "p", "p_holm")
COLUMNS += ("p_opposite", "p_opposite_holm", "beside", "beside_low", "beside_high", "beside_p", "spread", "correlation")
COLUMNS += PAPER


def _corrected(rows: pd.DataFrame, name: str, family: int) -> list[float]:
    """Each comparison's p, or p_opposite, Holm-corrected for all claims of the family, with the comparison's p in place
    of that of its own claim.

    A claim's p is the largest among its comparisons, as it holds only if all of them do (the intersection-union test;
    Berger 1982), and missing, which counts as 1, where one of them was not made. One comparison suffices to contradict
    a claim, so for the opposite they count one by one: Holm's correction within the claim first, and the claim's p is
    the smallest.

    Seconds and memory differ in each run, and the verdicts on accuracies must not change with them. So for other
    comparisons those on costs count as not significant (p = 1), which never rejects more than Holm's method does.
    """
    claim, costs = rows["claim"], rows["y"].isin(COSTS)

    def of_claims(p: pd.Series) -> tuple[pd.Series, pd.Series]:
        if name == "p":
            return p, p.groupby(claim).agg(lambda p: p.max(skipna=False))
        within = p.groupby(claim).transform(lambda p: holm(p, len(p)))
        return within, within.groupby(claim).min()

    whole, steady = of_claims(rows[name]), of_claims(rows[name].mask(costs, 1.0))
    found = []
    for i, cost in costs.items():
        p, claims = whole if cost else steady
        found.append(float(holm([p[i], *claims.drop(claim[i])], family)[0]))
    return found


def _named_with(claim: Claim, test: ClaimTest) -> set[str]:
    """The datasets that a claim names for a test's experiment: it may say something else of each."""
    return {name for other in claim.tests if other.experiment == test.experiment for name in other.datasets}


def _comparisons(
    test: ClaimTest, named: set[str], table: pd.DataFrame | None, entries: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The comparisons of a test: over the datasets, the values of ``each`` and of the lists of both sides.

    ``named``: the datasets that stand in for no other one.
    """
    there = [] if table is None else list(table["dataset"].dropna().unique())
    others = [name for name in there if name not in named] if test.stand_in else []
    datasets = test.datasets if set(test.datasets) & set(there) else others or test.datasets
    unit = UNITS.get(test.y, "")
    unit = {"variance": "ratio", "trend": f"{unit} a unit of {test.over}"}.get(test.statistic, unit)
    facts = {name: getattr(test, name) for name in ("experiment", "y", "statistic", "direction")} | {"unit": unit}
    bounded = test.direction in ("not lower", "comparable")
    facts |= {"minus": test.minus or "", "margin": test.margin if bounded else np.nan}
    asked = Asked(test.statistic, test.direction, 0.0 if np.isnan(facts["margin"]) else test.margin, ALPHA / FAMILY)
    about_accuracy = (test.y, test.minus) == ("test_accuracy", None) and test.statistic in ("mean", "variance")
    entries = entries if about_accuracy else []
    sides = (_product(test.of), _product(test.against))
    for dataset, at, of, against in itertools.product(datasets, _product(_each(test, table)), *sides):
        place = ", ".join(f"{name} {printed(value, {})}" for name, value in at.items())
        here = {"dataset": dataset} | at
        names, title, got, lacks = _compare(test, table, here | of, here | against if against else {})
        row = facts | {"dataset": dataset, "dataset_title": title, "paper_data": dataset in test.datasets, "at": place}
        row |= {"of": names[0], "against": names[1] if len(names) > 1 else "", "missing": lacks}
        yield row | _as_columns(got, test) | against_paper(asked, got, entries, here | of, here | against)


def _each(test: ClaimTest, table: pd.DataFrame | None) -> dict[str, Any]:
    """The columns of ``each`` with their values; one whose values are the table's is left out where there is none."""
    found = dict(test.each)
    for name, values in test.each.items():
        if values == "all":
            found[name] = sorted(table[name].dropna().unique()) if table is not None and name in table else []
    return {name: values for name, values in found.items() if values}


def _product(block: dict[str, Any]) -> list[dict[str, Any]]:
    """Each choice of one value from the lists of a block."""
    choices = [value if isinstance(value, list) else [value] for value in block.values()]
    return [dict(zip(block, values, strict=True)) for values in itertools.product(*choices)]


def _compare(
    test: ClaimTest, table: pd.DataFrame | None, of: dict[str, Any], against: dict[str, Any]
) -> tuple[list[str], str, Comparison | None, str]:
    """What the sides are called, the dataset's title, the comparison, and what it lacks, in words."""
    sides = [of, against] if against else [of]
    if table is None or table.empty:
        lacks = "was not run" if table is None else "has no finished run yet"
        return [_text(None, side, test) for side in sides], of["dataset"], None, f"experiment {test.experiment} {lacks}"
    measured = [test.y, *filter(None, [test.minus])]
    require_columns(table, [*of, *against, *measured, "seed", *filter(None, [test.over])])
    found = [own(table[match(table, side)]) for side in sides]
    whole = not any(rows.empty for rows in found)
    names = [_text(rows if whole else None, side, test) for rows, side in zip(found, sides, strict=True)]
    if len(names) == 2 and names[0] == names[1]:
        apart = [name for name in of if name in against and of[name] != against[name]]
        names = [f"{name}, {_named(side, apart)}" for name, side in zip(names, sides, strict=True)]
    titles = table.loc[table["dataset"] == of["dataset"], "dataset_title"] if "dataset_title" in table else pd.Series()
    title = str(titles.iloc[0]) if len(titles) else of["dataset"]
    for side, rows in zip(sides, found, strict=True):
        if rows.empty:
            other = "" if table[match(table, side)].empty else " whose method is as its block says"
            return names, title, None, f"there are no runs of {_named(side, side)}{other}"
        if rows[measured].isna().any(axis=1).all():
            return names, title, None, f"{' and '.join(measured)} of {_named(side, side)} were not measured"
    if any(map(crossed, found)):
        return names, title, None, SHARED
    found = [rows[rows[measured].notna().all(axis=1)] for rows in found]
    if test.statistic == "trend":
        got = trend(*({place: _arm(part, test) for place, part in rows.groupby(test.over)} for rows in found))
    elif test.statistic == "variance":
        margin = test.margin if test.direction == "comparable" else 0.0
        got = variances(*(_arm(rows, test) for rows in found), margin=margin)
    elif test.statistic == "count":
        got = counts(*(_arm(rows, test) for rows in found))
    else:
        margin = test.margin if test.direction == "not lower" else 0.0
        got = means(*(_arm(rows, test) for rows in found), margin=margin)
    return names, title, got, got.lacks


def _arm(rows: pd.DataFrame, test: ClaimTest) -> pd.Series:
    """The values of an arm, by seed."""
    if rows["seed"].duplicated().any():
        raise ValueError(
            f"the test {test.says!r} finds more than one run of a seed in {test.experiment}: name the arm in full"
        )
    rows = rows.set_index("seed")
    return rows[test.y] - rows[test.minus] if test.minus else rows[test.y]


def _text(rows: pd.DataFrame | None, side: dict[str, Any], test: ClaimTest) -> str:
    """How a side is called: its runs' printed name, else its values in the claims' data."""
    labels = list(rows["label"].dropna().unique()) if rows is not None and "label" in rows else []
    if len(labels) == 1:
        return str(labels[0])
    return ", ".join(printed(value, {}) for name, value in side.items() if name not in ("dataset", *test.each))


def _named(side: Mapping[str, Any], columns: Iterable[str]) -> str:
    return ", ".join(f"{name} {printed(side[name], {})}" for name in columns)


def _as_columns(got: Comparison | None, test: ClaimTest) -> dict[str, Any]:
    """A comparison as columns, with p of the claimed direction and of its opposite."""
    row = vars(got) if got else dict.fromkeys(Comparison.__dataclass_fields__, np.nan) | {"test": "", "beside": ""}
    names = {"lower": ("p_lower", "p_higher"), "comparable": ("p_within", "p_outside")}
    claimed, opposite = names.get(test.direction, ("p_higher", "p_lower"))
    beside = row["beside_p_lower" if test.direction == "lower" else "beside_p"]
    return {**row, "p": row[claimed], "p_opposite": row[opposite], "beside_p": beside}


def _verdict(row: dict[str, Any]) -> tuple[str, str]:
    """The verdict of a comparison and the reason, in words."""
    if row["missing"]:
        return NOT_TESTED, row["missing"]
    below = row["p_opposite_holm"] < ALPHA
    if row["p_holm"] < ALPHA:
        if row["direction"] == "not lower":
            return SUPPORTED, f"not lower by {row['margin']:g} or more" + (", though lower" if below else "")
        if row["direction"] == "comparable":
            return SUPPORTED, f"neither is {row['margin']:g} times the other or more"
        return SUPPORTED, f"{row['direction']}, as claimed"
    if below and row["direction"] == "comparable":
        return CONTRADICTED, f"one is more than {row['margin']:g} times the other"
    if below:
        return CONTRADICTED, "it is lower" if row["direction"] == "not lower" else "it is the other way round"
    return INCONCLUSIVE, "neither what is claimed nor its opposite can be told from the spread of the seeds"


def _of_claim(verdicts: pd.Series) -> str:
    """A claim is supported if all its comparisons are; one that is contradicted is enough against it."""
    found = set(verdicts)
    for verdict in (CONTRADICTED, INCONCLUSIVE, NOT_TESTED):
        if verdict in found:
            return verdict
    return SUPPORTED


def summary(claims: Sequence[dict[str, Any]], rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry per claim: number, statement, place, verdict, counts of its comparisons' verdicts, and its rows."""
    out = []
    for claim in claims:
        mine = rows[rows["claim"] == claim["claim"]]
        counts = mine["verdict"].value_counts()
        tested = len(mine) - counts.get(NOT_TESTED, 0)
        parts = [f"{counts[name]} {name}" for name in (SUPPORTED, CONTRADICTED, INCONCLUSIVE) if name in counts]
        made = f"{tested} of {len(mine)} comparisons could be made" if tested < len(mine) else f"{tested} comparisons"
        text = ", ".join([made, *parts]) if len(mine) > 1 else mine["verdict"].iloc[0]
        text += "" if mine["paper_data"].all() else "; on data that stands in for the paper's"
        said = {name: claim[name] for name in ("claim", "statement", "place")}
        out.append(said | {"verdict": mine["claim_verdict"].iloc[0], "counts": text, "rows": mine.to_dict("records")})
    return out
