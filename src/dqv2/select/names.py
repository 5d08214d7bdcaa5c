"""Names of exported files and folders that no reader of image folders takes for something else."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from dqv2.data.layout import IMG_EXTENSIONS
from dqv2.data.walk import SYSTEM
from dqv2.runtime.files import sha256

UNFIT = re.compile(r"[/\\:\x00-\x1f\x7f\x85\u2028\u2029]")  # for a folder's name, or for a line of a list
LONGEST = 200  # bytes of a name; file systems allow 255
# Where Hugging Face's `datasets` finds one of these in a name, between what are no letters, it takes the file for that
# split, and leaves out all files without one
SPLITS = re.compile(
    r"(?<![^\W\d_])(training|train|validation|valid|val|dev|testing|test|evaluation|eval)(?![^\W\d_])", re.IGNORECASE
)


def without_splits(name: str) -> str:
    """A name in which no word is a split's: train_01 -> train~_01."""
    return SPLITS.sub(r"\1~", name)


def class_folders(classes: Sequence[str]) -> list[str]:
    """The folder of each class, one level deep; sorted by name they are in the order of the classes.

    It is the class's own name wherever that can be: without what no name of a file may have, without a split's word,
    spaces around it (of which timm's class map knows nothing) and what makes it hidden, and with the names in their
    sorted order, by letters and as timm sorts them. Else each begins with its index: 03_dog.
    """
    folders = [_short(without_splits(UNFIT.sub("_", name)).strip()) for name in classes]
    alike = len({folder.casefold() for folder in folders}) < len(folders)
    odd = any(_passed_over(folder) or SPLITS.search(name) for folder, name in zip(folders, classes, strict=True))
    if alike or odd or sorted(folders) != folders or sorted(folders, key=_natural) != folders:
        width = len(str(len(folders) - 1))
        return [f"{i:0{width}}_{folder}" for i, folder in enumerate(folders)]
    return folders


def _natural(name: str) -> list[int | str]:
    """What timm sorts the folders of classes by: numbers by their value, and capitals like small letters."""
    return [int(part) if k % 2 else part for k, part in enumerate(re.split(r"(\d+)", name.lower()))]


def file_name(sample: str, suffix: str, mark: str, taken: set[str]) -> str:
    """The name of a sample's file, made of its id; one that was not taken, also where a system ignores case.

    mark: what is added to the id, such as _tobias. taken: the names that there are, in lower case; this one is added.
    """
    own = PurePosixPath(sample)
    stem = re.sub(r"[/\\]", "_", str(own.with_suffix("") if own.suffix.lower() in IMG_EXTENSIONS else own))
    name = f"{without_splits(stem)}{mark}{suffix}"
    if len(name.encode()) > LONGEST or name.lower() in taken:
        kept = without_splits(stem).encode()[-(LONGEST - 40) :].decode(errors="ignore")
        name = f"{without_splits(kept)}_{sha256(sample.encode())[:12]}{mark}{suffix}"
    taken.add(name.lower())
    return name


def _passed_over(folder: str) -> bool:
    """Whether `datasets` or a system takes a folder of this name for none of the set's."""
    return not folder or folder.startswith((".", "__")) or folder.lower() in SYSTEM


def _short(name: str) -> str:
    if len(name.encode()) <= LONGEST:
        return name
    return f"{name.encode()[: LONGEST - 20].decode(errors='ignore')}_{sha256(name.encode())[:12]}"
