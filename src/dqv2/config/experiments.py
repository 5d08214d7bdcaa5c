"""Experiments, what comes of them, and the whole configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from dqv2.config.base import Block, KeepRatio, Name, Seed, TobiasSize, as_list
from dqv2.config.blocks import Axes, Backbone, Mask, Method, Mixture, Selector, Trainer
from dqv2.config.data import Digits, ImageFolder
from dqv2.config.needs import Needs


def _many(kind: Any) -> Any:
    return Annotated[list[kind], BeforeValidator(as_list)] | None


class Arm(Block):
    """Axes as lists; the arm is their product. `title` prints instead of the method's title."""

    title: str | None = None
    dataset: _many(Name) = None
    method: _many(Name) = None
    keep_ratio: _many(KeepRatio) = None
    tobias_size: _many(TobiasSize) = None
    mask: _many(Name) = None
    mixture: _many(Name) = None
    backbone: _many(Name) = None
    selector: _many(Name) = None
    trainer: _many(Name) = None


class Figure(Block):
    """A figure made from an experiment's table; `dqv2.paper.figures` explains the keys."""

    kind: Literal["methods", "line", "mixing"]
    x: str | None = None
    y: str = "test_accuracy"
    hue: str | None = None
    panel: str | None = None
    order: list[Any] | None = None
    names: dict[str, str] | None = None
    where: dict[str, Any] | None = None
    reference: list[dict[str, Any]] | None = None
    title: str | None = None
    xlabel: str | None = None
    ylabel: str | None = None
    hue_label: str | None = None
    ylim: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    values: bool | None = None
    width: Literal["column", "full"] | float | None = None
    height: float | None = None


class Table(Block):
    """A table made from an experiment's table; `dqv2.paper.tables` explains the keys."""

    row: str = "label"
    column: str | None = "keep_ratio"
    y: str = "test_accuracy"
    order: list[Any] | None = None
    names: dict[str, str] | None = None
    where: dict[str, Any] | None = None
    caption: str | None = None
    row_title: str | None = None
    decimals: Annotated[int, Field(ge=0, le=6)] | None = None


class Pictures(Block):
    """Example images: the original and its Tobias image at each size of the experiment."""

    images: Annotated[int, Field(ge=1, le=20)] = 4


class Experiment(Arm):
    """One analysis: its axes, further arms beside them, and what comes of it."""

    about: str = ""
    arms: list[Arm] = Field(default_factory=list)
    seeds: list[Seed] | None = None
    figure: Figure | None = None
    table: Table | None = None
    pictures: Pictures | None = None

    @model_validator(mode="after")
    def _some_output(self) -> Experiment:
        if not (self.figure or self.table or self.pictures):
            raise ValueError("say what comes of it: figure, table or pictures")
        if self.figure and self.pictures:
            raise ValueError("figure and pictures would be the same file: make two experiments of it")
        return self


class Config(Block):
    """The whole configuration."""

    run: Name
    label: str | None = None
    seeds: Annotated[list[Seed], Field(min_length=1)]
    seeds_per_job: Annotated[int, Field(ge=1)] = 1
    threads: Annotated[int, Field(ge=1)] = 4
    jobs_per_gpu: Annotated[int, Field(ge=1)] = 1
    needs: dict[str, Needs] = Field(default_factory=dict)
    partial: bool = False
    targets: list[Name]
    datasets: dict[Name, Annotated[Digits | ImageFolder, Field(discriminator="kind")]]
    trainers: dict[Name, Trainer]
    backbones: dict[Name, Backbone]
    masks: dict[Name, Mask]
    mixtures: dict[Name, Mixture]
    selectors: dict[Name, Selector]
    methods: dict[Name, Method]
    defaults: Axes
    experiments: dict[Name, Experiment]
