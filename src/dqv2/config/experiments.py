"""Experiments, their results, and the whole configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from dqv2.config.base import (
    Block,
    KeepRatio,
    Name,
    Printed,
    Scalar,
    Seeds,
    TobiasSize,
    Wanted,
    each_once,
    many,
    one_of,
    real,
    refuse_idle,
    whole,
)
from dqv2.config.blocks import Autoencoder, Axes, Backbone, Mask, Method, Mixture, Pixels, Selector, Trainer
from dqv2.config.data import AnyDataset
from dqv2.paper.kinds import FIGURES
from dqv2.select.names import Form, Generated

# Keys for which null is a value: no hue, no panels, no columns, nothing in bold. Elsewhere null resets a key.
NULLABLE = ("hue", "panel", "column", "better")
OVERLAP = ("iou", "iou_others", "own_minus_others")


class Arm(Block):
    """Axes as lists; the arm is their product. `title` is printed instead of the method's title."""

    title: Printed | None = None
    dataset: many(Name) | None = None
    method: many(Name) | None = None
    keep_ratio: many(KeepRatio) | None = None
    tobias_size: many(TobiasSize) | None = None
    mask: many(Name) | None = None
    mixture: many(Name) | None = None
    backbone: many(Name) | None = None
    selector: many(Name) | None = None
    pixels: many(Name) | None = None
    trainer: many(Name) | None = None


class Drawn(Block):
    """A figure or table made from an experiment's tidy table; keys name its columns."""

    y: str = "test_accuracy"
    # {column: value or list of values}: the rows to show; null is a missing value
    where: dict[str, Wanted] | None = None
    # values of x or row in the desired order; else as they appear, numbers ascending
    order: Annotated[list[Scalar], Field(min_length=1), AfterValidator(each_once)] | None = None
    names: dict[str, str] | None = None  # {value: printed name}
    decimals: whole(0, 6) | None = None  # else 1 where seeds spread by a point, 2 elsewhere

    def spec(self, *, partial: bool = False) -> dict[str, Any]:
        """The keys with a value, null included where it is one (`NULLABLE`), and `partial` if runs may be missing."""
        nulls = [name for name in NULLABLE if name in self.model_fields_set and getattr(self, name) is None]
        spec = self.model_dump(exclude_none=True) | dict.fromkeys(nulls)
        return spec | {"partial": True} if partial else spec


class Figure(Drawn):
    """A figure: a column for each value of `x`, or a line along it, for each value of `hue`."""

    kind: one_of(FIGURES)
    x: str | None = None  # by default what the kind says
    hue: str | None = None
    panel: str | None = None  # by default `dataset` where the table has several
    # lines: [{label, column: value, ...}], mean ± sd of what matches
    reference: Annotated[list[dict[str, Scalar | None]], Field(min_length=1)] | None = None
    title: Printed | None = None  # above the axes, left
    xlabel: Printed | None = None
    ylabel: Printed | None = None
    hue_label: Printed | None = None  # before the legend
    ylim: Annotated[list[real()], Field(min_length=2, max_length=2)] | None = None  # [low, high], else from the data
    values: bool | None = None  # (methods) print "mean ± sd" above each column, true unless set
    width: Literal["column", "full"] | real(ge=1, le=30) | None = None  # 3.4 in, 7 in, or inches
    height: real(ge=1, le=30) | None = None  # inches

    @model_validator(mode="after")
    def _labels(self) -> Figure:
        if self.ylim and self.ylim[0] >= self.ylim[1]:
            raise ValueError(f"ylim is [low, high], and {self.ylim[0]:g} is not below {self.ylim[1]:g}")
        if any(entry.get("label") is None for entry in self.reference or []):
            example = "{label: all, method: random}"
            raise ValueError(f"each entry of reference needs a label, and columns with their values: {example}")
        idle = [key for key in ("values", "decimals") if key not in FIGURES[self.kind].prints]
        refuse_idle(self, idle, f"with kind: {self.kind}")
        return self


class Table(Drawn):
    """A table of means ± sd, as CSV, Markdown and LaTeX."""

    row: str | None = None  # by default the printed name of the method, mask or variant of images
    column: str | None = None  # by default keep_ratio, or dataset where only that has several values; null: none
    caption: str | None = None  # the first words of the caption
    row_title: Printed | None = None  # header of the first column, "Method" unless set
    better: Literal["higher", "lower"] | None = "higher"  # which mean is bold; null: none
    # rows, as they are printed: the leads of the others over them, paired by seed
    against: Annotated[list[str], Field(min_length=1), AfterValidator(each_once)] | None = None
    # columns whose means are added on the right: selection_seconds, ...
    beside: Annotated[list[str], Field(min_length=1), AfterValidator(each_once)] | None = None


class Pictures(Block):
    """Example images: the original and its Tobias image at each size of the experiment; or, for `steps: pixels`, the
    original, the image without its least important patches, and its reconstruction."""

    steps: Literal["tobias", "pixels"] = "tobias"
    images: whole(1, 20) = 4


STORAGE = ("megabytes", "bytes_per_image")


class Storage(Block):
    """Encoded size of each DQ coreset's images: original, with patches dropped, reconstructed, as Tobias images."""

    encoding: Literal["jpeg", "png"] = "jpeg"
    quality: whole(1, 100) = 90
    mask: Name
    tobias_size: TobiasSize

    @model_validator(mode="after")
    def _quality_where_used(self) -> Storage:
        refuse_idle(self, () if self.encoding == "jpeg" else ("quality",), f"with encoding: {self.encoding}")
        return self


class Export(Block):
    """Coresets as folders: always their ids, and of the originals links, copies, the packed images, or nothing.

    `generated` is the format of Tobias and redrawn images and of packed originals. `empty_classes` also makes a folder
    for a class without an image.
    """

    images: Form = "none"
    generated: Generated = "png"
    empty_classes: bool = False

    @model_validator(mode="after")
    def _images_where_used(self) -> Export:
        refuse_idle(self, ("generated", "empty_classes") if self.images == "none" else (), "with images: none")
        return self

    @property
    def form(self) -> str:
        """Its name in the folder's path: "ids", or such as "links-png", with "-all" if all classes get folders."""
        return "ids" if self.images == "none" else f"{self.images}-{self.generated}" + "-all" * self.empty_classes


class Diagram(Block):
    """The pipelines of the experiment's methods side by side, from the stages that the plan runs. Nothing is trained
    for it."""


class Cost(Block):
    """Seconds and peak memory of each stage that the experiment's methods need, and accuracy against all seconds."""


class Experiment(Arm):
    """One analysis: its axes, further arms, and its outputs."""

    about: str = ""
    arms: Annotated[list[Arm], Field(default_factory=list, min_length=1)]
    seeds: Seeds | None = None
    # together with training_seeds, instead of `seeds`: every seed of a coreset with every seed of a training
    selection_seeds: Seeds | None = None
    training_seeds: Seeds | None = None
    figure: Figure | None = None
    table: Table | None = None
    pictures: Pictures | None = None
    storage: Storage | None = None
    export: Export | None = None
    overlap: bool = False  # the table is of the masks' overlap with known objects: columns iou, own_minus_others
    diagram: Diagram | None = None
    cost: Cost | None = None

    @model_validator(mode="after")
    def _some_output(self) -> Experiment:
        made = ("figure", "pictures", "diagram", "cost", "table", "export")
        drawn = [name for name in made[:4] if getattr(self, name)]
        measures = {block.y for block in (self.figure, self.table) if block}
        apart = "make two experiments of it"
        if not any(getattr(self, name) for name in made):
            raise ValueError("say what comes of it: figure, table, pictures, export, diagram or cost")
        if self.storage and not measures:
            raise ValueError("storage makes rows to show: add a table or a figure")
        if self.storage and not measures <= set(STORAGE):
            raise ValueError(f"with storage, the y of a figure or table is one of {', '.join(STORAGE)}")
        if self.overlap != bool(measures & set(OVERLAP)) or (self.overlap and not measures <= set(OVERLAP)):
            raise ValueError(f"overlap: true goes with a figure or table whose y is one of {', '.join(OVERLAP)}")
        if self.overlap and self.storage:
            raise ValueError(f"overlap and storage would be the same table: {apart}")
        if len(drawn) > 1:
            raise ValueError(f"{' and '.join(drawn)} would be the same file: {apart}")
        if self.cost and (self.overlap or self.storage):
            raise ValueError(f"a cost is of trainings, which overlap and storage have none of: {apart}")
        if (self.selection_seeds is None) != (self.training_seeds is None) or (self.selection_seeds and self.seeds):
            raise ValueError("give selection_seeds and training_seeds together, or seeds, which are both")
        if self.selection_seeds and (self._of_coresets or not (self.figure or self.table)):
            raise ValueError("selection_seeds and training_seeds are for figures and tables of trainings")
        if self.diagram and self.table:
            raise ValueError(f"a diagram makes no runs that a table could show: {apart}")
        return self

    @property
    def _of_coresets(self) -> bool:
        """Whether an output is requested that is made from coresets rather than trainings alone."""
        return bool(self.pictures or self.storage or self.export or self.overlap or self.diagram or self.cost)


class Config(Block):
    """The whole configuration."""

    run: Name
    label: Printed | None = None
    seeds: Seeds
    threads: whole(1, 1024)
    partial: bool = False
    targets: many(Name)
    datasets: dict[Name, AnyDataset]
    trainers: dict[Name, Trainer]
    backbones: dict[Name, Backbone]
    masks: dict[Name, Mask]
    mixtures: dict[Name, Mixture]
    selectors: dict[Name, Selector]
    autoencoders: dict[Name, Autoencoder]
    pixels: dict[Name, Pixels]
    methods: dict[Name, Method]
    defaults: Axes
    experiments: dict[Name, Experiment]
