"""Datasets: where images come from, and what a network for them looks like."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dqv2.config.base import Block, Seed


class Augment(Block):
    """What training does to each image of a batch, drawn anew for each image."""

    crop: Literal["none", "pad", "resized"] = "none"
    pad: Annotated[int, Field(ge=0)] = 4
    flip: bool = False


class Dataset(Block):
    """What every dataset has."""

    title: str
    size: Annotated[int, Field(ge=8)]
    stem: Literal["standard", "small"] = "standard"
    augment: Augment = Augment()


class Digits(Dataset):
    """The embedded set: scikit-learn's handwritten digits on crops of its two photographs."""

    kind: Literal["digits"]
    size: Annotated[int, Field(ge=16)] = 32
    train: Annotated[int, Field(ge=10)] = 1200
    validation: Annotated[int, Field(ge=10)] = 197
    test: Annotated[int, Field(ge=10)] = 400
    split_seed: Seed = 0


class ImageFolder(Dataset):
    """A folder of images as torchvision's ImageFolder reads it."""

    kind: Literal["image_folder"]
    path: str
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0
    per_class: dict[Literal["train", "validation", "test"], Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    on_bad: Literal["error", "skip"] = "error"
    split_seed: Seed = 0
