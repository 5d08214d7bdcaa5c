"""How many images a dataset has, before it is packed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dqv2.config import ConfigError
from dqv2.config.data import Digits
from dqv2.data.places import folder_of
from dqv2.data.published import KNOWN_SETS
from dqv2.plan import Plan
from dqv2.runtime.files import read_json


class Sizes(NamedTuple):
    """Images of each split, and classes; `source` says where the numbers come from."""

    train: int
    validation: int
    test: int
    classes: int
    source: str


def sizes_of(plan: Plan, dataset: str, given: Mapping[str, int] | None = None, *, packed: bool = True) -> Sizes:
    """The sizes of a dataset: as given, of its pack, as published, or counted in its folder.

    Args:
        plan: the plan.
        dataset: the block's name.
        given: dataset -> number of training images, where a person says it.
        packed: whether a pack that is there says it better than its authors.

    Raises:
        ConfigError: nothing says how many images there are.
    """
    block = plan.config.datasets[dataset]
    if isinstance(block, Digits):
        return Sizes(block.train, block.validation, block.test, 10, "the configuration")
    classes, train, test = KNOWN_SETS[block.kind].sizes if block.kind in KNOWN_SETS else (0, 0, 0)
    if given and dataset in given:
        return Sizes(given[dataset], 0, test or given[dataset] // 5, classes or 10, "as given")
    if packed and (found := _packed(plan, dataset)):
        return found
    if train:
        sizes, source = {"train": train, "test": test}, "published"
    elif block.kind == "image_folder" and (found := _counted(folder_of(plan.config, dataset))):
        (classes, sizes), source = found, "counted in its folder"
    else:
        raise ConfigError(f"nobody knows yet how many images {dataset} has: say it with --images {dataset}=5000")
    whole = sizes["train"]
    for split, share in (("validation", block.validation), ("test", block.test)):
        if split not in sizes:  # held out of train, as packing does it
            sizes[split] = round(whole * share)
            sizes["train"] -= sizes[split]
    for split, limit in block.per_class.items():
        sizes[split] = min(sizes[split], limit * classes)
    return Sizes(**sizes, classes=classes, source=source)


def _packed(plan: Plan, dataset: str) -> Sizes | None:
    """The sizes of a pack that is there."""
    sizes = read_json(plan.file("pack", "splits", dataset=dataset))
    meta = read_json(Path(plan.file("pack", "train", dataset=dataset), "meta.json"))
    try:
        return Sizes(sizes["train"], sizes["validation"], sizes["test"], len(meta["classes"]), "its pack")
    except (KeyError, TypeError):  # not packed yet, or damaged
        return None


def _counted(folder: str) -> tuple[int, dict[str, int]] | None:
    """Classes, and images of each split that there is, of a folder of classes or of splits; files are only listed."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        return None
    splits = {"train": root / "train", "validation": root / "validation", "test": root / "test"}
    if (root / "val").is_dir():
        splits["validation"] = root / "val"
    if not splits["train"].is_dir():
        splits = {"train": root}
    classes = [entry for entry in splits["train"].iterdir() if entry.is_dir()]
    there = {split: place for split, place in splits.items() if place.is_dir()}
    counts = {split: sum(len(files) for _, _, files in os.walk(place)) for split, place in there.items()}
    return (len(classes), counts) if classes else None
