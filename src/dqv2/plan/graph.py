"""The jobs behind each run: which stage makes a file, and from what. The rules take their inputs from the same plan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dqv2 import paths
from dqv2.plan import coresets
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
    "score": (paths.SCORES,),
    "augment": (paths.RECIPE,),
    "features": (paths.FEATURES, paths.FEATURE_LOGITS),
    "bin": (paths.BINS,),
    "sample": (paths.CORESET,),
    "weights": (paths.WEIGHTS,),
    "autoencoder": (paths.AUTOENCODER,),
    "pixels": (paths.PIXELS,),
    "train": (paths.MODEL, paths.TRAINING),
    "evaluate": (paths.METRICS,),
}
SEED = re.compile(r"/seed-(\d+)/")


def job_of(path: str) -> tuple[Job, dict[str, str]]:
    """The job that makes a file below the results, and the wildcards of its path.

    Raises:
        ValueError: no stage makes such a file.
    """
    for stage, patterns in OUTPUTS.items():
        for pattern in patterns:
            if found := paths.regex(pattern).fullmatch(path):
                values = found.groupdict()
                first = patterns[0].replace("{split}", "train")
                for name, value in values.items():
                    first = first.replace(f"{{{name}}}", value)
                return Job(stage, first), values
    raise ValueError(f"no stage makes {path}")


def inputs_of(plan: Plan, stage: str, wildcards: dict[str, str]) -> list[str]:
    """What a job of a stage reads, below the results, `{seed}` left open."""
    if stage in ("pack", "weights"):
        return []
    dataset = wildcards["dataset"]
    found = [paths.PACK.replace("{split}", "train")]
    if stage in ("saliency", "features"):
        found += [paths.EARLY.replace("{backbone}", wildcards["backbone"])]
    if stage == "augment":
        found += plan.models_of_mask(wildcards["mask"])
    if stage == "features":
        found += [paths.RECIPE.replace("{mask}", wildcards["mask"]).replace("{size}", wildcards["size"])]
    if "selection" in wildcards:
        selection = plan.selections[dataset, wildcards["selection"]]
        place = {f"{{{name}}}": value for name, value in wildcards.items() if name != "seed"}
        if stage == "bin":
            found += [*plan.features_of(selection), *plan.logits_of(selection), *plan.scores_of(selection)]
            found += plan.pictures_of(selection)
        if stage == "sample" and selection.selector not in plan.published:
            found += [_filled(paths.BINS, place)]
        if stage in ("pixels", "train"):
            found += [_filled(paths.CORESET, place), *plan.recipes_of(selection)]
        if stage == "pixels":
            name = wildcards["pixels"]
            found += [*plan.importance_of(name), *plan.autoencoder_of(dataset, name)]
        if stage == "train":
            found += [_filled(path, place) for path in plan.pixels_of(wildcards["step"])]
            found += plan.fresh_of(wildcards["trainer"])
        if stage == "evaluate":
            found += [_filled(paths.MODEL, place)]
    below = f"{plan.root}/"
    return [path.removeprefix(below).replace("{dataset}", dataset) for path in found]


def _filled(pattern: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        pattern = pattern.replace(name, value)
    return pattern


def chain_of(plan: Plan, run: Run) -> dict[Job, list[Job]]:
    """Every job that a run needs, each with the jobs that it reads, in an order in which they can run."""
    return chain(plan, [plan.metrics_of(run)])


def chain(plan: Plan, files: Iterable[str]) -> dict[Job, list[Job]]:
    """Every job that files need, each with the jobs that it reads, in an order in which they can run."""
    found: dict[Job, list[Job]] = {}

    def visit(path: str) -> Job:
        job, wildcards = job_of(path)
        if job not in found:
            reads = [visit(needed) for needed in inputs_of(plan, job.stage, wildcards)]
            found[job] = list(dict.fromkeys(reads))
        return job

    for file in files:
        visit(SEED.sub("/seed-{seed}/", file.removeprefix(f"{plan.root}/")))
    return found


def wanted(plan: Plan, experiment: str) -> list[list[str]]:
    """The files that an experiment is made from, those of one run (or coreset) together."""
    block, rows = plan.config.experiments[experiment], plan.rows[experiment]
    found = [[plan.metrics_of(run)] for run, *_ in rows] if plan.makes_runs(experiment) else []
    if block.storage:
        found += [list(files) for files in zip(*plan.pixel_files(experiment).values(), strict=True)]
    elif block.pictures and block.pictures.steps == "pixels":
        found += [[files[0] for files in plan.pixel_files(experiment, first=True).values()]]
    elif block.pictures:
        found += [[file] for file in plan.picture_recipes(experiment)]
    if block.overlap:
        found += [[cell.recipe] for cell in plan.overlaps(experiment)]
    return found + coresets.files_of(plan, experiment)


Chunk = tuple[int, ...]


def jobs_of(plan: Plan, experiment: str) -> Iterator[dict[Job, Chunk | None]]:
    """For each run (or coreset) and chunk of seeds of an experiment: the jobs that it needs, each with its chunk of
    seeds, None where it is for all of them. In the order of the experiment."""
    chunk_of = {seed: chunk for chunk in plan.chunks for seed in chunk}
    asked = dict.fromkeys(
        (tuple(SEED.sub("/seed-{seed}/", file) for file in files), chunk_of[_seed(files)])
        for files in wanted(plan, experiment)
    )
    chains = {files: chain(plan, files) for files in dict.fromkeys(files for files, _ in asked)}
    for files, chunk in asked:
        yield {job: chunk if "{seed}" in job.path else None for job in chains[files]}


def _seed(files: Iterable[str]) -> int:
    return next(int(found[1]) for file in files if (found := SEED.search(file)))
