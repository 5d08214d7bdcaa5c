"""A dataset's block of the configuration to its packs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqv2.data.errors import DataError
from dqv2.data.pack import Pack
from dqv2.data.places import FILES, no_test, note_files, states_of
from dqv2.runtime.logging import logger, say

if TYPE_CHECKING:
    from dqv2.data.sample import ImageSet

# Of a dataset's options those that say how its images are packed; the others say which they are
PACKING = ("size", "storage", "on_bad", "on_duplicate", "max_pixels", "workers")


def pack_dataset(name: str, out: str | Path, *, kind: str, split_seed: int = 0, **options: Any) -> dict[str, int]:
    """Write the packs `out/train`, `out/validation` and `out/test`; returns how many images each holds.

    What is read as which split is logged before it is read; `out/files.csv` notes the sizes and times of the files.

    kind: of the configuration's datasets. split_seed: what the split is drawn from, where it is drawn. options: as
    `pack_digits` takes them, or `folder` and those of `open_set` and `pack_set`. Raises DataError where images are
    missing or cannot be read; nothing is left behind.
    """
    if kind == "digits":
        from dqv2.data.digits import pack_digits

        folders = pack_digits(out, dataset=name, seed=split_seed, **options)
        note_files({}, Path(out, FILES))
    else:
        from dqv2.data.packing import pack_set

        packing = {key: options[key] for key in PACKING if key in options}
        images = list_set(kind=kind, split_seed=split_seed, **options)
        _tell(name, images)
        files = states_of(images.root, images.files())
        folders = pack_set(images, out, dataset=name, **packing)
        note_files(files | images.named, Path(out, FILES))
    return {split: len(Pack.open(folder)) for split, folder in folders.items()}


def list_set(*, kind: str, folder: str, split_seed: int = 0, **options: Any) -> "ImageSet":
    """The images of a set, split by split, as they are packed; none is opened. Arguments as of `pack_dataset`.

    Raises DataError where the set's layout, labels or shares cannot be, which packing would say.
    """
    from dqv2.data.sources import open_set

    return open_set(kind, folder, seed=split_seed, **{k: v for k, v in options.items() if k not in PACKING})


def _tell(name: str, images: "ImageSet") -> None:
    """Say what was taken for which split, and what was not read."""
    for part in images.layout:
        shown = ", ".join(part["from"][:3]) + (f" and {len(part['from']) - 3} more" if len(part["from"]) > 3 else "")
        say(f"{name}: {shown} -> {part['split']}: {part['classes']:,} classes, {part['images']:,} images")
    for entry in images.aside:
        logger.info("%s: %s is left aside: %s", name, entry["name"], entry["reason"])


def require_test(splits: str | Path, name: str) -> None:
    """Before a training: raise DataError where a dataset's `splits.json` says that it has no image to evaluate on."""
    if not json.loads(Path(splits).read_text(encoding="utf-8"))["test"]:
        raise DataError(no_test(name, name))
