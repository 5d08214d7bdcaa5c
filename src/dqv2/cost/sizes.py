"""How many images a dataset has, before it is packed."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dqv2.config import ConfigError
from dqv2.config.data import Digits, ImageFolder
from dqv2.data.errors import DataError
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
    """The sizes of a dataset: as given, from its pack, as published, or counted in its folder.

    given: dataset -> number of training images, from the command line; takes precedence except over the digits' own.
    packed: whether an existing pack takes precedence over the published sizes. Raises ConfigError where the number of
    images is unknown.
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
        if block.classes is not None:  # the classes of a published set are of about equal size
            part = block.classes if isinstance(block.classes, int) else len(block.classes)
            sizes, classes = {split: number * part // classes for split, number in sizes.items()}, part
    elif block.kind == "image_folder" and (found := _counted(block)):
        (classes, sizes), source = found, "counted in its folder"
    else:
        raise ConfigError(f"nobody knows yet how many images {dataset} has: say it with --images {dataset}=5000")
    whole = sizes["train"]
    for split, share in (("validation", block.validation), ("test", block.test)):
        if split not in sizes:  # held out from train, as packing does
            sizes[split] = round(whole * share)
            sizes["train"] -= sizes[split]
    for split, limit in block.per_class.items():
        sizes[split] = min(sizes[split], limit * classes)
    return Sizes(**sizes, classes=classes, source=source)


def _packed(plan: Plan, dataset: str) -> Sizes | None:
    """The sizes recorded in an existing pack; None without one."""
    sizes = read_json(plan.file("pack", "splits", dataset=dataset))
    meta = read_json(Path(plan.file("pack", "train", dataset=dataset), "meta.json"))
    try:
        return Sizes(sizes["train"], sizes["validation"], sizes["test"], len(meta["classes"]), "its pack")
    except (KeyError, TypeError):  # not packed yet, or damaged
        return None


def _counted(block: ImageFolder) -> tuple[int, dict[str, int]] | None:
    """Number of classes, and of images in each split, as packing reads a folder; files are only listed."""
    from dqv2.data.folder import list_folder
    from dqv2.data.sample import choose_classes

    try:
        found = list_folder(block.path, splits=block.splits, unlabelled=block.unlabelled, masks=block.masks)
        choose_classes(found, block.classes)
    except DataError:
        return None
    return len(found.classes), {split: len(samples) for split, samples in found.splits.items()}
