"""Checks of experiments: faults that show only when several blocks are combined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dqv2.config import Config, ConfigError
from dqv2.config.base import listed
from dqv2.config.data import KNOWS_OBJECTS, Digits
from dqv2.paths import ratio
from dqv2.plan.runs import Row, Run, replaced
from dqv2.stages import all_stages


def check(config: Config, rows: Mapping[str, list[Row]], faults_of: Mapping[str, Iterable[str]]) -> None:
    """Raise ConfigError where an experiment asks for something impossible.

    Args:
        config: the configuration.
        rows: experiment -> its runs.
        faults_of: experiment -> the faults found by the kinds of its results, each beginning with its key.
    """
    asking: dict[str, dict[str, None]] = {}
    for name in rows:
        for run, *_ in rows[name]:
            for fault in _faults(config, run):
                asking.setdefault(fault, {})[name] = None
    faults = [
        f"experiments.{' and '.join([*names][:1] + [f'{len(names) - 1} more'] * (len(names) > 1))}: {fault}"
        for fault, names in asking.items()
    ]
    faults += [f"experiments.{name}: {fault}" for name in rows for fault in _doubled(config, name, rows[name])]
    faults += [f"experiments.{name}.{fault}" for name in rows for fault in faults_of[name]]
    faults += [f"datasets.{name}: a folder of the results has this name; choose another" for name in _taken(config)]
    if config.run == "published":
        faults.append("run = 'published': `dqv2 figures` writes to paper_figures/published; choose another name")
    if faults:
        raise ConfigError("\n  ".join(["the configuration asks for something impossible:", *dict.fromkeys(faults)]))


def mask_faults(config: Config, dataset: str, mask: str | None, size: int | None) -> Iterator[str]:
    """The reasons why a dataset cannot have Tobias images with a mask, at a size; either may be None."""
    block = config.datasets[dataset]
    if size and size > block.size:
        yield f"Tobias size {size} is finer than the {block.size} pixels of datasets.{dataset}"
    if mask and config.masks[mask].reads_objects and block.kind not in KNOWS_OBJECTS:
        yield f"mask {mask} (source {config.masks[mask].source}) needs a dataset with known objects; {dataset} has none"


def redraws(config: Config, run: Run) -> bool:
    """Whether an autoencoder redraws the pixels of a run's coreset."""
    return run.pixels is not None and config.pixels[run.pixels].step == "mae"


def _more(asked: float, there: float) -> bool:
    """Whether a share is larger than another as paths write them: 0.7 + 0.1 is a little below 0.8."""
    return float(ratio(asked)) > float(ratio(there))


def _faults(config: Config, run: Run) -> Iterator[str]:
    selection = run.selection
    dataset, mixture = config.datasets[selection.dataset], config.mixtures[selection.mixture]
    selector, trainer = config.selectors[selection.selector], config.trainers[run.trainer]
    backbone = config.backbones[selection.backbone] if selection.backbone else None
    fresh, cutmix = trainer.fresh_tobias, run.pixels is not None and config.pixels[run.pixels].step == "cutmix"
    yield from mask_faults(config, selection.dataset, selection.mask, selection.tobias_size)
    if fresh:
        yield from mask_faults(config, selection.dataset, fresh.mask, fresh.size)
    if run.keep_ratio > 1:
        yield f"pixels {run.pixels} counts pixels, so keep_ratio asks for {run.keep_ratio:g} times the available images"
    elif mixture.budget == "originals" and _more(run.keep_ratio, mixture.originals + mixture.tobias):
        yield f"keep_ratio {run.keep_ratio:g} asks for more images than the pool of mixture {selection.mixture} holds"
    count, asked = (dataset.train if isinstance(dataset, Digits) else None), selector.used.get("n_bins", 0)
    if count and asked > count:
        yield f"selectors.{selection.selector}.n_bins = {asked} is more than the {count} images of {selection.dataset}"
    if selector.declared.gives == "list" and selection.mask:
        yield f"{selection.selector} is a list of originals, but mixture {selection.mixture} has Tobias images"
    if selector.reads_scores:
        if mixture.tobias:
            yield (
                f"selector {selection.selector} needs scores, which only originals have, but mixture "
                f"{selection.mixture} has Tobias images: choose a mixture without them, or the kind score_bins"
            )
        if not backbone.epochs:
            yield f"selector {selection.selector} scores by training, but backbone {selection.backbone} has no epochs"
        if backbone.weights:
            yield (
                f"selector {selection.selector} scores by training from random weights, but backbone "
                f"{selection.backbone} has weights: choose one without"
            )
    elif selector.reads_logits and backbone.weights and backbone.head == "own":
        yield (
            f"selector {selection.selector} reads gradients of the dataset's classes, but backbone "
            f"{selection.backbone} keeps the classes of its weights: set head: fresh, or choose features: embedding"
        )
    whole = mixture.originals if mixture.budget == "originals" else 1
    if "prune_hardest" in selector.used and _more(run.keep_ratio, whole * (1 - selector.prune_hardest)):
        yield (
            f"selector {selection.selector} drops {selector.prune_hardest:g} of the images as too hard, so keep_ratio "
            f"{run.keep_ratio:g} is more than is left: lower selectors.{selection.selector}.prune_hardest"
        )
    if trainer.start and config.backbones[trainer.start].model != trainer.model:
        yield f"trainer {run.trainer} ({trainer.model}) cannot start from backbone {trainer.start}, another model"
    if cutmix and (trainer.mix != "none" or fresh):
        yield (
            f"pixels {run.pixels} already mixes images and labels, and trainer {run.trainer} would mix them again: "
            "choose a trainer without mix and fresh_tobias"
        )
    if selector.pixels and (mixture.tobias or config.pixels[selector.pixels].step != "mae"):
        yield (
            f"selector {selection.selector} uses images as redrawn by pixels {selector.pixels}, which needs the step "
            f"mae and a mixture of originals alone, not {selection.mixture}"
        )
    if selector.weighted and (cutmix or trainer.mix != "none"):
        yield (
            f"selector {selection.selector} gives each image a weight, but trainer {run.trainer} or its pixels mix "
            "images, and a mixed image has none: choose mix: none and pixels without cutmix, or weighted: false"
        )
    if redraws(config, run):
        autoencoder = config.autoencoders[config.pixels[run.pixels].autoencoder]
        if autoencoder.weights == "self" and dataset.size % autoencoder.grid:
            yield (
                f"autoencoders.{config.pixels[run.pixels].autoencoder}.grid = {autoencoder.grid} does not divide the "
                f"{dataset.size} pixels of datasets.{selection.dataset}"
            )


def _doubled(config: Config, experiment: str, rows: list[Row]) -> Iterator[str]:
    """Trainings that would be counted twice among the seeds of an arm, or compared with themselves as two methods
    because the experiment replaces what tells these apart."""
    yield from _one_under_two_names(config, experiment, rows)
    seen: dict[tuple[Run, str], str | None] = {}
    for run, title, method in rows:
        if (run, title) in seen:
            both = " and ".join(str(each) for each in (seen[run, title], method))
            yield f"{both} are the same trainings with the same title, {title!r}: leave one out, or change its title"
        seen[run, title] = method


def _one_under_two_names(config: Config, experiment: str, rows: list[Row]) -> Iterator[str]:
    methods: dict[Run, dict[str, None]] = {}
    for run, _, method in rows:
        if method:
            methods.setdefault(run, {})[method] = None
    for run, names in methods.items():
        axes = dict.fromkeys(axis for name in names for axis in replaced(config, experiment, run, name))
        if len(names) > 1 and axes:
            both = listed([*names])
            yield f"{both} are the same trainings with this {listed([*axes])}: remove one method, or this setting"


def _taken(config: Config) -> list[str]:
    """The datasets that have the name of a folder of the results."""
    patterns = [pattern for each in all_stages().values() for pattern in each.writes.values()]
    first = {"resume"} | {pattern.partition("/")[0] for pattern in patterns}
    return sorted(first & set(config.datasets))
