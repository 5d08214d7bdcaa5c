"""A method's stages in words, for the diagram of its pipeline."""

from __future__ import annotations

from typing import Any

from dqv2.config.blocks import Selector
from dqv2.plan.graph import Job, chain_of, job_of
from dqv2.plan.plan import Plan
from dqv2.plan.runs import title_of

TITLES = {
    "pack": "images",
    "early_train": "early training",
    "saliency": "saliency and features",
    "score": "scores of early trainings",
    "augment": "Tobias images",
    "features": "features of the Tobias images",
    "bin": "bins",
    "sample": "coreset",
    "weights": "published autoencoder",
    "autoencoder": "autoencoder",
    "pixels": "pixel step",
    "train": "training",
    "evaluate": "evaluation",
}


def pipelines(plan: Plan, experiment: str) -> list[dict[str, Any]]:
    """For each method of an experiment (its first dataset and seed): title and stages, as ``draw_pipelines`` takes
    them."""
    lanes: dict[str, dict[str, Any]] = {}
    for run, title, method in plan.rows[experiment]:
        if title in lanes:
            continue
        chain = chain_of(plan, run)
        keys = _keys(list(chain))
        stages = [
            {
                "key": keys[job],
                "title": TITLES.get(job.stage, job.stage.replace("_", " ")),
                "detail": _detail(plan, job, run),
                "reads": [keys[r] for r in reads],
            }
            for job, reads in chain.items()
        ]
        lanes[title] = {"title": title, "method": method, "stages": stages}
    return list(lanes.values())


def _keys(jobs: list[Job]) -> dict[Job, str]:
    """A stage's name, with a number from the second job of the same stage on."""
    keys: dict[Job, str] = {}
    for job in jobs:
        before = sum(other.stage == job.stage for other in keys)
        keys[job] = job.stage + (f" {before + 1}" if before else "")
    return keys


def _detail(plan: Plan, job: Job, run: Any) -> str:
    """What the configuration says of a job, in a line."""
    config, s = plan.config, run.selection
    wildcards = job_of(job.path)[1]
    if job.stage == "pack":
        block = config.datasets[s.dataset]
        return f"{block.title}, {block.size} px"
    if job.stage in ("early_train", "saliency"):
        block = config.backbones[wildcards["backbone"]]
        if job.stage == "saliency":
            return "last feature map and embedding of every image"
        return (
            f"{block.model}, {_counted(block.epochs)} on the full set"
            if block.epochs
            else f"{block.model}, random weights"
        )
    if job.stage == "augment":
        mask, size = wildcards["mask"], wildcards["size"]
        stored = (mask, size) == (s.mask, str(s.tobias_size))  # else the trainer reads the masks alone
        background = "another image's background" if stored else "backgrounds drawn anew in training"
        return f"{title_of(config.masks, mask)}, {size} × {size} cells, {background}"
    if job.stage == "features":
        return f"by the {title_of(config.backbones, wildcards['backbone'])}"
    if job.stage == "bin":
        mixture, selector = config.mixtures[s.mixture], config.selectors[s.selector]
        pool = [(mixture.originals, "originals"), (mixture.tobias, "Tobias images")]
        shares = [name if share == 1 else f"{100 * share:g} % {name}" for share, name in pool if share]
        n_bins = round(selector.used.get("n_bins", 0) * (mixture.originals + mixture.tobias))  # a bin keeps its size
        how = selector.title or selector.kind.removesuffix("_bins").replace("graphcut", "GraphCut").replace("_", " ")
        return f"{' + '.join(shares)}: {how}" + (f", {n_bins} bins" if n_bins else "")
    if job.stage == "sample":
        of = "the pool" if config.mixtures[s.mixture].budget == "pool" else "the originals' number"
        return f"{_drawn(config.selectors[s.selector])}: {100 * run.keep_ratio:g} % of {of}"
    if job.stage == "autoencoder":
        block = config.autoencoders[wildcards["autoencoder"]]
        return f"{block.title}: pre-trained here on the full set, {_counted(block.epochs)}"
    if job.stage == "weights":
        return f"{config.autoencoders[wildcards['autoencoder']].title}: pre-trained elsewhere"
    if job.stage == "pixels":
        block = config.pixels[run.pixels]
        if block.step == "cutmix":
            return f"CutMix: {100 * block.share:g} % of the area from another image"
        return f"the {100 * block.share:g} % least important patches (Grad-CAM++) drawn anew"
    if job.stage == "evaluate":
        return "the last weights, once, on the test split"
    if job.stage == "train":
        block = config.trainers[run.trainer]
        length = _counted(block.epochs) if block.epochs else f"{block.iterations} iterations"
        return f"{block.title or run.trainer}, {length}, batch {block.batch_size}"
    return ""


def _drawn(selector: Selector) -> str:
    """How a coreset is drawn from what the selector leaves; see `dqv2.select.coreset.draw`."""
    if selector.kind == "published":
        return "the published list"
    if selector.kind == "random":  # all in one bin
        return "at random, the same share of every class"
    return {
        "bins": "the same share of every bin",
        "adaptive": "from every bin by its size and importance",
        "strata": "the same number from every stratum",
        "rank": "the first of every class",
    }[selector.sampler]


def _counted(epochs: int) -> str:
    return f"{epochs} epoch" + ("s" if epochs > 1 else "")
