"""From experiments to runs: each run once, however many experiments share it."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from dqv2.config import Axes, Config, ConfigError, Experiment
from dqv2.config.experiments import Arm
from dqv2.paper.kinds import FIGURES

AXES = tuple(Axes.model_fields)
MOST = 100_000  # trainings of an experiment


@dataclass(frozen=True)
class Selection:
    """What a coreset is drawn from and how, without the keep ratio and the seed."""

    dataset: str
    mixture: str
    selector: str
    mask: str | None = None  # None: no Tobias images in the pool
    tobias_size: int | None = None
    backbone: str | None = None  # None: the selector reads no features

    @property
    def path(self) -> str:
        """The part of a path that identifies the selection."""
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
    keep_ratio: float  # share of the images
    pixels: str | None  # None: no pixel step
    trainer: str
    seed: int
    drawn: int | None = None  # the seed of the coreset, if it is another one


class Row(NamedTuple):
    """A run as an experiment shows it."""

    run: Run
    title: str
    method: str | None


class Cell(NamedTuple):
    """A point of the product of an arm's axes; a run but for its seeds."""

    method: str | None
    title: str | None  # the arm's own
    selection: Selection
    keep_ratio: float
    pixels: str | None
    trainer: str


def rows_of(config: Config, name: str) -> list[Row]:
    """The runs of an experiment in the order of its block.

    Raises:
        ConfigError: there are more than `MOST`.
    """
    experiment = config.experiments[name]
    if experiment.selection_seeds:
        seeds = list(itertools.product(experiment.training_seeds, experiment.selection_seeds))
    else:
        seeds = [(seed, seed) for seed in experiment.seeds or config.seeds]
    cells = _cells_of(config, name, len(seeds))
    titles = _titles(config, name, cells)
    return [
        Row(Run(*cell[2:], seed, None if drawn == seed else drawn), titles[cell], cell.method)
        for cell in cells
        for seed, drawn in seeds
    ]


def _points(experiment: Experiment, arm: Arm) -> int:
    """How many points the product of an arm's axes has."""
    axes = [getattr(arm, axis) or getattr(experiment, axis) for axis in ("method", *AXES)]
    return math.prod(len(values) for values in axes if values)


def largest_keeps(config: Config) -> dict[Selection, float]:
    """The largest share of the images that any experiment keeps from each selection, whether or not it is a target, so
    that the targets of a command do not change how many images are ranked."""
    found: dict[Selection, float] = {}
    for name in config.experiments:
        for cell in _cells_of(config, name):
            found[cell.selection] = max(cell.keep_ratio, found.get(cell.selection, 0.0))
    return found


def _cells_of(config: Config, name: str, seeds: int = 1) -> list[Cell]:
    """`_cells` of all arms of an experiment, each once."""
    experiment = config.experiments[name]
    arms = experiment.arms or [experiment]
    if (asked := seeds * sum(_points(experiment, arm) for arm in arms)) > MOST:
        raise ConfigError(f"experiments.{name}: it asks for {asked:,} trainings, and at most {MOST:,} can be planned")
    return list(dict.fromkeys(cell for arm in arms for cell in _cells(config, experiment, arm)))


def _cells(config: Config, experiment: Experiment, arm: Arm) -> Iterator[Cell]:
    def values(axis: str) -> list | None:
        return getattr(arm, axis) or getattr(experiment, axis)

    for method in values("method") or [None]:
        fixed = config.methods[method] if method else Axes()
        choices = []
        for axis in AXES:
            default = getattr(config.defaults, axis)
            own = getattr(fixed, axis)
            choices.append(values(axis) or [own if own is not None else default])
        for point in itertools.product(*choices):
            axes = dict(zip(AXES, point, strict=True))
            if not values("tobias_size") and fixed.tobias_size is None:
                axes["tobias_size"] = config.datasets[axes["dataset"]].tobias_size or axes["tobias_size"]
            title = arm.title or experiment.title
            pixels = None if config.pixels[axes["pixels"]].step == "none" else axes["pixels"]
            keep = config.pixels[axes["pixels"]].share_of_images(axes["keep_ratio"])
            yield Cell(method, title, _selection(config, axes), keep, pixels, axes["trainer"])


def _selection(config: Config, axes: dict[str, Any]) -> Selection:
    """Drop the axes on which the selection does not depend, so that equal work has one path."""
    with_tobias = config.mixtures[axes["mixture"]].tobias > 0
    selector = config.selectors[axes["selector"]]
    return Selection(
        dataset=axes["dataset"],
        mixture=axes["mixture"],
        selector=axes["selector"],
        mask=axes["mask"] if with_tobias else None,
        tobias_size=axes["tobias_size"] if with_tobias else None,
        backbone=axes["backbone"] if selector.reads_features or selector.reads_scores else None,
    )


def replaced(config: Config, experiment: str, run: Run | Cell, method: str | None) -> dict[str, Any]:
    """What an experiment sets in place of a different value of the method's own block: axis -> the experiment's value.

    Without such axes the run is the method that the paper and the claims speak of. An axis without effect on the run is
    left out, and all are where the experiment's figure and table show one of them in the place of methods: there the
    method is what is varied.
    """
    found = _replaced(config, run, method) if method else {}
    return {} if _varied(config.experiments[experiment]) & set(found) else found


def _replaced(config: Config, run: Run | Cell, method: str) -> dict[str, Any]:
    own, values = config.methods[method], vars(run.selection) | {"pixels": run.pixels, "trainer": run.trainer}
    found = {axis: values[axis] for axis in AXES if axis in values and _set_otherwise(own, axis, values[axis])}
    if own.pixels and config.pixels[own.pixels].step == "none" and run.pixels is None:
        found.pop("pixels", None)
    counted = config.pixels[run.pixels].share_of_images(1.0) if run.pixels else 1.0
    if own.keep_ratio and abs(own.keep_ratio * counted - run.keep_ratio) > 1e-9:
        found["keep_ratio"] = float(f"{run.keep_ratio / counted:.9g}")
    return found


def _set_otherwise(own: Axes, axis: str, value: Any) -> bool:
    """Whether a method's block sets an axis to another value than a run has; None there: it has no effect."""
    set_to = getattr(own, axis)
    return set_to is not None and set_to != value and (value is not None or axis == "pixels")


def _varied(experiment: Experiment) -> set[str]:
    """The axes that every figure and table of an experiment shows in the place of methods' names."""
    figure, table = experiment.figure, experiment.table
    shown = [{figure.x or FIGURES[figure.kind].x, figure.hue, figure.panel}] if figure else []
    shown += [{table.row or "label", table.column}] if table else []
    if not shown or any({"label", "method"} & columns for columns in shown):
        return set()
    derived = {"originals": "mixture", "tobias": "mixture", "mask_title": "mask", "mix": "trainer"}
    return set.intersection(*({derived.get(name, name) for name in columns if name} for columns in shown))


def _titles(config: Config, name: str, cells: list[Cell]) -> dict[Cell, str]:
    """A printed name for each cell: its arm's title, or its method's with what the experiment replaces of it and what
    distinguishes arms of one method."""
    titles, masks, pixels = {}, defaultdict(set), defaultdict(set)
    for cell in cells:
        masks[cell.method].update({cell.selection.mask} - {None})
        pixels[cell.method].add(cell.pixels)
    for cell in cells:
        title = config.methods[cell.method].title if cell.method else cell.selection.path
        told = replaced(config, name, cell, cell.method)
        if cell.selection.mask and len(masks[cell.method]) > 1:
            told["mask"] = cell.selection.mask
        if len(pixels[cell.method]) > 1:
            told["pixels"] = cell.pixels
        titles[cell] = cell.title or ", ".join([title, *(_told(config, *each) for each in told.items())])
    return titles


def _told(config: Config, axis: str, value: Any) -> str:
    """An axis's value in a title: its block's title, else axis and value."""
    if axis == "pixels" and value is None:
        return "pixels as they are"
    blocks = getattr(config, axis if axis == "pixels" else f"{axis}s", None)
    title = blocks[value].title if blocks else ""
    words = {"keep_ratio": "keep ratio", "tobias_size": "Tobias size"}.get(axis, axis)
    return title or (value if axis in ("mask", "pixels") else f"{words} {value}")


def title_of(blocks: dict[str, Any], name: str | None) -> str | None:
    """The printed name of a block: its title, or else its name."""
    return (blocks[name].title or name) if name else None
