"""Result tables: the numbers as CSV, the printed table as Markdown and LaTeX.

A spec has the keys of ``dqv2.config.experiments.Table`` that were set, and ``label``, ``percent``, ``reported`` and
``partial`` as in ``figures``: a partial table without a run has its head alone.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dqv2.paper.arms import NothingYet, Spec, match, ordered, printed, reported, require_apart, select
from dqv2.paper.collect import write_csv, write_text
from dqv2.paper.compare import ALPHA, holm, means
from dqv2.paper.measures import measure, unnamed
from dqv2.paper.reported import as_printed
from dqv2.paper.stats import (
    SHARED,
    binomial_error,
    crossed,
    decimals_of,
    numbers,
    plus_minus,
    predicted,
    require_one_row_per_seed,
    span,
    summarise,
)

BESIDE = {"selection_seconds": "Selection, s", "early_seconds": "of it training, s", "train_seconds": "Training, s"}
BESIDE |= {"mask_seconds": "Mask, s"}
NO_INTERVAL = "[none]"  # after a lead that has none; the caption says why
Cell = tuple[str, bool]  # the text, and whether it is bold
LATEX = {mark: f"\\{mark}" for mark in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
LATEX |= {"^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
LATEX |= {"±": r"$\pm$", "·": r"$\cdot$", "×": r"$\times$", "−": "$-$", "–": "--", "\u00a0": "~", "\n": " "}


def results_table(frame: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """The numbers of a table, one line per cell.

    Returns the row's and the column's value, ``mean``, ``sd``, ``variance``, ``n``, ``ci95`` (in y's unit),
    ``coreset_size`` (images; missing where unknown or unequal), ``best`` (bool, the best mean of its column as
    printed), ``test_set_error`` (see ``binomial_error``; where the number of test images is known) and, where the spec
    has reported values, ``reported``, ``reported_sd``, ``reported_plus_minus`` (what the paper prints after ± without
    explaining it), ``reported_source`` where it copies another paper's value, ``predicted_low`` and ``predicted_high``
    (Student's 95 % prediction interval of ours for the mean of five new seeds, which should contain the reported one).
    Runs that share coresets (see ``crossed``) have no interval and no p.

    For each row that ``against`` names, ``minus NAME`` is the lead over it in the same column (y's unit), with
    `` low`` and `` high`` (95 % interval), `` p`` (two-sided), `` p_holm`` (corrected for all leads over it) and
    `` paired`` (seeds that both have; 0: Welch's test) after the name; see ``compare.means``. Where one has no interval
    and no p, `` lacks`` says why, in words.

    Raises ValueError for a missing column, nothing to print, or a mean that would mix different arms.
    """
    spec = filled(frame, spec)
    by = [name for name in (spec["row"], spec["column"]) if name]
    if spec["row"] == spec["column"]:
        raise ValueError(f"row and column are both {spec['row']}: choose another, or column: null")
    try:
        frame, _ = select(frame, {**spec, "x": spec["row"], "panel": spec["column"]})
    except NothingYet:
        return pd.DataFrame(columns=[*by, "mean", "sd", "variance", "n", "ci95", "best"])
    require_one_row_per_seed(frame, by)
    table = summarise(frame, by, spec["y"])[[*by, "mean", "sd", "variance", "n", "ci95"]]
    arms = frame.groupby(by, sort=False, observed=True)  # in the order of `summarise`
    if crossed(frame):
        table["ci95"] = np.nan
    if "coreset_size" in frame:
        sizes = arms["coreset_size"].agg(["min", "max"]).reset_index()
        same = sizes["min"].eq(sizes["max"]).fillna(False)
        table["coreset_size"] = sizes["max"].where(same.astype(bool)).astype("Int64")
    for name in spec.get("beside", []):
        numbers(frame, name)
        table[name] = arms[name].mean().to_numpy()
    if spec["y"] == "test_accuracy" and "n_test" in frame:
        images = arms["n_test"].mean().to_numpy("float64", na_value=np.nan)
        table["test_set_error"] = binomial_error(table["mean"].to_numpy(), images)
    orders = {name: ordered(frame, name, spec.get("order") if name == spec["row"] else None) for name in by}
    for name in by:
        require_apart(frame, name, spec)
    places = {name: {value: i for i, value in enumerate(order)} for name, order in orders.items()}
    table = table.sort_values(by, key=lambda column: column.map(places[column.name]), ignore_index=True)
    table["best"] = _best(table, spec)
    if spec.get("reported"):
        runs = dict(iter(arms))
        theirs = [next(reported(runs[arm], spec), {}) for arm in table[by].itertuples(index=False, name=None)]
        theirs = pd.DataFrame(theirs, index=table.index).reindex(columns=["mean", "sd", "plus_minus", "source"])
        table[["reported", "reported_sd", "reported_plus_minus"]] = theirs.iloc[:, :3].astype("float64").to_numpy()
        if theirs["source"].notna().any():
            table["reported_source"] = theirs["source"]
        sds = table["sd"] * np.nan if crossed(frame) else table["sd"]
        ours = [predicted(n, mean, sd) for n, mean, sd in zip(table["n"], table["mean"], sds, strict=True)]
        table[["predicted_low", "predicted_high"]] = np.array(ours, dtype="float64").reshape(-1, 2)
    for name in spec.get("against", []):
        table = table.join(_leads(table, by, dict(iter(arms)), name, spec))
    return table


def _leads(table: pd.DataFrame, by: list[str], runs: dict[Any, pd.DataFrame], name: str, spec: Spec) -> pd.DataFrame:
    """The leads of all rows over the one printed as ``name``, column by column; missing for that row itself, and where
    it has no runs. ``runs``: of each arm."""
    values = {arm: rows.set_index("seed")[spec["y"]] for arm, rows in runs.items()}
    arms = list(table[by].itertuples(index=False, name=None))
    rows = [printed(arm[0], spec, by[0]) for arm in arms]
    if name not in rows:
        raise ValueError(f"against: the table has no row {name!r}; it has {', '.join(dict.fromkeys(rows))}")
    others = {arm[1:]: arm for arm, row in zip(arms, rows, strict=True) if row == name}
    found, lacks = [], []
    for arm in arms:
        other = others.get(arm[1:], arm)
        lead = means(values[arm], values[other]) if other != arm else None
        if lead and (crossed(runs[arm]) or crossed(runs[other])):
            lead = lead.untested(SHARED)
        found.append((lead.effect, lead.low, lead.high, lead.p, lead.n_paired) if lead else (np.nan,) * 5)
        lacks.append(lead.lacks if lead else "")
    leads = pd.DataFrame(found, columns=["", " low", " high", " p", " paired"], index=table.index)
    made = leads[""].notna()
    leads.insert(4, " p_holm", pd.Series(holm(leads.loc[made, " p"]), index=leads.index[made]))
    if any(lacks):
        leads[" lacks"] = lacks
    return leads.add_prefix(f"minus {name}")


def write_table(frame: pd.DataFrame, spec: Spec, note: str, csv: Path, md: Path, tex: Path) -> None:
    """Write the numbers to ``csv`` and the printed table to ``md`` and ``tex`` (needs booktabs)."""
    spec = filled(frame, spec)
    table = results_table(frame, spec)
    write_csv(table, csv)
    head, body, foot, paper = _grid(table, spec)
    lead = f"{spec['label']}: " if spec.get("label") else ""
    spread = "Mean ± standard deviation over n seeds" if table["n"].gt(1).any() else "One seed"
    if shown := unnamed(spec["y"], spec.get("caption", "")):
        spread = f"{shown}: {spread[0].lower()}{spread[1:]}"
    spread += "; best mean of a column in bold" if table["best"].any() else ""
    if spec.get("against"):
        made = [table[table[f"minus {name} low"].notna()] for name in spec["against"]]
        fewer = table["n"].nunique() > 1 or any(
            (rows[f"minus {name} paired"] < rows["n"]).any() for name, rows in zip(spec["against"], made, strict=True)
        )
        how = "the seeds that both have, Welch's t where these are fewer than two" if fewer else "seed"
        spread += (
            f". Leads (−) with their 95 % interval, paired by {how}; * where p, two-sided and corrected by Holm for "
            "the leads over the same row, is below 0.05"
        )
        lacks = [table[f"minus {name} lacks"] for name in spec["against"] if f"minus {name} lacks" in table]
        if why := sorted({reason for column in lacks for reason in column if reason}):
            spread += f". {NO_INTERVAL}: no interval and no p ({'; '.join(why)})"
    if "reported_plus_minus" in table and table["reported_plus_minus"].notna().any():
        spread += ". The paper's ± as it prints it; it does not say of what"
    if "reported_source" in table:
        for source, rows in table.groupby("reported_source"):
            names = ", ".join(printed(value, spec, spec["row"]) for value in rows[spec["row"]].unique())
            spread += f". The paper's values of {names} are those of {source}"
    caption = lead + ". ".join(part.rstrip(".") for part in (spec.get("caption", ""), spread, note) if part) + "."
    write_text(_markdown(head, body, foot, paper, caption), md)
    write_text(_latex(head, body, foot, paper, caption), tex)


def filled(frame: pd.DataFrame, spec: Spec) -> Spec:
    """The spec with what it leaves open filled in: row, column, y, better, percent."""
    row = next((name for name in ("label", "mask_title", "variant_title") if name in frame), "label")
    spec = {"row": row, "y": "test_accuracy", "better": "higher", "percent": ["keep_ratio"]} | spec
    if "column" not in spec:
        seen = frame[match(frame, spec.get("where", {}))]
        present = [name for name in ("keep_ratio", "dataset") if name in seen and name not in spec["row"]]
        several = [name for name in present if seen[name].nunique() > 1]
        spec["column"] = (several or present or [None])[0]
    return spec


def _best(table: pd.DataFrame, spec: Spec) -> pd.Series:
    """Whether a mean is the best of its column, or rounds to it at the coarser of the two cells' decimals."""
    best = pd.Series(False, index=table.index)
    places = table["sd"].map(lambda sd: spec.get("decimals", decimals_of(sd)))
    for _, column in table["mean"].groupby(table[spec["column"]] if spec["column"] else np.zeros(len(table))):
        if spec["better"] and len(column) > 1:
            top = column.idxmax() if spec["better"] == "higher" else column.idxmin()
            for cell, mean in column.items():
                coarse = int(min(places[cell], places[top]))
                best[cell] = f"{mean:z.{coarse}f}" == f"{column[top]:z.{coarse}f}"
    return best


def _grid(table: pd.DataFrame, spec: Spec) -> tuple[list[str], list[list[Cell]], list[str] | None, int]:
    """The printed table: head, rows, a last row of coreset sizes, the number of the paper's columns."""
    row, column = spec["row"], spec["column"]
    columns = ordered(table, column, None) if column else [None]
    head = [spec.get("row_title", "Method")]
    head += [printed(v, spec, column) if column else measure(spec["y"]) for v in columns]
    known = table.loc[table["reported"].notna()] if "reported" in table else table.iloc[:0]
    paper = [v for v in columns if _is(known, column, v).any()]
    beside = spec.get("beside", [])
    leads = [(name, v) for name in spec.get("against", []) for v in columns]
    head += [f"{printed(v, spec, column)} − {name}" if len(columns) > 1 else f"− {name}" for name, v in leads]
    head += [BESIDE.get(name, name) for name in beside]
    head += [printed(v, spec, column) if column else "mean" for v in paper] + ["n"]

    def cells(rows: pd.DataFrame) -> list[Cell]:
        found = [rows[_is(rows, column, v)] for v in columns]
        decimals = spec.get("decimals")
        texts = [plus_minus(one["mean"].iloc[0], one["sd"].iloc[0], decimals) if len(one) else "" for one in found]
        return [(text, bool(one["best"].any())) for text, one in zip(texts, found, strict=True)]

    body = []
    for value in table[row].unique():
        mine = table[table[row] == value]
        line = [(printed(value, spec, row), False), *cells(mine)]
        line += [(_lead(mine[_is(mine, column, v)], name), False) for name, v in leads]
        line += [("" if np.isnan(mean) else f"{mean:z.1f}", False) for mean in mine[beside].mean()]
        line += [(_theirs(mine[_is(mine, column, v)]), False) for v in paper]
        body.append([*line, (span(mine["n"]), False)])
    foot = None
    if "coreset_size" in table and table["coreset_size"].notna().any():
        sizes = [span(table.loc[_is(table, column, v), "coreset_size"]) for v in columns]
        foot = ["Coreset size", *sizes, *[""] * (len(paper) + 1 + len(beside) + len(leads))]
    return head, body, foot, len(paper)


def _theirs(cell: pd.DataFrame) -> str:
    """The paper's value of a cell as the paper prints it, the root of its variance with two decimals; "" if none."""
    mean, sd, spread = cell[["reported", "reported_sd", "reported_plus_minus"]].iloc[0] if len(cell) else [np.nan] * 3
    if np.isnan(mean):
        return ""
    if not np.isnan(sd):
        return f"{as_printed(mean)} ± {sd:.2f}"
    return as_printed(mean) + ("" if np.isnan(spread) else f" ± {as_printed(spread)}")


def _lead(cell: pd.DataFrame, name: str) -> str:
    """A lead as printed, "+1.2 [0.4, 2.0]", with a star where its p, corrected, is below 0.05; "+1.2 [none]"."""
    if cell.empty or np.isnan(cell[f"minus {name}"].iloc[0]):
        return ""
    lead, low, high, p = (float(cell[f"minus {name}{end}"].iloc[0]) for end in ("", " low", " high", " p_holm"))
    interval = NO_INTERVAL if np.isnan(low) else f"[{low:z.1f}, {high:z.1f}]"
    return f"{lead:+z.1f} {interval}" + (" *" if p < ALPHA else "")


def _is(table: pd.DataFrame, column: str | None, value: object) -> pd.Series:
    return table[column] == value if column else pd.Series(True, index=table.index)


def _markdown(head: list[str], body: list, foot: list[str] | None, paper: int, caption: str) -> str:
    ours = len(head) - 1 - paper
    head = [f"{text} (paper)" if ours <= i < len(head) - 1 else text for i, text in enumerate(head)]
    rows = [[f"**{md_escape(text)}**" if bold else md_escape(text) for text, bold in cells] for cells in body]
    rows += [list(map(md_escape, foot))] if foot else []
    rule = "|:--|" + "--:|" * (len(head) - 1)
    return "\n".join([md_row(map(md_escape, head)), rule, *map(md_row, rows), "", md_escape(caption), ""])


def md_row(cells: Iterable[str]) -> str:
    """A row of a Markdown table, of cells that are escaped already."""
    return f"| {' | '.join(cells)} |"


def md_escape(text: str) -> str:
    """Escape ``text`` for a cell of a Markdown table, on one line."""
    for mark in "\\|*_`<":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")


def tex_escape(text: str) -> str:
    r"""Escape ``text`` for LaTeX: special characters escaped, ±, ·, × and − in math mode.

    What begins with [ or * is shielded: as a row's first cell it would be an argument of the \\ before it.
    """
    return ("{}" if text.startswith(("[", "*")) else "") + text.translate(str.maketrans(LATEX))


def _latex(head: list[str], body: list, foot: list[str] | None, paper: int, caption: str) -> str:
    rows = [[rf"\textbf{{{tex_escape(text)}}}" if bold else tex_escape(text) for text, bold in cells] for cells in body]
    letters = sum(max(len(text) for text, _ in column) for column in zip(*body, strict=True))
    wide = letters > 50
    kind, size = "table*" if wide else "table", "footnotesize" if letters < 85 else "scriptsize"
    ours, group = len(head) - 1 - paper, []
    if paper:
        group = [
            rf"    & \multicolumn{{{ours - 1}}}{{c}}{{Ours}} & \multicolumn{{{paper}}}{{c}}{{Paper}} & \\",
            rf"    \cmidrule(lr){{2-{ours}}} \cmidrule(lr){{{ours + 1}-{ours + paper}}}",
        ]
    lines = [" & ".join(cells) + r" \\" for cells in rows]
    lines += [r"\midrule", " & ".join(map(tex_escape, foot)) + r" \\"] if foot else []
    return "\n".join([
        r"% \input this file in a document that loads \usepackage{booktabs}.",
        rf"\begin{{{kind}}}[t]",
        r"  \centering" + (rf"\{size}\setlength{{\tabcolsep}}{{3pt}}" if wide else ""),
        rf"  \caption{{{tex_escape(caption)}}}",
        rf"  \begin{{tabular}}{{@{{}}l{'r' * (len(head) - 1)}@{{}}}}",
        r"    \toprule",
        *group,
        "    " + " & ".join(map(tex_escape, head)) + r" \\",
        r"    \midrule",
        *(f"    {line}" for line in lines),
        r"    \bottomrule",
        r"  \end{tabular}",
        rf"\end{{{kind}}}",
        "",
    ])  # fmt: skip
