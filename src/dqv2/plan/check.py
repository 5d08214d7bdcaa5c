"""What an experiment may ask for: faults that only a look at several blocks together shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from dqv2.config import Config, ConfigError
from dqv2.config.data import KNOWS_OBJECTS
from dqv2.plan.runs import Row, Run


def check(config: Config, rows_by_experiment: dict[str, list[Row]]) -> None:
    """Raise ConfigError where an experiment asks for something impossible."""
    faults = [
        f"experiments.{name}: {fault}"
        for name, rows in rows_by_experiment.items()
        for run, *_ in rows
        for fault in _faults(config, run)
    ]
    for name in rows_by_experiment:
        experiment = config.experiments[name]
        faults += [f"experiments.{name}: {fault}" for fault in _overlap_faults(config, name, rows_by_experiment[name])]
        wanted = {"storage": experiment.storage, "pictures.steps": _steps(experiment)}
        for key, block in wanted.items():
            if block and not any(_redraws(config, run) for run, *_ in rows_by_experiment[name]):
                faults.append(f"experiments.{name}.{key} needs a run whose pixels an autoencoder redraws (step: mae)")
            if block and any(run.selection.mask for run, *_ in rows_by_experiment[name]):
                faults.append(f"experiments.{name}.{key} shows coresets of originals, and a mixture has Tobias images")
        if experiment.pictures and not _steps(experiment):
            if not any(run.selection.mask for run, *_ in rows_by_experiment[name]):
                faults.append(f"experiments.{name}.pictures show Tobias images, and no method of it has any")
            datasets = {run.selection.dataset for run, *_ in rows_by_experiment[name]}
            if len(datasets) > 1:
                faults.append(
                    f"experiments.{name}.pictures show one set's images, and it has {len(datasets)} datasets: make two "
                    "experiments of it"
                )
        if experiment.export and experiment.export.images != "none":
            mixing = {run.pixels for run, *_ in rows_by_experiment[name] if run.pixels}
            for pixels in sorted(pixels for pixels in mixing if config.pixels[pixels].step == "cutmix"):
                faults.append(
                    f"experiments.{name}.export: pixels {pixels} gives each image two labels, which folders of classes "
                    "cannot hold: set images: none, or choose a method without it"
                )
        if storage := experiment.storage:
            datasets = {run.selection.dataset for run, *_ in rows_by_experiment[name]}
            found = (_mask_faults(config, dataset, storage.mask, storage.tobias_size) for dataset in sorted(datasets))
            faults += [f"experiments.{name}.storage: {fault}" for part in found for fault in part]
    if faults:
        raise ConfigError("\n  ".join(["the configuration asks for what cannot be done:", *dict.fromkeys(faults)]))


def _overlap_faults(config: Config, name: str, rows: list[Row]) -> Iterator[str]:
    if not config.experiments[name].overlap:
        return
    for run, *_ in rows:
        selection = run.selection
        if selection.mask is None:
            yield f"an overlap needs masks, and mixture {selection.mixture} has none"
        elif config.datasets[selection.dataset].kind not in KNOWS_OBJECTS:
            yield f"{selection.dataset} does not know its objects"


def _mask_faults(config: Config, dataset: str, mask: str | None, size: int | None) -> Iterator[str]:
    """What stands in the way of Tobias images of a dataset by a mask, at a size; either may be None."""
    block = config.datasets[dataset]
    if size and size > block.size:
        yield f"Tobias size {size} is finer than the {block.size} pixels of datasets.{dataset}"
    if mask and config.masks[mask].source == "object" and block.kind not in KNOWS_OBJECTS:
        yield f"mask {mask} (source object) needs a set that knows its objects; {dataset} does not"


def _steps(experiment) -> bool:
    return experiment.pictures is not None and experiment.pictures.steps == "pixels"


def _redraws(config: Config, run: Run) -> bool:
    return run.pixels is not None and config.pixels[run.pixels].step == "mae"


def _faults(config: Config, run: Run) -> Iterator[str]:
    selection = run.selection
    dataset = config.datasets[selection.dataset]
    fresh = config.trainers[run.trainer].fresh_tobias
    yield from _mask_faults(config, selection.dataset, selection.mask, selection.tobias_size)
    if fresh:
        yield from _mask_faults(config, selection.dataset, fresh.mask, fresh.size)
    mixture = config.mixtures[selection.mixture]
    if mixture.budget == "originals" and run.keep_ratio > mixture.originals + mixture.tobias:
        yield f"keep_ratio {run.keep_ratio:g} asks for more images than the pool of mixture {selection.mixture} holds"
    selector = config.selectors[selection.selector]
    if selector.kind == "published" and selection.mask:
        yield f"{selection.selector} is a list of originals, and mixture {selection.mixture} has Tobias images"
    if selector.reads_scores:
        if mixture.tobias:
            yield (
                f"selector {selection.selector} needs scores, which are known of originals alone, and mixture "
                f"{selection.mixture} has Tobias images: choose a mixture without, or the kind score_bins"
            )
        if not config.backbones[selection.backbone].epochs:
            yield f"selector {selection.selector} scores by training, and backbone {selection.backbone} has no epochs"
    whole = mixture.originals if mixture.budget == "originals" else 1
    if selector.kind == "ccs" and run.keep_ratio > whole * (1 - selector.prune_hardest):
        yield (
            f"selector {selection.selector} drops {selector.prune_hardest:g} of the images as too hard, so keep_ratio "
            f"{run.keep_ratio:g} is more than there is: lower selectors.{selection.selector}.prune_hardest"
        )
    trainer = config.trainers[run.trainer]
    if run.pixels and config.pixels[run.pixels].step == "cutmix" and (trainer.mix != "none" or fresh):
        yield (
            f"pixels {run.pixels} mixes images and labels once for all, and trainer {run.trainer} would mix them "
            "again: choose a trainer without mix and fresh_tobias"
        )
    if _redraws(config, run):
        autoencoder = config.autoencoders[config.pixels[run.pixels].autoencoder]
        if autoencoder.weights == "self" and dataset.size % autoencoder.grid:
            yield (
                f"autoencoders.{config.pixels[run.pixels].autoencoder}.grid = {autoencoder.grid} does not divide the "
                f"{dataset.size} pixels of datasets.{selection.dataset}"
            )


def missing_weights(config: Config, pixels: Iterable[str]) -> list[str]:
    """One sentence for each autoencoder of these pixel steps whose weights are not there and have no address."""
    used = {config.pixels[name].autoencoder for name in pixels} - {None}
    return [
        f"autoencoders.{name}.weights = {block.weights!r}: there is no such file (looked for "
        f"{Path(block.weights).expanduser().absolute()}). Put it there, give its url, or set weights: self to "
        "pre-train one on the set itself."
        for name in sorted(used)
        for block in [config.autoencoders[name]]
        if block.weights != "self" and not block.url and not Path(block.weights).expanduser().exists()
    ]
