"""Forms of an export, and names of its files and folders that no reader of image folders misinterprets."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal

from dqv2.data.layout import IMG_EXTENSIONS
from dqv2.data.walk import SYSTEM
from dqv2.data.words import SPLITS
from dqv2.runtime.files import sha256

Form = Literal["none", "links", "copies", "packed"]  # of the originals in an export
Generated = Literal["png", "jpeg"]  # the format of images that have no file of their own
# Not allowed in names on Windows or in a line of a list; `datasets` takes $HOME for a variable and :: for an archive's
UNFIT = re.compile(r"""[/\\:*?"<>|$\x00-\x1f\x7f\x85\u2028\u2029]""")
LONGEST = 200  # bytes of a name; file systems allow 255
# Where Hugging Face's `datasets` finds one of its words in a name, delimited by non-letters, it takes the file for that
# split, and leaves out all files without one
SPLIT = re.compile(rf"(?<![^\W\d_])({'|'.join(SPLITS)})(?![^\W\d_])", re.IGNORECASE)


def without_splits(name: str) -> str:
    """A name in which no word names a split: train_01 -> train~_01."""
    return SPLIT.sub(r"\1~", name)


def class_folders(classes: Sequence[str]) -> list[str]:
    """The folder name of each class, one level deep; sorted by name they are in the order of the classes.

    It is the class's own name where possible: where no name is hidden or contains a split's word, and the names, after
    replacing illegal characters and stripping spaces (which timm's class map drops), differ and are sorted, both
    lexicographically and as timm sorts them. Otherwise every name begins with the class's index: 03_dog.
    """
    folders = [_short(without_splits(UNFIT.sub("_", name)).strip()) for name in classes]
    alike = len({folder.casefold() for folder in folders}) < len(folders)
    odd = any(_passed_over(folder) or SPLIT.search(name) for folder, name in zip(folders, classes, strict=True))
    if alike or odd or sorted(folders) != folders or sorted(folders, key=_natural) != folders:
        width = len(str(len(folders) - 1))
        return [f"{i:0{width}}_{folder}" for i, folder in enumerate(folders)]
    return folders


def _natural(name: str) -> list[int | str]:
    """timm's sort key for class folders: natural order, ignoring case."""
    return [int(part) if k % 2 else part for k, part in enumerate(re.split(r"(\d+)", name.lower()))]


def file_name(sample: str, suffix: str, mark: str, taken: set[str]) -> str:
    """An unused file name for a sample, made from its id; unique also on file systems that ignore case.

    mark: a suffix to the id, such as _tobias. taken: the names in use, in lower case; the new one is added.
    """
    own = PurePosixPath(sample)
    stem = UNFIT.sub("_", str(own.with_suffix("") if own.suffix.lower() in IMG_EXTENSIONS else own))
    name = f"{without_splits(stem)}{mark}{suffix}"
    if len(name.encode()) > LONGEST or name.lower() in taken:
        kept = without_splits(stem).encode()[-(LONGEST - 40) :].decode(errors="ignore")
        name = f"{without_splits(kept)}_{sha256(sample.encode())[:12]}{mark}{suffix}"
    taken.add(name.lower())
    return name


def _passed_over(folder: str) -> bool:
    """Whether `datasets` or an operating system would skip a folder of this name."""
    return not folder or folder.startswith((".", "__")) or folder.lower() in SYSTEM


def _short(name: str) -> str:
    if len(name.encode()) <= LONGEST:
        return name
    return f"{name.encode()[: LONGEST - 20].decode(errors='ignore')}_{sha256(name.encode())[:12]}"
