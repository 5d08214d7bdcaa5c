"""numbers.tex: one LaTeX macro per number; and the numbers in the paper's text compared with ours."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dqv2.paper.arms import match, own, printed
from dqv2.paper.claims import summary
from dqv2.paper.reported import as_printed
from dqv2.paper.stats import crossed, summarise
from dqv2.paper.tables import tex_escape
from dqv2.paper.wording import number, p_text

DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
ARM = ("dataset", "method", "selector", "mask", "mixture", "mix", "backgrounds", "tobias_size", "backbone", "trainer")
ARM += ("pixels", "keep_ratio")
STATISTICS = {"mean": "Mean", "sd": "Sd", "variance": "Variance", "n": "N", "ci95": "CiHalf"}


class Number(NamedTuple):
    """A macro: its name, what it expands to, and what it is."""

    macro: str
    value: str
    about: str


def macro_name(*parts: Any) -> str:
    r"""Words to the name of a LaTeX macro, letters only: ("fig4a", "dq_v2", 0.1) -> "FigFourADqVTwoZeroPointOne"."""
    words = []
    for part in parts:
        text = printed(part, {})
        text = text.replace(".", " point ").replace("+", " plus ").replace("%", " percent ")
        text = re.sub(r"\d", lambda digit: f" {DIGITS[int(digit[0])]} ", text)
        words += [word[0].upper() + word[1:] for word in re.findall(r"[A-Za-z]+", text)]
    return "".join(words)


def numbers_of(experiment: str, frame: pd.DataFrame) -> list[Number]:
    """Mean, sd, variance, n and half-width of the 95 % interval of each arm of an experiment, and its coreset size.

    An arm is named by its dataset and the fewest axes that distinguish the experiment's arms. Where coresets and
    trainings have separate seeds, runs share one of them and are not independent: then only mean and n are given.
    """
    axes = arm_axes(frame)
    statistics = {name: STATISTICS[name] for name in ("mean", "n")} if crossed(frame) else STATISTICS
    found = []
    for arm, rows in frame.groupby(axes, sort=False, dropna=False, observed=True):
        values = [value for value in arm if not pd.isna(value)]
        got = summarise(rows, [], "test_accuracy").iloc[0]
        name, about = macro_name(experiment, *values), f"{experiment}: {', '.join(printed(v, {}) for v in values)}"
        for statistic, suffix in statistics.items():
            text = f"{got[statistic]:.0f}" if statistic == "n" else number(got[statistic])
            if text:
                found.append(Number(name + suffix, text, f"{about}, {statistic} of test_accuracy"))
        sizes = rows["coreset_size"].dropna().unique() if "coreset_size" in rows else []
        if len(sizes) == 1:
            found.append(Number(name + "Images", f"{sizes[0]:d}", f"{about}, images in the coreset"))
    return found


def arm_axes(frame: pd.DataFrame) -> list[str]:
    """The dataset and the fewest axes that distinguish all arms of a table; later axes are dropped first."""
    axes = [name for name in ARM if name in frame and (name == "dataset" or frame[name].nunique(dropna=False) > 1)]
    count = len(frame[axes].drop_duplicates())
    for name in reversed(axes[1:]):
        fewer = [axis for axis in axes if axis != name]
        if len(frame[fewer].drop_duplicates()) == count:
            axes = fewer
    return axes


def text_numbers(entries: Sequence[dict[str, Any]], tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The gains that the paper's text states, with ours.

    Returns one row per entry: ``name``, ``place``, ``experiment``, ``reported`` (points), ``ours`` (the gain averaged
    over its datasets, or over those that stand in for them; missing where runs are missing), ``datasets`` (which),
    ``paper_data`` (whether all are the paper's).
    """
    rows = []
    for entry in entries:
        table = tables.get(entry["experiment"])
        there = [] if table is None else list(table["dataset"].dropna().unique())
        mine = [name for name in entry["datasets"] if name in there]
        whole = len(mine) == len(entry["datasets"])
        gains = {} if table is None else {name: _gain(table, entry, name) for name in (mine or there)}
        known = [gain for gain in gains.values() if np.isfinite(gain)]
        ours = float(np.mean(known)) if known and len(known) == len(gains) and (whole or not mine) else np.nan
        said = {key: entry[key] for key in ("name", "place", "experiment", "reported")}
        rows.append(said | {"ours": ours, "datasets": ", ".join(gains), "paper_data": whole})
    return pd.DataFrame(rows)


def _gain(table: pd.DataFrame, entry: dict[str, Any], dataset: str) -> float:
    of, against = (own(table[match(table, entry[side] | {"dataset": dataset})]) for side in ("of", "against"))
    return float(of["test_accuracy"].mean() - against["test_accuracy"].mean())


def all_numbers(
    tables: Mapping[str, pd.DataFrame],
    reported: Mapping[str, Sequence[dict[str, Any]]],
    text: pd.DataFrame,
    claims: Sequence[dict[str, Any]],
    verdicts: pd.DataFrame | None,
) -> list[Number]:
    """All numbers: of each experiment's arms, of the text, of the verdicts (None: no claim is tested), and those that
    the paper reports.

    Raises ValueError where two different numbers would have the same macro.
    """
    found = [n for name, frame in tables.items() if "test_accuracy" in frame for n in numbers_of(name, frame)]
    for row in text.to_dict("records"):
        name, about = row["name"], f"text: {row['name']}, points"
        if np.isfinite(row["ours"]) and row["paper_data"]:  # the macro names the paper's datasets
            found.append(Number(macro_name("text", name), number(row["ours"]), about))
        found.append(Number(macro_name("paper", name), number(row["reported"]), f"{about}, as the paper reports"))
    for name, entries in reported.items():
        for entry in entries:
            arm = [entry[axis] for axis in ARM if axis in entry]
            words = ", ".join(printed(value, {}) for value in arm)
            for key in ("mean", "variance", "plus_minus"):
                if entry.get(key) is not None:
                    about = f"{name}: {words}, {key} as the paper reports ({entry['place']})"
                    found.append(Number(macro_name("paper", name, *arm, key), as_printed(entry[key]), about))
    for claim in [] if verdicts is None else summary(claims, verdicts):
        macro = macro_name("claim", claim["claim"])
        found.append(Number(macro, claim["verdict"], claim["statement"]))
        if tested := [row["p_holm"] for row in claim["rows"] if np.isfinite(row["p_holm"])]:
            found.append(Number(f"{macro}P", p_text(max(tested)), "largest corrected p of its comparisons made"))
    seen: dict[str, Number] = {}
    for one in found:
        if seen.setdefault(one.macro, one) != one:
            raise ValueError(f"two numbers would be \\dqv{one.macro}: {seen[one.macro].about}; {one.about}")
    return list(seen.values())


def numbers_tex(numbers: Sequence[Number], note: str) -> str:
    r"""The file's text: \newcommand lines, each with a comment. \input it in the preamble; use \dqvFigFourA...{}."""
    lines = [f"% {note}".replace("\n", " "), "% \\input this file before \\begin{document}; one macro a number."]
    for one in numbers:
        value = tex_escape(one.value).replace(r"\textless{}", "$<$")
        lines.append(rf"\newcommand{{\dqv{one.macro}}}{{{value}}} % {one.about}")
    return "\n".join([*lines, ""])
