"""A dataset's block of the configuration to its packs."""

import json
from pathlib import Path
from typing import Any

from dqv2.data.errors import DataError
from dqv2.data.layout import no_test
from dqv2.data.pack import Pack


def pack_dataset(name: str, out: str | Path, *, kind: str, split_seed: int = 0, **options: Any) -> dict[str, int]:
    """Write the packs `out/train`, `out/validation` and `out/test`; returns how many images each holds.

    kind: of the configuration's datasets. split_seed: what the split is drawn from, where it is drawn. options: as
    `pack_digits` takes them, or `folder` and those of `open_set` and `pack_set`. Raises DataError where images are
    missing or cannot be read; nothing is left behind.
    """
    if kind == "digits":
        from dqv2.data.digits import pack_digits

        folders = pack_digits(out, dataset=name, seed=split_seed, **options)
    else:
        from dqv2.data.packing import pack_set
        from dqv2.data.sources import open_set

        keys = ("size", "storage", "on_bad", "on_duplicate", "max_pixels", "workers")
        packing = {key: options.pop(key) for key in keys if key in options}
        images = open_set(kind, options.pop("folder"), seed=split_seed, **options)
        folders = pack_set(images, out, dataset=name, **packing)
    return {split: len(Pack.open(folder)) for split, folder in folders.items()}


def require_test(splits: str | Path, name: str) -> None:
    """Before a training: raise DataError where a dataset's `splits.json` says that it has no image to evaluate on."""
    if not json.loads(Path(splits).read_text(encoding="utf-8"))["test"]:
        raise DataError(no_test(name, name))
