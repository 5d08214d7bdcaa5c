"""Result tables: the numbers as CSV, the printed table as Markdown and LaTeX.

Keys of the spec:

    row, column         columns of the tidy table. Unless set, the row is the printed name of the method (or mask, or
                        variant of images), the column ``keep_ratio``, or ``dataset`` where only that has several values
    y                   ``test_accuracy`` unless set
    where, names        as in ``figures``; ``percent`` lists the columns whose shares print as % (keep_ratio)
    order, column_order    values of the rows and the columns in the order wanted
    better              "higher" (unless set), "lower" or None: which mean is bold
    decimals            2 unless set
    caption, label      the caption's first words; "demo" and the like, put before them
    beside              further columns of the tidy table whose means stand beside: selection_seconds, ...
    row_title           the head of the first column, "Method" unless set
    reported            the paper's values, as in ``figures``
    partial             runs may be missing: a table without one has its head alone
"""

from pathlib import Path

import numpy as np
import pandas as pd

from dqv2.paper.arms import NothingYet, Spec, match, ordered, printed, reported, select
from dqv2.paper.collect import write_csv
from dqv2.paper.stats import require_columns, require_one_row_per_seed, summarise
from dqv2.runtime.files import atomic_path

BESIDE = {"selection_seconds": "Selection, s", "early_seconds": "of it training, s", "train_seconds": "Training, s"}
Cell = tuple[str, bool]  # the text, and whether it is bold
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
}
LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"}
LATEX |= {
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "–": "--",
    "\u00a0": "~",
    "\n": " ",
}


def results_table(frame: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """The numbers of a table, one line a cell of it.

    Returns the row's and the column's value, ``mean``, ``sd``, ``variance``, ``n``, ``ci95`` (in y's unit),
    ``coreset_size`` (images; missing where unknown or unequal), ``best`` (bool, the best mean of its column
    as printed) and, where the spec has reported values, ``reported``, ``reported_sd`` and ``reported_plus_minus``
    (what the
    paper prints after ± without saying of what).

    Raises:
        ValueError: a missing column, nothing to print, or a mean that would mix different arms.
    """
    spec = _filled(frame, spec)
    by = [name for name in (spec["row"], spec["column"]) if name]
    try:
        frame, _ = select(frame, {**spec, "x": spec["row"], "panel": spec["column"]})
    except NothingYet:
        return pd.DataFrame(columns=[*by, "mean", "sd", "variance", "n", "ci95", "best"])
    require_one_row_per_seed(frame, by)
    table = summarise(frame, by, spec["y"])[[*by, "mean", "sd", "variance", "n", "ci95"]]
    if "coreset_size" in frame:
        sizes = frame.groupby(by, sort=False, observed=True)["coreset_size"].agg(["min", "max"]).reset_index()
        same = sizes["min"].eq(sizes["max"]).fillna(False)
        table["coreset_size"] = sizes["max"].where(same.astype(bool)).astype("Int64")
    for name in spec.get("beside", []):
        require_columns(frame, [name])
        means = frame.groupby(by, sort=False, observed=True)[name].mean().rename(name)
        table = table.merge(means.reset_index(), on=by, how="left")
    keys = [table[by[0]].map({v: i for i, v in enumerate(ordered(frame, by[0], spec.get("order")))})]
    if spec["column"]:
        keys.append(table[by[1]].map({v: i for i, v in enumerate(ordered(frame, by[1], spec.get("column_order")))}))
    table = table.iloc[np.lexsort([key.to_numpy() for key in reversed(keys)])].reset_index(drop=True)
    table["best"] = _best(table, spec)
    if spec.get("reported"):
        arms = table[by].to_dict("records")
        found = [_reported(frame[match(frame, arm)], spec) for arm in arms]
        table["reported"], table["reported_sd"], table["reported_plus_minus"] = zip(*found, strict=True)
    return table


def write_table(frame: pd.DataFrame, spec: Spec, note: str, csv: Path, md: Path, tex: Path) -> None:
    """Write the numbers to ``csv`` and the printed table to ``md`` and ``tex`` (needs booktabs)."""
    spec = _filled(frame, spec)
    table = results_table(frame, spec)
    write_csv(table, csv)
    head, body, foot, paper = _grid(table, spec)
    lead = f"{spec['label']}: " if spec.get("label") else ""
    spread = "Mean ± standard deviation over n seeds"
    spread += "; best mean of a column in bold" if table["best"].any() else ""
    if "reported_plus_minus" in table and table["reported_plus_minus"].notna().any():
        spread += ". The paper's ± as it prints it; it does not say of what"
    caption = lead + ". ".join(part.rstrip(".") for part in (spec.get("caption", ""), spread, note) if part) + "."
    _write(Path(md), _markdown(head, body, foot, paper, caption))
    _write(Path(tex), _latex(head, body, foot, paper, caption))


def _filled(frame: pd.DataFrame, spec: Spec) -> Spec:
    names = [name for name in ("label", "mask_title", "variant_title") if name in frame]
    row = {"row": (names or ["label"])[0]}
    spec = row | {"y": "test_accuracy", "better": "higher", "percent": ["keep_ratio"]} | spec
    if "column" not in spec:
        seen = frame[match(frame, spec.get("where", {}))]
        present = [name for name in ("keep_ratio", "dataset") if name in seen and name not in spec["row"]]
        several = [name for name in present if seen[name].nunique() > 1]
        spec["column"] = (several or present or [None])[0]
    if spec["better"] not in ("higher", "lower", None):
        raise ValueError(f"better must be 'higher', 'lower' or null, got {spec['better']!r}")
    return spec


def _best(table: pd.DataFrame, spec: Spec) -> pd.Series:
    means = table["mean"].round(spec.get("decimals", 2))  # what prints alike is equally good
    groups = means.groupby(table[spec["column"]]) if spec["column"] else means.groupby(lambda _: 0)
    if spec["better"] is None:
        return pd.Series(False, index=table.index)
    best = means.eq(groups.transform("max" if spec["better"] == "higher" else "min"))
    return best & (groups.transform("size") > 1)


def _reported(rows: pd.DataFrame, spec: Spec) -> tuple[float, float, float]:
    for entry in reported(rows, spec):
        sd = entry.get("sd") if entry.get("variance") is None else entry["variance"] ** 0.5
        numbers = (entry.get("mean"), sd, entry.get("plus_minus"))
        return tuple(float("nan") if number is None else float(number) for number in numbers)
    return (float("nan"),) * 3


def _grid(table: pd.DataFrame, spec: Spec) -> tuple[list[str], list[list[Cell]], list[str] | None, int]:
    """The printed table: head, rows, a last row of coreset sizes, the number of the paper's columns."""
    row, column, places = spec["row"], spec["column"], spec.get("decimals", 2)
    columns = list(table[column].unique()) if column else [None]
    if column:
        columns = [v for v in ordered(table, column, spec.get("column_order")) if v in columns]
    head = [spec.get("row_title", "Method")]
    head += [printed(v, spec, column) if column else spec.get("ylabel", spec["y"]) for v in columns]
    if "reported" in table:
        table = table.assign(reported_spread=table["reported_sd"].fillna(table["reported_plus_minus"]))
    known = table.loc[table["reported"].notna()] if "reported" in table else table.iloc[:0]
    paper = [v for v in columns if _is(known, column, v).any()]
    beside = spec.get("beside", [])
    head += [BESIDE.get(name, name) for name in beside]
    head += [printed(v, spec, column) if column else "mean" for v in paper] + ["n"]

    def cells(rows: pd.DataFrame, mean: str, sd: str, columns: list) -> list[Cell]:
        found = [rows[_is(rows, column, v)] for v in columns]
        bold = mean == "mean"
        texts = [_pm(one[mean].iloc[0], one[sd].iloc[0], places) if len(one) else "" for one in found]
        return [(text, bold and bool(one["best"].any())) for text, one in zip(texts, found, strict=True)]

    body = []
    for value in table[row].unique():
        mine = table[table[row] == value]
        line = [(printed(value, spec, row), False), *cells(mine, "mean", "sd", columns)]
        line += [(f"{mine[name].mean():.1f}", False) for name in beside]
        line += cells(mine, "reported", "reported_spread", paper)
        body.append([*line, (_range(mine["n"]), False)])
    foot = None
    if "coreset_size" in table and table["coreset_size"].notna().any():
        foot = [
            "Coreset size",
            *(_range(table.loc[_is(table, column, v), "coreset_size"]) for v in columns),
        ]
        foot += [""] * (len(paper) + 1 + len(beside))
    return head, body, foot, len(paper)


def _is(table: pd.DataFrame, column: str | None, value: object) -> pd.Series:
    return table[column] == value if column else pd.Series(True, index=table.index)


def _pm(mean: float, sd: float, places: int) -> str:
    if np.isnan(mean):
        return ""
    return f"{mean:.{places}f}" + ("" if np.isnan(sd) else f" ± {sd:.{places}f}")


def _range(values: pd.Series) -> str:
    values = values.dropna().astype(int)
    if values.empty:
        return ""
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _markdown(head: list[str], body: list, foot: list[str] | None, paper: int, caption: str) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    ours = len(head) - 1 - paper
    head = [f"{text} (paper)" if ours <= i < len(head) - 1 else text for i, text in enumerate(head)]
    rows = [[f"**{_md(text)}**" if bold else _md(text) for text, bold in cells] for cells in body]
    rows += [[_md(text) for text in foot]] if foot else []
    rule = "|:--|" + "--:|" * (len(head) - 1)
    return "\n".join([line([_md(text) for text in head]), rule, *map(line, rows), "", _md(caption), ""])


def _md(text: str) -> str:
    for mark in "\\|*_`<":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")


def _texts(cells: list[Cell]) -> list[str]:
    return [text for text, _ in cells]


def tex_escape(text: str) -> str:
    """``text`` as LaTeX prints it literally: special characters escaped, ±, · and × in mathematics."""
    return "".join(LATEX.get(character, character) for character in text)


def _latex(head: list[str], body: list, foot: list[str] | None, paper: int, caption: str) -> str:
    rows = [[rf"\textbf{{{tex_escape(text)}}}" if bold else tex_escape(text) for text, bold in cells] for cells in body]
    letters = sum(max(len(text) for text in column) for column in zip(*map(_texts, body), strict=True))
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


def _write(file: Path, text: str) -> None:
    with atomic_path(file) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")
