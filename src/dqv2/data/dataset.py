"""A dataset's block of the configuration to its packs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dqv2.data.pack import DataError, Pack


def pack_dataset(name: str, out: str | Path, *, kind: str, split_seed: int = 0, **options: Any) -> dict[str, int]:
    """Write the packs `out/train`, `out/validation` and `out/test`; returns how many images each holds.

    Args:
        name: the dataset's name, noted in the packs.
        out: the folder of the three.
        kind: "digits" or "image_folder".
        split_seed: what the split is drawn from, where it is drawn.
        options: as `pack_digits` or `pack_folder` take them.

    Raises:
        DataError: images are missing or cannot be read; nothing is left behind.
    """
    if kind == "digits":
        from dqv2.data.digits import pack_digits

        folders = pack_digits(out, dataset=name, seed=split_seed, **options)
    else:
        from dqv2.data.folder import pack_folder, scan_folder

        path = options.pop("path")
        splits = scan_folder(
            path, seed=split_seed, **{key: options[key] for key in ("validation", "test", "per_class")}
        )
        if not splits["test"]:
            raise DataError(
                f"{path} holds no test images to evaluate on: put them into test/CLASS/*, or set "
                f"datasets.{name}.test to the share of the images to hold out, such as 0.2"
            )
        folders = pack_folder(path, out, dataset=name, seed=split_seed, **options)
    return {split: len(Pack.open(folder)) for split, folder in folders.items()}
