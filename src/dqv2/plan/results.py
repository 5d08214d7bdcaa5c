"""docs/results.md: what was measured on real images, from the published runs alone; no number in it is typed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dqv2.paper.claims import NOT_TESTED, judge, summary
from dqv2.paper.collect import read_csv
from dqv2.paper.page import heading
from dqv2.paper.reported import read_claims, read_questions
from dqv2.paper.stats import plus_minus
from dqv2.paper.tables import md_escape, results_table
from dqv2.paper.wording import CLAIMED, told
from dqv2.plan.plan import Plan
from dqv2.plan.publish import published_plan, published_records
from dqv2.runtime.record import summary as made_with
from dqv2.runtime.sentences import counted

HEAD = """# Results

What was measured on real images. `make figures` makes this page and all figures from the small files in `published/`,
without torch and in less than a minute; no number in it is typed by hand. `dqv2 compare results/<run>` holds a run of
yours against the published one.

Means are over seeds, ± is the standard deviation of the seeds; a lead is paired by seed, with Student's 95 % interval.
A question or claim is **supported** where p, one-sided and corrected by Holm for all questions (or the paper's ten
claims), is below 0.05, **contradicted** where p of the opposite is, which is corrected for the comparisons of the same
claim too, **inconclusive** where neither is, which is no evidence that there is no difference, **not tested** where
there were no such runs ([claims.md](claims.md)).
"""

ADVICE = """Each method's lead over a random coreset is tested two-sided here and corrected by Holm for all leads of its
experiment: a stricter test than that of questions and claims, which are fewer and in one direction. It holds for the
schedule and the keep ratios of that experiment alone."""


def results_page(folders: Sequence[Path], page: Path = Path("docs/results.md")) -> str:
    """The page's text, of these published runs.

    folders: published/<run>. page: where it will lie, for its links.
    """
    parts = [HEAD]
    for folder in folders:
        plan = published_plan(folder)
        parts.append("\n".join(_run(folder, plan, page)))
    if not folders:
        parts.append("No run is published yet.\n")
    return "\n".join(parts)


def _run(folder: Path, plan: Plan, page: Path) -> Iterator[str]:
    tables = {name: read_csv(Path(folder, "experiments", f"{name}.csv")) for name in plan.tables()}
    records = published_records(folder)
    here = Path(os.path.relpath(folder, page.parent)).as_posix()
    titles = [plan.config.datasets[name].title for name in plan.datasets]
    yield from [f"## {', '.join(titles)}: {plan.config.label or plan.config.run}", ""]
    yield from [_made(records), ""]
    if "controls" in tables:
        questions, scale = read_questions(), plan.config.label or plan.config.run
        rows = judge(questions, tables, scale, family=len(questions))
        yield from ["### Questions", "", *_judged(questions, rows)]
    yield from _advice(tables, plan)
    for name in plan.tables():
        block = plan.config.experiments[name]
        yield from [f"### {heading(name)}: {block.about}", ""]
        if block.table:
            yield from [Path(folder, "figures", f"{name}_table.md").read_text(encoding="utf-8"), ""]
        if block.figure:
            yield from [f"![{heading(name)}]({here}/figures/{name}.png)", ""]
    if Path(folder, "claims.csv").exists():
        rows = pd.read_csv(Path(folder, "claims.csv"), keep_default_na=False, na_values=[""])
        yield from ["### The paper's claims on these runs", "", *_judged(read_claims(), rows)]


def _made(records: Sequence[dict[str, Any]]) -> str:
    """What the run was made with, in a sentence or two."""
    made, hours = made_with(records), sum(kept.get("cpu_seconds") or 0.0 for kept in records) / 3600
    trainings = sum(kept["stage"] == "train" for kept in records)
    where = ", ".join(made["device"]) + (f" ({', '.join(made['cpu'])})" if made["cpu"] else "")
    commits = ", ".join(f"`{each[:12]}{'+' * each.endswith('+')}`" for each in made["commit"])
    dirty = " (+: with changes that were not committed)" * any(each.endswith("+") for each in made["commit"])
    return (
        f"{counted(trainings, 'training')}, {counted(len(records), 'job')}, {hours:.1f} CPU hours on {where}; seeds "
        f"{', '.join(made['seed'])}; PyTorch {', '.join(made['torch'])}, Python {', '.join(made['python'])}; commit "
        f"{commits}{dirty}. Other processors give other numbers."
    )


def _judged(claims: Sequence[dict[str, Any]], rows: pd.DataFrame) -> Iterator[str]:
    """Claims that could be tested as a table, a line a comparison; then those that could not, and why."""
    columns = {
        name: CLAIMED[name] for name in ("compared", "claimed", "counts", "effect_text", "p_holm_text", "outcome")
    }
    yield from ["| " + " | ".join(columns.values()) + " |", "|:--" * len(columns) + "|"]
    idle = []
    for claim in summary(claims, rows):
        tested = [row for row in claim["rows"] if row["verdict"] != NOT_TESTED]
        if not tested:
            idle.append(claim)
            continue
        yield f"| **{md_escape(claim['statement'])}** | {md_escape(claim['counts'])} | | | | **{claim['verdict']}** |"
        for row in tested:
            cells = told(row) | {"outcome": row["verdict"]}
            yield f"| {' | '.join(md_escape(cells[name]) for name in columns)} |"
    yield ""
    if idle:
        yield from ["Not tested:", ""]
        for claim in idle:
            why = "; ".join(dict.fromkeys(row["why"] for row in claim["rows"]))
            yield f"- {md_escape(claim['statement'])} ({md_escape(why)})"
        yield ""


def _advice(tables: dict[str, pd.DataFrame], plan: Plan) -> Iterator[str]:
    """What follows for somebody who has to choose, of each experiment whose table holds its rows against a random
    coreset: the methods in the order of their means, and which are better or worse by more than the seeds can tell."""
    blocks = plan.config.experiments
    held = [name for name in tables if blocks[name].table and "Random" in (blocks[name].table.against or [])]
    if held:
        yield from ["### Which method to choose", "", ADVICE, ""]
    for name, frame in ((name, tables[name]) for name in held):
        table = results_table(frame[frame["keep_ratio"] < 1], {"column": "keep_ratio", "against": ["Random"]})
        table = table.sort_values(["keep_ratio", "mean"], ascending=[True, False])
        several = table["keep_ratio"].nunique() > 1
        names = [f"{arm.label} at {arm.keep_ratio:g}" if several else arm.label for arm in table.itertuples()]
        names = pd.Series(names, table.index)
        leads, told_apart = table["minus Random"], table["minus Random p_holm"] < 0.05
        means = zip(names, table["mean"], table["sd"], strict=True)
        groups = {
            "in the order of their means (top-1, %)": [f"{arm} {plus_minus(mean, sd)}" for arm, mean, sd in means],
            "better than a random coreset": names[told_apart & (leads > 0)],
            "worse than a random coreset": names[told_apart & (leads < 0)],
            "not to be told from a random coreset with these seeds": names[~told_apart & leads.notna()],
        }
        yield f"{heading(name)} ({blocks[name].about or 'the methods'}):"
        yield ""
        yield from (f"- {what}: {md_escape('; '.join(arms)) or 'none'}." for what, arms in groups.items())
        yield ""
