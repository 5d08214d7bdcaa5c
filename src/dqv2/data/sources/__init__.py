"""Readers of the known sets: each lists the samples from the set's official layout, with the published splits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dqv2.data.errors import DataError, no_folder
from dqv2.data.published import KNOWN_SETS
from dqv2.data.sample import ImageSet, choose_classes, divide_splits
from dqv2.declared import load


def open_set(
    kind: str,
    folder: str | Path,
    *,
    validation: float = 0.0,
    test: float = 0.0,
    seed: int = 0,
    per_class: Mapping[str, int] | None = None,
    classes: int | Sequence[str] | None = None,
    **options: Any,
) -> ImageSet:
    """List the samples of a dataset of any kind but digits.

    kind, options: as in the configuration. folder: the set's own folder, as unpacked from its archive. Other arguments
    as for `divide_splits` and `choose_classes`. Raises DataError where the folder does not have the published layout,
    and as those two do.
    """
    root = Path(folder).expanduser().absolute()
    if kind == "image_folder":
        from dqv2.data.folder import list_folder

        found = list_folder(root, **options)
    elif not root.is_dir():
        raise DataError(
            f"{no_folder(root)}: expected is one with {'tables' if kind == 'table' else f'the set {kind}'}."
        )
    else:
        from dqv2.data.sources import table

        read = table.load if kind == "table" else load(KNOWN_SETS[kind].reader)
        try:
            found = read(root, kind=kind, **options)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataError(
                f"{root} is not laid out as {kind} is published: {error}. Remove it, or repair it."
            ) from error
    choose_classes(found, classes)
    shares = {"validation": validation, "test": test}
    found.splits = divide_splits(found.splits, name=root, shares=shares, seed=seed, per_class=per_class)
    return found
