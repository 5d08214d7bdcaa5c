"""Folders of images, `SPLIT/CLASS/*` or `CLASS/*`, scanned as torchvision's `ImageFolder` does."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dqv2.data.image import read_image, try_read
from dqv2.data.pack import DataError, write_pack
from dqv2.data.split import stratified_split
from dqv2.runtime.files import atomic_dir

__all__ = ["IMG_EXTENSIONS", "DataError", "Sample", "pack_folder", "read_image", "scan_folder"]

# torchvision.datasets.folder.IMG_EXTENSIONS; a test holds them equal. Importing torchvision takes seconds.
IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
SPLITS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
LAYOUT = (
    "expected are train/CLASS/*, test/CLASS/* and, if there is one, validation/CLASS/* (or val/CLASS/*); or "
    f"CLASS/* alone, to be split. Images are files that end in {', '.join(IMG_EXTENSIONS)}"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image file: `id` is its path relative to the dataset's folder, with forward slashes."""

    id: str
    label: int
    class_name: str
    path: str


def scan_folder(
    path: str | Path,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    per_class: Mapping[str, int] | None = None,
) -> dict[str, list[Sample]]:
    """List the images of a folder, split by split, without opening them.

    Classes are the sorted names of the class folders, and the images of a class are walked and ordered, as
    torchvision's `ImageFolder` does; files with other extensions are ignored.

    Args:
        path: the dataset's folder: `train/CLASS/*` and its like, or `CLASS/*`.
        validation: share of the training images (or, without `train/`, of all), in [0, 1), that becomes the
            validation split, in proportion by class. Not used where the split has a folder. 0: no such split.
        test: the same for the test split.
        seed: of the split and of `per_class`.
        per_class: at most so many images of each class in these splits, drawn at random.

    Returns:
        {"train", "validation", "test"} in this order, each a list, empty where there is no such split.

    Raises:
        DataError: the folder is missing or not laid out so, a class has no image, the splits' classes
            differ, or a share or limit makes no sense.
    """
    root = Path(path).expanduser().absolute()
    shares, per_class = {"validation": validation, "test": test}, dict(per_class or {})
    _check_options(shares, per_class)
    folders = _split_folders(root)
    splits = {split: _scan_classes(root, folder) for split, folder in folders.items()}
    classes = {s.class_name for s in splits["train"]}
    for split in splits:
        if differing := sorted(classes ^ {s.class_name for s in splits[split]}):
            shown = [f"{name} (only in {'train' if name in classes else split})" for name in differing[:5]]
            raise DataError(
                f"{root}: train and {split} must have the same classes, but {len(differing)} are in one "
                f"of them only: {', '.join(shown)}{', ...' if len(differing) > 5 else ''}."
            )

    generator = torch.Generator().manual_seed(seed)
    missing = [split for split in ("test", "validation") if split not in splits]
    if sum(shares[split] for split in missing) >= 1:
        raise DataError(f"{root}: the shares of {' and '.join(missing)} leave nothing to train on.")
    whole = splits["train"]
    sizes = [round(shares[split] * len(whole)) for split in missing]
    drawn = stratified_split([s.label for s in whole], sizes, generator=generator)
    splits |= {split: [whole[i] for i in rows] for split, rows in zip(missing, drawn, strict=True)}
    taken = {i for rows in drawn for i in rows}
    splits["train"] = [s for i, s in enumerate(whole) if i not in taken]
    if emptied := sorted(classes - {s.class_name for s in splits["train"]}):
        raise DataError(
            f"{root}: no training image of {emptied[0]} ({len(emptied)} such classes) is left after {sizes} "
            f"images went to {' and '.join(missing)}: lower these shares or add images."
        )
    return {
        split: _limit(splits[split], per_class[split], seed) if split in per_class else splits[split]
        for split in SPLITS
    }


def pack_folder(
    path: str | Path,
    out: str | Path,
    *,
    size: int,
    dataset: str | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    per_class: Mapping[str, int] | None = None,
    on_bad: str = "error",
    workers: int = 1,
    progress: bool = True,
) -> dict[str, Path]:
    """Write the packs `out/train`, `out/validation` and `out/test` of a folder of images.

    All three appear when all are whole; a split that there is not becomes an empty pack.

    Args:
        path: the dataset's folder; it and `validation`, `test`, `seed`, `per_class` are as in `scan_folder`.
        out: where the packs go.
        size: side of the packed images, in pixels.
        dataset: the name to note in the packs; the folder's own name by default.
        validation: see `scan_folder`.
        test: see `scan_folder`.
        seed: see `scan_folder`.
        per_class: see `scan_folder`.
        on_bad: what to do about files that cannot be read: "error", or "skip" to leave them out and list them
            in `meta.json`.
        workers: number of threads that decode.
        progress: whether to show a progress line on stderr.

    Returns:
        The packs' folders.

    Raises:
        DataError: as `scan_folder`; or images cannot be read (the message counts them and names up to 5 with
            the reason), or no training image of some class can. Nothing is written then.
    """
    if on_bad not in ("error", "skip"):
        raise DataError(f"on_bad must be error or skip, got {on_bad!r}.")
    if size < 1 or workers < 1:
        raise DataError(f"size and workers must be 1 or more, got {size} and {workers}.")
    root, out = Path(path).expanduser().absolute(), Path(out)
    dataset = dataset or root.resolve().name
    splits = scan_folder(root, validation=validation, test=test, seed=seed, per_class=per_class)
    classes = list(dict.fromkeys(s.class_name for s in splits["train"]))
    bad: dict[str, list[dict[str, str]]] = {split: [] for split in splits}

    def items(split: str) -> Iterator[tuple[str, int, None, np.ndarray]]:
        todo = tqdm(
            _decode(splits[split], size, workers),
            desc=f"pack {dataset} {split}",
            total=len(splits[split]),
            unit="image",
            mininterval=1,
            file=sys.stderr,
            disable=not progress or not splits[split],
        )
        for sample, pixels in todo:
            if isinstance(pixels, str):
                bad[split].append({"name": sample.id, "reason": pixels})
            else:
                yield sample.id, sample.label, None, pixels

    with ExitStack() as stack:  # so that the three appear together, and none after an error
        for split, samples in splits.items():
            staged = stack.enter_context(atomic_dir(out / split))
            about = {"dataset": dataset, "split": split, "classes": classes, "n": len(samples), "size": size}
            write_pack(staged, **about, items=items(split), left_out=bad[split])
        everything = [entry for entries in bad.values() for entry in entries]
        if everything and on_bad == "error":
            shown = "\n".join(f"  {entry['name']}: {entry['reason']}" for entry in everything[:5])
            raise DataError(
                f"{len(everything)} of {sum(map(len, splits.values()))} images in {root} cannot be read "
                f"(replace or remove them, or set on_bad: skip to leave them out):\n{shown}"
                + ("\n  ..." if len(everything) > 5 else "")
            )
        lost = {entry["name"] for entry in bad["train"]}
        kept = {s.class_name for s in splits["train"] if s.id not in lost}
        if emptied := [name for name in classes if name not in kept]:
            raise DataError(f"{root}: no training image of class {emptied[0]} can be read.")
    return {split: out / split for split in splits}


def _check_options(shares: Mapping[str, float], per_class: Mapping[str, int]) -> None:
    for split, share in shares.items():
        if not 0 <= share < 1:
            raise DataError(f"{split} must be a share in [0, 1), got {share}.")
    for split, limit in per_class.items():
        if split not in SPLITS or limit < 1:
            raise DataError(f"per_class takes {', '.join(SPLITS)}, each 1 or more; got {split}: {limit}.")


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each split that has one; {"train": root} where `root` holds the classes itself."""
    if not root.is_dir():
        raise DataError(f"There is no folder {root}: {LAYOUT}.")
    present = _subfolders(root)
    names = {name for aliases in SPLITS.values() for name in aliases}
    # A class may be called "train": among other classes, a folder without folders of its own is a class.
    only_splits = set(present) <= names
    found = {
        split: [root / a for a in aliases if a in present and (only_splits or _subfolders(root / a))]
        for split, aliases in SPLITS.items()
    }
    if not present:
        raise DataError(f"There are no class folders in {root}: {LAYOUT}.")
    if len(found["validation"]) > 1:
        raise DataError(f"{root} has both validation/ and val/: remove one.")
    if not any(found.values()):
        alike = [name for name in present if name.lower() in (*names, "valid") and _subfolders(root / name)]
        if alike or len(present) == 1:
            raise DataError(
                f"{root} has {(alike or present)[0]}/, which does not look like one of the classes: {LAYOUT}."
            )
        return {"train": root}
    if not found["train"]:
        others = ", ".join(f"{folders[0].name}/" for folders in found.values() if folders)
        raise DataError(f"{root} has {others} but no train/ with classes: {LAYOUT}.")
    return {split: folders[0] for split, folders in found.items() if folders}


def _scan_classes(root: Path, folder: Path) -> list[Sample]:
    samples, skip = [], len(str(root / "_")) - 1
    classes = _subfolders(folder)
    if not classes:
        raise DataError(f"There are no class folders in {folder}: {LAYOUT}.")
    for label, name in enumerate(classes):
        before = len(samples)
        for place, _, files in sorted(os.walk(folder / name, followlinks=True)):
            for file in sorted(files):
                path = os.path.join(place, file)  # noqa: PTH118 (a Path for each of a million files is slow)
                if path.lower().endswith(IMG_EXTENSIONS):
                    samples.append(Sample(path[skip:].replace(os.sep, "/"), label, name, path))
        if len(samples) == before:
            raise DataError(f"The class folder {folder / name} has no images: {LAYOUT}.")
    try:
        "".join(s.id for s in samples).encode()
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - 40) : error.end + 10]
        raise DataError(f"{folder}: a file name is not valid UTF-8, near {around!r}: rename it.") from error
    return samples


def _limit(samples: list[Sample], limit: int, seed: int) -> list[Sample]:
    """Keep `limit` samples a class: the first of a shuffle, so that a larger limit keeps these too."""
    generator = torch.Generator().manual_seed(seed)
    count, kept = Counter(), []
    for i in torch.randperm(len(samples), generator=generator).tolist():
        if count[samples[i].label] < limit:
            count[samples[i].label] += 1
            kept.append(i)
    return [samples[i] for i in sorted(kept)]


def _decode(samples: list[Sample], size: int, workers: int) -> Iterator[tuple[Sample, np.ndarray | str]]:
    """Yield each sample with its pixels, or with the reason why there are none, in order."""
    step = 64 * workers  # bounds what is decoded ahead
    with ThreadPoolExecutor(workers) as pool:
        read = pool.map if workers > 1 else map
        for start in range(0, len(samples), step):
            part = samples[start : start + step]
            yield from zip(part, read(lambda s: try_read(s.path, size), part), strict=True)
