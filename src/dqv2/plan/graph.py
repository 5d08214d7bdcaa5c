"""The jobs behind each run: which stage makes a file, and from what. The rules take their inputs from the same plan."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import NamedTuple

from dqv2.plan import paths
from dqv2.plan.plan import Plan
from dqv2.plan.runs import Run


class Job(NamedTuple):
    """What one stage makes for all seeds: its first output below the results, `{seed}` left open."""

    stage: str
    path: str


# Stage -> the patterns of its outputs, the one that names its job first.
OUTPUTS = {
    "pack": (paths.PACK,),
    "early_train": (paths.EARLY,),
    "saliency": (paths.SALIENCY, paths.EMBEDDING, paths.LOGITS),
    "augment": (paths.RECIPE,),
    "features": (paths.FEATURES, paths.FEATURE_LOGITS),
    "bin": (paths.BINS,),
    "sample": (paths.CORESET,),
    "train": (paths.METRICS,),
}
WILDCARDS = {"selection": ".+?", "seed": re.escape("{seed}")}


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", pattern)
    names = {i: f"(?P<{name}>{WILDCARDS.get(name, '[^/]+')})" for i, name in enumerate(parts) if i % 2}
    return re.compile("".join(names.get(i, re.escape(part)) for i, part in enumerate(parts)))


def job_of(path: str) -> tuple[Job, dict[str, str]]:
    """The job that makes a file below the results, and the wildcards of its path.

    Raises:
        ValueError: no stage makes such a file.
    """
    for stage, patterns in OUTPUTS.items():
        for pattern in patterns:
            if found := _regex(pattern).fullmatch(path):
                values = found.groupdict()
                first = patterns[0].replace("{split}", "train")
                for name, value in values.items():
                    first = first.replace(f"{{{name}}}", value)
                return Job(stage, first), values
    raise ValueError(f"no stage makes {path}")


def inputs_of(plan: Plan, stage: str, wildcards: dict[str, str]) -> list[str]:
    """What a job of a stage reads, below the results, `{seed}` left open."""
    dataset = wildcards["dataset"]
    if stage == "pack":
        return []
    found = [paths.PACK.replace("{split}", "train")]
    if stage in ("saliency", "features"):
        found += [paths.EARLY.replace("{backbone}", wildcards["backbone"])]
    if stage == "augment":
        found += plan.models_of_mask(wildcards["mask"])
    if stage == "features":
        found += [paths.RECIPE.replace("{mask}", wildcards["mask"]).replace("{size}", wildcards["size"])]
    if "selection" in wildcards:
        selection = plan.selections[dataset, wildcards["selection"]]
        place = {"{selection}": wildcards["selection"], "{keep}": wildcards.get("keep", "")}
        if stage == "bin":
            found += plan.features_of(selection) + plan.logits_of(selection)
        if stage == "sample":
            found += [_filled(paths.BINS, place)]
        if stage == "train":
            found += [_filled(paths.CORESET, place), *plan.recipes_of(selection), *plan.fresh_of(wildcards["trainer"])]
    below = f"{plan.root}/"
    return [path.removeprefix(below).replace("{dataset}", dataset) for path in found]


def _filled(pattern: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        pattern = pattern.replace(name, value)
    return pattern


def chain_of(plan: Plan, run: Run) -> dict[Job, list[Job]]:
    """Every job that a run needs, each with the jobs that it reads, in an order in which they can run."""
    found: dict[Job, list[Job]] = {}

    def visit(path: str) -> Job:
        job, wildcards = job_of(path)
        if job not in found:
            reads = [visit(needed) for needed in inputs_of(plan, job.stage, wildcards)]
            found[job] = list(dict.fromkeys(reads))
        return job

    seed = f"/seed-{run.seed}/"
    visit(plan.metrics_of(run).removeprefix(f"{plan.root}/").replace(seed, "/seed-{seed}/"))
    return found


def count_jobs(plan: Plan) -> tuple[Counter[str], Counter[str]]:
    """Stage -> how many jobs the plan has, and how many there were if no experiment and no run shared any.

    A job does a chunk of seeds (`seeds_per_job`); a pack is for all of them. Drawing and collecting are not counted.
    """
    chunk_of = {seed: chunk for chunk in plan.chunks for seed in chunk}
    shared: set[tuple] = set()
    apart: Counter[str] = Counter()
    chains: dict[tuple, dict[Job, list[Job]]] = {}
    for rows in plan.rows.values():
        asked = {(run.selection, run.keep_ratio, run.trainer, chunk_of[run.seed]): run for run, *_ in rows}
        for (*arm, chunk), run in asked.items():
            if tuple(arm) not in chains:
                chains[tuple(arm)] = chain_of(plan, run)
            chain = chains[tuple(arm)]
            shared |= {(job, chunk if "{seed}" in job.path else None) for job in chain}
            apart.update(job.stage for job in chain)
    return Counter(job.stage for job, _ in shared), apart
