"""A verdict for each of the paper's claims, from the tidy tables. The rules stand in docs/claims.md."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from dqv2.config.base import Block
from dqv2.paper.arms import match, printed
from dqv2.paper.compare import Comparison, holm, means, trend, variances
from dqv2.paper.stats import require_columns

ALPHA = 0.05
SUPPORTED, NOT_SUPPORTED, NOT_TESTED = "supported", "not supported", "not tested"
UNITS = {"test_accuracy": "points", "iou": "IoU", "selection_seconds": "s", "memory": "MB"}


class ClaimTest(Block):
    """One comparison, or a family of them."""

    says: str  # what it tests, in words
    experiment: str  # the table that it reads
    of: dict[str, Any]  # a side: {column: value}; a list makes a test of each value
    against: dict[str, Any] = Field(default_factory=dict)  # the other one
    pool: str | None = None  # a column whose lists do not: its arms are pooled (variance)
    # {column: values}: tested at each, on both sides; "all" are those of the table
    each: dict[str, list[Any] | Literal["all"]] = Field(default_factory=dict)
    datasets: list[str]  # those that the paper's claim is about
    stand_in: bool = True  # whether other datasets of the table are tested where it has none of these
    y: str = "test_accuracy"  # the column compared
    statistic: Literal["mean", "variance", "trend"] = "mean"
    over: str | None = None  # of a trend: the column along which it is
    direction: Literal["higher", "lower", "not lower"]  # of `of` against `against`
    margin: float = Field(1.0, gt=0)  # of "not lower", in y's unit

    @model_validator(mode="after")
    def _consistent(self) -> ClaimTest:
        if (self.statistic == "trend") != (self.over is not None) or (self.statistic == "trend") == bool(self.against):
            raise ValueError("a trend needs 'over' and no 'against', a mean or a variance 'against' and no 'over'")
        if self.direction == "not lower" and self.statistic != "mean":
            raise ValueError("'not lower' is for means")
        return self


class Claim(Block):
    """A claim of the paper."""

    claim: int
    statement: str
    place: str
    tests: list[ClaimTest] = Field(min_length=1)


def judge(claims: Sequence[dict[str, Any]], tables: Mapping[str, pd.DataFrame], scale: str) -> pd.DataFrame:
    """Test every claim on the tables of a run.

    Args:
        claims: as ``read_claims`` gives them.
        tables: experiment -> its tidy table: a row a run, with ``dataset``, ``seed``, the columns that the tests name
            and their ``y``. An experiment that is missing here was not run; one whose table is empty has no
            finished run yet.
        scale: what the results are of, such as "demo"; stands in every row.

    Returns:
        One row a comparison: ``claim``, ``part`` (number of the test), what it says and compares, effect, interval, p
        and p corrected for the number of claims (Holm), the paired interval, ``verdict`` and ``why``; ``paper_data``
        says whether the dataset is one that the claim is about; ``claim_verdict`` is the claim's.
    """
    rows = [
        {"claim": claim.claim, "part": part, "says": test.says, **row}
        for claim in map(Claim.model_validate, claims)
        for part, test in enumerate(claim.tests, 1)
        for row in _comparisons(test, tables.get(test.experiment))
    ]
    frame = pd.DataFrame(rows)
    frame["p_holm"] = _corrected(frame)
    verdicts = [_verdict(row) for row in frame.to_dict("records")]
    frame["verdict"], frame["why"] = zip(*verdicts, strict=True)
    frame["claim_verdict"] = frame.groupby("claim")["verdict"].transform(_of_claim)
    frame["scale"] = scale
    return frame[[*COLUMNS, *(name for name in frame if name not in COLUMNS)]]


COLUMNS = ("claim", "claim_verdict", "part", "verdict", "why", "says", "experiment", "dataset", "dataset_title")
COLUMNS += ("paper_data", "scale", "at", "of", "against", "y", "statistic", "direction", "n", "n_against", "value")
COLUMNS += ("value_against", "effect", "unit", "low", "high", "interval", "test", "p", "p_holm")


def _corrected(rows: pd.DataFrame) -> list[float]:
    """Each comparison's p among the other claims' p, corrected by Holm.

    A claim's own p is the largest of its comparisons', as it holds only if all of them do (the intersection-union
    test): its comparisons count as one.
    """
    claims = rows.groupby("claim")["p"].max()
    return [holm([p, *claims.drop(claim)])[0] for claim, p in zip(rows["claim"], rows["p"], strict=True)]


def _comparisons(test: ClaimTest, table: pd.DataFrame | None) -> Iterator[dict[str, Any]]:
    """The comparisons of a test: over the datasets, the values of ``each`` and of the lists of both sides."""
    there = [] if table is None else list(table["dataset"].dropna().unique())
    mine = set(test.datasets) & set(there)
    datasets = there if there and test.stand_in and not mine else test.datasets
    unit = UNITS.get(test.y, "")
    unit = {"mean": unit, "variance": "ratio", "trend": f"{unit} a step of {test.over}"}[test.statistic]
    facts = {name: getattr(test, name) for name in ("experiment", "y", "statistic", "direction")} | {"unit": unit}
    facts["margin"] = test.margin if test.direction == "not lower" else np.nan
    sides = (_product(test.of, but=test.pool), _product(test.against, but=test.pool))
    for dataset, at, of, against in itertools.product(datasets, _product(_each(test, table)), *sides):
        place = ", ".join(f"{name} {printed(value, {})}" for name, value in at.items())
        here = {"dataset": dataset} | at
        compared = _compare(test, table, here | of, here | against)
        yield facts | {"dataset": dataset, "paper_data": dataset in test.datasets, "at": place} | compared


def _each(test: ClaimTest, table: pd.DataFrame | None) -> dict[str, Any]:
    """The columns of ``each`` with their values; one whose values are the table's is left out where there is none."""
    known = (
        {} if table is None else {name: sorted(table[name].dropna().unique()) for name in test.each if name in table}
    )
    found = {name: known.get(name) if values == "all" else values for name, values in test.each.items()}
    return {name: values for name, values in found.items() if values}


def _product(block: dict[str, Any], but: str | None = None) -> list[dict[str, Any]]:
    """Each choice of one value from the lists of a block; a list under ``but`` stays whole."""
    choices = [value if isinstance(value, list) and name != but else [value] for name, value in block.items()]
    return [dict(zip(block, values, strict=True)) for values in itertools.product(*choices)]


def _compare(
    test: ClaimTest, table: pd.DataFrame | None, of: dict[str, Any], against: dict[str, Any]
) -> dict[str, Any]:
    """One comparison as columns, ``missing`` saying what it lacks."""
    sides = [of] if test.statistic == "trend" else [of, against]
    if table is None or table.empty:
        names = [_text(None, side, test) for side in sides]
        lacks = "was not run" if table is None else "has no finished run yet"
        return _as_row(None, names, f"experiment {test.experiment} {lacks}") | {"dataset_title": of["dataset"]}
    require_columns(table, [*of, *against, test.y, "seed", *filter(None, [test.over])])
    table = table[table[test.y].notna()]
    found = [table[match(table, side)] for side in sides]
    names = [_text(rows, side, test) for rows, side in zip(found, sides, strict=True)]
    if len(names) == 2 and names[0] == names[1]:
        apart = [name for name in of if name in against and of[name] != against[name]]
        words = [", ".join(f"{name} {_listed(rows[name].dropna().unique())}" for name in apart) for rows in found]
        names = [f"{name}, {more}" for name, more in zip(names, words, strict=True)]
    title = table.loc[table["dataset"] == of["dataset"], "dataset_title"] if "dataset_title" in table else pd.Series()
    extra = {"dataset_title": title.iloc[0] if len(title) else of["dataset"]}
    for side, rows in zip(sides, found, strict=True):
        if rows.empty:
            lacking = ", ".join(f"{name} {_listed(value)}" for name, value in side.items())
            return _as_row(None, names, f"there are no runs of {lacking}") | extra
    arms = [_arms(rows, test.over or test.pool, test) for rows in found]
    if test.statistic == "trend":
        got = trend(arms[0])
    elif test.statistic == "variance":
        got = variances(*arms)
    else:
        got = means(arms[0][0], arms[1][0], margin=test.margin if test.direction == "not lower" else 0.0)
    small = min(max(len(arm) for arm in side) for side in arms) < (3 if test.statistic == "variance" else 2)
    lacks = "" if np.isfinite(got.p) else "too few seeds" if small else "the values do not vary"
    return _as_row(got, names, lacks) | extra


def _arms(rows: pd.DataFrame, by: str | None, test: ClaimTest) -> list[pd.Series]:
    """The values of each arm, by seed; arms are told apart by ``by`` alone."""
    groups = [rows[rows[by] == value] for value in sorted(rows[by].dropna().unique())] if by else [rows]
    for group in groups:
        if group["seed"].duplicated().any():
            raise ValueError(
                f"the test {test.says!r} finds more than one run of a seed in {test.experiment}: name the arm in full"
            )
    return [group.set_index("seed")[test.y] for group in groups]


def _text(rows: pd.DataFrame | None, side: dict[str, Any], test: ClaimTest) -> str:
    """How a side is called: its runs' printed name, else its values in the claims' data; of the pooled ones those
    that were run."""
    labels = list(rows["label"].dropna().unique()) if rows is not None and "label" in rows else []
    if len(labels) == 1 and not test.pool:
        return str(labels[0])
    if rows is not None and len(rows) and isinstance(pooled := side.get(test.pool), list):
        side = side | {test.pool: [value for value in pooled if match(rows, {test.pool: value}).any()]}
    return ", ".join(_listed(value) for name, value in side.items() if name not in ("dataset", *test.each))


def _listed(value: Any) -> str:
    return " and ".join(printed(one, {}) for one in ([value] if np.isscalar(value) else value))


def _as_row(got: Comparison | None, names: list[str], lacks: str) -> dict[str, Any]:
    row = vars(got) if got else dict.fromkeys(Comparison.__dataclass_fields__, np.nan) | {"test": "", "interval": ""}
    return {**row, "of": names[0], "against": names[1] if len(names) > 1 else "", "missing": lacks}


def _verdict(row: dict[str, Any]) -> tuple[str, str]:
    """The verdict of a comparison and the reason, in words."""
    if row["missing"]:
        return NOT_TESTED, row["missing"]
    level = 1.0 if row["statistic"] == "variance" else 0.0
    sign = -1 if row["direction"] == "lower" else 1
    clear = row["p_holm"] < ALPHA
    if row["direction"] == "not lower":
        if clear:
            return SUPPORTED, f"not lower by {row['margin']:g} or more"
        below = row["high"] < 0
        return NOT_SUPPORTED, "it is lower" if below else f"a loss of {row['margin']:g} cannot be ruled out"
    if not clear:
        return NOT_SUPPORTED, "no difference can be told from the spread of the seeds"
    if sign * (row["effect"] - level) > 0:
        return SUPPORTED, f"{row['direction']}, as claimed"
    return NOT_SUPPORTED, "contradicted: it is the other way round"


def _of_claim(verdicts: pd.Series) -> str:
    """A claim stands if all its comparisons do; one that fails is enough against it."""
    found = set(verdicts)
    if NOT_SUPPORTED in found:
        return NOT_SUPPORTED
    return SUPPORTED if found == {SUPPORTED} else NOT_TESTED


def summary(claims: Sequence[dict[str, Any]], rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry a claim: number, statement, place, verdict, how many of its comparisons came out how, its rows."""
    out = []
    for claim in claims:
        mine = rows[rows["claim"] == claim["claim"]]
        counts = mine["verdict"].value_counts()
        tested = int(counts.sum() - counts.get(NOT_TESTED, 0))
        contradicted = int(mine["why"].str.startswith(("contradicted", "it is lower")).sum())
        text = f"{tested} of {len(mine)} comparisons made, {counts.get(SUPPORTED, 0)} supported"
        text += f", {contradicted} the other way round" if contradicted else ""
        text += "" if mine["paper_data"].all() else "; on data that stands in for the paper's"
        said = {name: claim[name] for name in ("claim", "statement", "place")}
        out.append(said | {"verdict": mine["claim_verdict"].iloc[0], "counts": text, "rows": mine.to_dict("records")})
    return out
