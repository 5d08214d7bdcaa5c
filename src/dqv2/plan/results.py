"""docs/results.md: what was measured on real images, from the published runs alone; no number in it is typed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dqv2.config import Config
from dqv2.paper.claims import NOT_TESTED, judge, summary
from dqv2.paper.collect import read_csv, read_plain
from dqv2.paper.compare import ALPHA
from dqv2.paper.page import heading
from dqv2.paper.reported import read_claims, read_questions
from dqv2.paper.stats import plus_minus
from dqv2.paper.tables import md_escape, md_row, results_table
from dqv2.paper.wording import CLAIMED, told
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
there were no such runs ([claims.md](claims.md)). A single comparison that is supported is not corrected for the others
of its claim.

In config.yaml DQ has a ResNet-50 and a ResNet-18 of ImageNet at 224 px and an MAE ViT-Large. Each section names those
that its DQ has instead, and what is said of DQ and its pixel step holds for these.
"""

IN_SHORT = """Each question's verdict, and the effect (points of top-1 accuracy) of its first comparison that has it.
"""

ADVICE = """Each method's lead over a random coreset is tested two-sided here and corrected by Holm for all leads of its
experiment: a stricter test than that of questions and claims, which are fewer and in one direction. It holds for the
schedule and the keep ratios of that experiment alone."""


def results_page(folders: Sequence[Path]) -> str:
    """The text of the page on these published runs, published/<run>."""
    runs = [_Run(folder) for folder in folders]
    parts = [HEAD, *_in_short([run for run in runs if run.judged])]
    parts += ["\n".join(_sections(run)) for run in runs]
    if not runs:
        parts.append("No run is published yet.\n")
    return "\n".join(parts)


class _Run:
    """A published run: its plan, its tables by experiment, and the questions with their comparisons where it has the
    experiment that they are about."""

    def __init__(self, folder: Path):
        self.folder, self.plan = Path(folder), published_plan(folder)
        config = self.plan.config
        self.tables = {name: read_csv(Path(folder, "experiments", f"{name}.csv")) for name in self.plan.tables()}
        titles = [config.datasets[name].title for name in self.plan.datasets]
        self.title = f"{', '.join(titles)}: {config.label or config.run}"
        self.judged: list[dict[str, Any]] = []
        if "controls" in self.tables:
            questions = read_questions()
            rows = judge(questions, self.tables, config.label or config.run, family=len(questions))
            self.judged = summary(questions, rows)


def _in_short(runs: Sequence[_Run]) -> Iterator[str]:
    """Each question's verdict in each run, with the effect of the first comparison that has it there."""
    if not runs:
        return
    yield "## In short\n"
    yield IN_SHORT
    lines = [md_row(["Question", *(md_escape(run.title) for run in runs)]), "|:--" * (len(runs) + 1) + "|"]
    for claims in zip(*(run.judged for run in runs), strict=True):  # one question in each run
        cells = [md_escape(claims[0]["statement"])]
        for claim in claims:
            effects = [told(row)["effect_text"] for row in claim["rows"] if row["verdict"] == claim["verdict"]]
            tested = claim["verdict"] != NOT_TESTED
            cells.append(f"**{claim['verdict']}**, {md_escape(effects[0])}" if tested else claim["verdict"])
        lines.append(md_row(cells))
    yield "\n".join([*lines, ""])


def _sections(run: _Run) -> Iterator[str]:
    folder, plan = run.folder, run.plan
    here = Path(os.path.relpath(folder, "docs")).as_posix()
    records = published_records(folder)
    yield from [f"## {run.title}", "", f"{_made(records)}{_networks(plan.config, records)}", ""]
    if run.judged:
        yield from ["### Questions", "", *_judged(run.judged)]
    yield from _advice(run)
    for name in plan.tables():
        block = plan.config.experiments[name]
        yield from [f"### {heading(name)}: {block.about}", ""]
        if block.table:
            yield from [Path(folder, "figures", f"{name}_table.md").read_text(encoding="utf-8"), ""]
        if block.figure:
            yield from [f"![{heading(name)}]({here}/figures/{name}.png)", ""]
    if Path(folder, "claims.csv").exists():
        rows = read_plain(Path(folder, "claims.csv"))
        yield from ["### The paper's claims on these runs", "", *_judged(summary(read_claims(), rows))]


def _made(records: Sequence[dict[str, Any]]) -> str:
    """What the run was made with, as a sentence or two."""
    made, hours = made_with(records), sum(kept.get("cpu_seconds") or 0.0 for kept in records) / 3600
    trainings = sum(kept["stage"] == "train" for kept in records)
    done = f"{counted(trainings, 'training')}, " * (trainings > 0) + counted(len(records), "job")
    where = ", ".join(made["device"]) + (f" ({', '.join(made['cpu'])})" if made["cpu"] else "")
    commits = ", ".join(f"`{each[:12]}{'+' * each.endswith('+')}`" for each in made["commit"])
    dirty = " (+: with changes that were not committed)" * any(each.endswith("+") for each in made["commit"])
    return (
        f"{done}, {hours:.1f} CPU hours on {where}; seeds "
        f"{', '.join(made['seed'])}; PyTorch {', '.join(made['torch'])}, Python {', '.join(made['python'])}; commit "
        f"{commits}{dirty}. Other processors give other numbers."
    )


def _networks(config: Config, records: Sequence[dict[str, Any]]) -> str:
    """The pre-trained networks that a run's jobs used, as a sentence after a space; empty without any."""
    names = [kept["wildcards"] for kept in records if kept["stage"] in ("weights", "autoencoder")]
    blocks = [getattr(config, w.get("block", "autoencoders"))[w.get("network", w.get("autoencoder"))] for w in names]
    sizes = [getattr(block, "input_size", None) for block in blocks]
    titles = [block.title + f", at {size} px" * bool(size) for block, size in zip(blocks, sizes, strict=True)]
    return f" Pre-trained networks: {'; '.join(dict.fromkeys(titles))}." if titles else ""


def _judged(claims: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Claims that could be tested as a table, a line a comparison; then those that could not, and why."""
    columns = {
        name: CLAIMED[name] for name in ("compared", "claimed", "counts", "effect_text", "p_holm_text", "outcome")
    }
    yield from [md_row(columns.values()), "|:--" * len(columns) + "|"]
    idle = []
    for claim in claims:
        tested = [row for row in claim["rows"] if row["verdict"] != NOT_TESTED]
        if not tested:
            idle.append(claim)
            continue
        yield f"| **{md_escape(claim['statement'])}** | {md_escape(claim['counts'])} | | | | **{claim['verdict']}** |"
        for row in tested:
            cells = told(row) | {"outcome": row["verdict"]}
            yield md_row(md_escape(cells[name]) for name in columns)
    yield ""
    if idle:
        yield from ["Not tested:", ""]
        for claim in idle:
            why = "; ".join(dict.fromkeys(row["why"] for row in claim["rows"]))
            yield f"- {md_escape(claim['statement'])} ({md_escape(why)})"
        yield ""


def _advice(run: _Run) -> Iterator[str]:
    """What follows for somebody who has to choose, of each experiment whose table holds its rows against a random
    coreset: the methods in the order of their means, and which of them can be told from a random coreset."""
    blocks = run.plan.config.experiments
    held = [name for name in run.tables if blocks[name].table and "Random" in (blocks[name].table.against or [])]
    if held:
        yield from ["### Which method to choose", "", ADVICE, ""]
    for name in held:
        frame = run.tables[name]
        table = results_table(frame[frame["keep_ratio"] < 1], {"column": "keep_ratio", "against": ["Random"]})
        table = table.sort_values(["keep_ratio", "mean"], ascending=[True, False])
        yield from [f"{heading(name)} ({blocks[name].about or 'the methods'}):", ""]
        yield from ["| Keep ratio | Method | Top-1, % | Against a random coreset |", "|--:|:--|--:|:--|"]
        for row in table.to_dict("records"):
            lead, p = row["minus Random"], row["minus Random p_holm"]
            verdict = "not told apart" if p >= ALPHA else "better" if lead > 0 else "worse"
            verdict = "" if pd.isna(lead) else "not tested" if pd.isna(p) else verdict
            cells = [f"{row['keep_ratio']:g}", md_escape(row["label"]), plus_minus(row["mean"], row["sd"]), verdict]
            yield md_row(cells)
        yield ""
