"""How splits are told from names, and what to say where one is missing. Imports little: a plan looks too."""

import re
from pathlib import Path

SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
TABLES = (".parquet", ".arrow")


def table_files(root: Path) -> dict[str, list[Path]]:
    """Split -> its .parquet and .arrow files, by their names (train-00000-of-00002.parquet) or their folders'
    (train/data-00000.arrow); train where neither says."""
    files: dict[str, list[Path]] = {}
    for file in sorted(p for p in root.rglob("*") if p.suffix in TABLES):
        parts = [*file.relative_to(root).parts[:-1], re.split(r"[^A-Za-z]", file.name)[0]]
        split = next((SPLITS[part] for part in reversed(parts) if part in SPLITS), "train")
        files.setdefault(split, []).append(file)
    return files


def no_test(name: str, place: str, kind: str = "image_folder") -> str:
    """What to say where a set has no image to evaluate on, and what to do."""
    where = "into files with test in their names" if kind == "table" else "into test/CLASS/*"
    return (
        f"{place} holds no test images to evaluate on: put them {where}, or set datasets.{name}.test to the share of "
        "the images to hold out, such as 0.2. (A coreset needs none: snakemake --cores all coresets)"
    )
