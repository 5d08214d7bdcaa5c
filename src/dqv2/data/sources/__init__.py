"""Readers of the known sets: each lists the samples from the set's official layout, with the published splits."""

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from dqv2.data.errors import DataError, no_folder
from dqv2.data.published import KNOWN_SETS
from dqv2.data.sample import ImageSet, choose_classes, divide_splits
from dqv2.declared import check_choice, load

READERS = {"image_folder": "dqv2.data.folder:list_folder", "table": "dqv2.data.sources.table:load"}
READERS |= {known.name: known.reader for known in KNOWN_SETS.values()}


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
    as for `divide_splits` and `choose_classes`. Raises ValueError for another kind, TypeError for an option that the
    kind does not have, DataError where the folder does not have the published layout, and as those two do.
    """
    check_choice(kind, "kind", READERS)
    read, root = load(READERS[kind]), Path(folder).expanduser().absolute()
    if unknown := sorted(options.keys() - signature(read).parameters):
        raise TypeError(f"a set of kind {kind} has no option {unknown[0]}")
    if kind == "image_folder":
        found = read(root, **options)
    elif not root.is_dir():
        raise DataError(
            f"{no_folder(root)}: expected is one with {'tables' if kind == 'table' else f'the set {kind}'}."
        )
    else:
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
