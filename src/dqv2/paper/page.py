"""One static HTML page with everything: figures, tables, claims, runs; no server, no script."""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from dqv2.paper.arms import printed, reported
from dqv2.paper.claims import summary
from dqv2.paper.numbers import arm_axes
from dqv2.paper.reported import as_printed
from dqv2.paper.stats import binomial_error, crossed, predicted, summarise
from dqv2.paper.style import COLUMN, DPI
from dqv2.paper.wording import CLAIMED, PAPER, PAPER_RULES, RULES, number, told, told_paper, with_effect

NAMES = {"tobias_size": "Tobias size", "mix": "Mixup/CutMix", "trainer": "training"}  # else the column's own


def heading(name: str) -> str:
    """An experiment's name as a heading: "fig4a" -> "Figure 4a", "tableC" -> "Table C", "my_thing" -> "My thing"."""
    found = re.fullmatch(r"(fig|table)(\d+[a-z]?|[A-Z])", name)
    if found:
        return f"{'Figure' if found[1] == 'fig' else 'Table'} {found[2]}"
    return (name[0].upper() + name[1:]).replace("_", " ")


def build_page(
    page: Path,
    *,
    head: Mapping[str, Any],
    experiments: Sequence[Mapping[str, Any]],
    claims: Sequence[dict[str, Any]],
    verdicts: pd.DataFrame | None,
    text: pd.DataFrame,
    made: Mapping[str, Any],
) -> str:
    """The page's HTML. Pictures are embedded, all other files are linked relative to ``page``.

    Args:
        page: the file that it will be written to.
        head: ``run``, ``label`` (or None), ``note``, ``files`` ({what: path}).
        experiments: one a section: ``name``, ``about``, ``note``, ``pictures`` (PNG paths), ``printed`` (a Markdown
            table to show, or None), ``files`` ({what: path}), ``frame`` (its tidy table, or None), ``reported`` (the
            paper's values).
        claims, verdicts: as ``judge`` takes and gives them; without verdicts (None) the page has no claims, and of the
            paper's text nothing.
        text: as ``text_numbers`` gives it.
        made: ``jobs``, how many are behind it, and ``summary``, what they were done with ({what: [value, ...]}).
    """
    folder = Path(page).parent

    def link(path: Any) -> str:
        return Path(os.path.relpath(path, folder)).as_posix()

    templates = jinja2.PackageLoader("dqv2.paper", "templates")
    strict = {"autoescape": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(loader=templates, trim_blocks=True, lstrip_blocks=True, finalize=_said, **strict)
    environment.filters |= {"number": number, "as_printed": as_printed, "link": link}
    environment.filters["slug"] = lambda verdict: verdict.replace(" ", "-")
    found = summary(claims, verdicts) if verdicts is not None and len(verdicts) else []
    shown = {experiment["name"] for experiment in experiments}
    for claim in found:
        for row in claim["rows"]:
            place = row["experiment"].removesuffix("_jobs")
            row |= {"told": told(row), "section": place if place in shown else None}
        claim["reported"] = [told_paper(row) for row in with_effect(claim["rows"])]
    sections = [_section(experiment, found) for experiment in experiments]
    return environment.get_template("page.html.j2").render(
        head=head,
        sections=sections,
        tests_claims=verdicts is not None,
        claims=found,
        rules=RULES,
        paper_rules=PAPER_RULES,
        columns=CLAIMED,
        paper_columns=PAPER,
        text=text.to_dict("records"),
        made=made,
        heading=heading,
    )


def _said(value: Any) -> Any:
    """A value as printed: empty if it is missing."""
    return "" if value is None or value is pd.NA or value is pd.NaT or value != value else value


def _section(experiment: Mapping[str, Any], claims: Sequence[dict[str, Any]]) -> dict[str, Any]:
    name, frame = experiment["name"], experiment["frame"]
    return {key: experiment[key] for key in ("about", "note", "files")} | {
        "id": name,
        "title": heading(name),
        "pictures": [_picture(path) for path in experiment["pictures"]],
        "grid": _grid(experiment["printed"]) if experiment["printed"] else [],
        "arms": [] if frame is None or "test_accuracy" not in frame else _arms(frame, experiment["reported"]),
        "claims": [claim for claim in claims if any(row["experiment"] == name for row in claim["rows"])],
    }


def _arms(frame: pd.DataFrame, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each arm: its name, our numbers, the paper's, and its runs (seed, accuracy, file)."""
    axes = [axis for axis in arm_axes(frame) if axis not in ("dataset", "method")]
    keys = ["dataset", *(["label"] if "label" in frame else []), *axes]
    labels = frame["label"].nunique() if "label" in frame else 1
    # A distinct label already identifies the arm; found once, as it looks through the whole table
    names = [name for name in axes if labels == 1 or frame.groupby("label")[name].nunique(dropna=False).max() > 1]
    found = []
    for _, rows in frame.groupby(keys, sort=False, dropna=False, observed=True):
        data = str(rows["dataset_title" if "dataset_title" in rows else "dataset"].iloc[0])
        arm = {"name": _arm_name(rows, names), "data": data, "runs": rows.sort_values("seed").to_dict("records")}
        numbers = summarise(rows, [], "test_accuracy").iloc[0].to_dict()
        numbers |= dict.fromkeys(("sd", "variance", "ci95"), float("nan")) if crossed(rows) else {}
        numbers |= dict(zip(("low", "high"), predicted(numbers["n"], numbers["mean"], numbers["sd"]), strict=True))
        images = float(rows["n_test"].astype("float64").mean()) if "n_test" in rows else float("nan")
        numbers["test_set_error"] = binomial_error(numbers["mean"], images)
        found.append(arm | numbers | {"paper": next(reported(rows, {"reported": entries}), {})})
    return found


def _arm_name(rows: pd.DataFrame, axes: Sequence[str]) -> str:
    parts = [str(rows["label"].iloc[0])] if "label" in rows else []
    for name in axes:
        value = rows[name].iloc[0]
        if not pd.isna(value):
            parts.append(f"{NAMES.get(name, name.replace('_', ' '))} {printed(value, {})}")
    return ", ".join(parts)


def _picture(path: Any) -> dict[str, Any]:
    """A PNG inside the page, as wide as it is in print and a fifth more; ``wide`` where it fills a page."""
    data = Path(path).read_bytes()
    inches = int.from_bytes(data[16:20], "big") / DPI  # the width in a PNG's header
    return {
        "source": "data:image/png;base64," + base64.b64encode(data).decode("ascii"),
        "width": round(inches * 96 * 1.2),
        "wide": inches > COLUMN * 1.2,
    }


def _grid(path: Any) -> list[list[tuple[str, bool]]]:
    """The printed table of a Markdown file: rows of (text, bold), the head first."""
    lines = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    escape = re.compile(r"\\([\\|*_`<])")
    return [
        [(escape.sub(r"\1", cell.removeprefix("**").removesuffix("**")), cell.startswith("**")) for cell in row]
        for row in rows
    ]
