"""Experiments to runs: each run once, however many experiments share it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from dqv2.config import Axes, Config, ConfigError, Experiment
from dqv2.config.data import KNOWS_OBJECTS

AXES = ("dataset", "keep_ratio", "tobias_size", "mask", "mixture", "backbone", "selector", "trainer")


@dataclass(frozen=True)
class Selection:
    """What a coreset is drawn from and how; the keep ratio and the seed apart."""

    dataset: str
    mixture: str
    selector: str
    mask: str | None = None  # None: no Tobias images in the pool
    tobias_size: int | None = None
    backbone: str | None = None  # None: the selector reads no features

    @property
    def path(self) -> str:
        """The part of a path that says which selection it is."""
        parts = [self.mixture]
        if self.mask:
            parts += [f"mask-{self.mask}", f"tobias-{self.tobias_size}"]
        if self.backbone:
            parts += [f"backbone-{self.backbone}"]
        return "/".join([*parts, self.selector])


@dataclass(frozen=True)
class Run:
    """One training."""

    selection: Selection
    keep_ratio: float
    trainer: str
    seed: int


class Row(NamedTuple):
    """A run as an experiment shows it."""

    run: Run
    title: str
    method: str | None


def rows_of(config: Config, experiment: Experiment) -> list[Row]:
    """The runs of an experiment in the order of its block."""
    seeds = experiment.seeds or config.seeds
    cells = list(dict.fromkeys(cell for arm in experiment.arms or [None] for cell in _cells(config, experiment, arm)))
    titles = _titles(config, cells)
    return [
        Row(Run(selection, keep, trainer, seed), titles[cell], method)
        for cell in cells
        for (method, _, selection, keep, trainer) in [cell]
        for seed in seeds
    ]


def _cells(config: Config, experiment: Experiment, arm: Any) -> Iterator[tuple]:
    """(method, title, selection, keep ratio, trainer) for each point of the product of an arm's axes."""

    def values(axis: str) -> list | None:
        return (getattr(arm, axis) if arm else None) or getattr(experiment, axis)

    for method in values("method") or [None]:
        fixed = config.methods[method] if method else Axes()
        choices = []
        for axis in AXES:
            default = getattr(config.defaults, axis)
            own = getattr(fixed, axis)
            choices.append(values(axis) or [own if own is not None else default])
        for point in itertools.product(*choices):
            axes = dict(zip(AXES, point, strict=True))
            title = (arm.title if arm else None) or experiment.title
            yield (method, title, _selection(config, axes), axes["keep_ratio"], axes["trainer"])


def _selection(config: Config, axes: dict[str, Any]) -> Selection:
    """Drop the axes on which the selection does not depend, so that equal work has one path."""
    with_tobias = config.mixtures[axes["mixture"]].tobias > 0
    with_features = config.selectors[axes["selector"]].reads_features
    return Selection(
        dataset=axes["dataset"],
        mixture=axes["mixture"],
        selector=axes["selector"],
        mask=axes["mask"] if with_tobias else None,
        tobias_size=axes["tobias_size"] if with_tobias else None,
        backbone=axes["backbone"] if with_features else None,
    )


def _titles(config: Config, cells: list[tuple]) -> dict[tuple, str]:
    """A name to print for each cell: its arm's or its method's title, and the mask where it tells arms apart."""
    titles = {}
    for cell in cells:
        method, title, selection, *_ = cell
        title = title or (config.methods[method].title if method else selection.path)
        masks = {c[2].mask for c in cells if c[0] == method and c[2].mask}
        if len(masks) > 1 and selection.mask and not cell[1]:
            title = f"{title}, {title_of(config.masks, selection.mask)}"
        titles[cell] = title
    return titles


def title_of(blocks: dict[str, Any], name: str | None) -> str | None:
    """What to print for a block's name."""
    return (blocks[name].title or name) if name else None


def check(config: Config, rows_by_experiment: dict[str, list[Row]]) -> None:
    """Raise ConfigError where an experiment asks for something impossible."""
    faults = []
    for name, rows in rows_by_experiment.items():
        for run, *_ in rows:
            selection = run.selection
            size = config.datasets[selection.dataset].size
            fresh = config.trainers[run.trainer].fresh_tobias
            for cells in (selection.tobias_size or 0, fresh.size if fresh else 0):
                if cells > size:
                    faults.append(
                        f"experiments.{name}: Tobias size {cells} is finer than the {size} pixels of "
                        f"datasets.{selection.dataset}"
                    )
            mixture = config.mixtures[selection.mixture]
            if mixture.budget == "originals" and run.keep_ratio > mixture.originals + mixture.tobias:
                faults.append(
                    f"experiments.{name}: keep_ratio {run.keep_ratio:g} asks for more images than the pool of "
                    f"mixture {selection.mixture} holds"
                )
            if config.experiments[name].overlap:
                if selection.mask is None:
                    faults.append(
                        f"experiments.{name}: an overlap needs masks, and mixture {selection.mixture} has none"
                    )
                elif config.datasets[selection.dataset].kind not in KNOWS_OBJECTS:
                    faults.append(f"experiments.{name}: {selection.dataset} does not know its objects")
            if config.selectors[selection.selector].kind == "published" and selection.mask:
                faults.append(
                    f"experiments.{name}: {selection.selector} is a list of originals; mixture {selection.mixture} has "
                    "Tobias images"
                )
            for mask in {selection.mask, fresh.mask if fresh else None} - {None}:
                known = config.datasets[selection.dataset].kind in KNOWS_OBJECTS
                if config.masks[mask].source == "object" and not known:
                    faults.append(
                        f"experiments.{name}: mask {mask} (source object) needs a set that knows its objects; "
                        f"{selection.dataset} does not"
                    )
    if faults:
        raise ConfigError("\n  ".join(["the configuration asks for what cannot be done:", *dict.fromkeys(faults)]))
