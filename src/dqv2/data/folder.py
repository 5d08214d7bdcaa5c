"""Folders of images, `SPLIT/CLASS/*` or `CLASS/*`, scanned as torchvision's `ImageFolder` does."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from dqv2.data.errors import DataError
from dqv2.data.sample import ImageSet, Sample, check_shares, divide_splits

# torchvision.datasets.folder.IMG_EXTENSIONS; a test holds them equal. Importing torchvision takes seconds.
IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
ALIASES = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
LAYOUT = (
    "expected are train/CLASS/*, test/CLASS/* and, if there is one, validation/CLASS/* (or val/CLASS/*); or "
    f"CLASS/* alone, to be split. Images are files that end in {', '.join(IMG_EXTENSIONS)}"
)


def open_folder(
    path: str | Path,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    per_class: Mapping[str, int] | None = None,
) -> ImageSet:
    """List the images of a folder, `train/CLASS/*` and its like, or `CLASS/*`, split by split, without opening them.

    Classes are the sorted names of the class folders, and the images of a class are walked and ordered, as
    torchvision's `ImageFolder` does; files with other extensions are ignored. The rest as in `divide_splits`; a share
    is of the training images, or, without `train/`, of all. Raises DataError where the folder is missing or not laid
    out so, a class has no image, the splits' classes differ, or a share or limit makes no sense.
    """
    root = Path(path).expanduser().absolute()
    shares, per_class = {"validation": validation, "test": test}, dict(per_class or {})
    check_shares(shares, per_class)
    folders = _split_folders(root)
    found = ImageSet(root, [], {})
    splits = {split: scan_classes(found, folder) for split, folder in folders.items()}
    found.classes = list(dict.fromkeys(s.class_name for s in splits["train"]))
    for split in splits:
        if differing := sorted(set(found.classes) ^ {s.class_name for s in splits[split]}):
            known = set(found.classes)
            shown = [f"{name} (only in {'train' if name in known else split})" for name in differing[:5]]
            raise DataError(
                f"{root}: train and {split} must have the same classes, but {len(differing)} are in one "
                f"of them only: {', '.join(shown)}{', ...' if len(differing) > 5 else ''}."
            )

    found.splits = divide_splits(splits, name=root, shares=shares, seed=seed, per_class=per_class)
    return found


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each split that has one; {"train": root} where `root` holds the classes itself."""
    if not root.is_dir():
        raise DataError(f"There is no folder {root}: {LAYOUT}.")
    present = _subfolders(root)
    names = {name for aliases in ALIASES.values() for name in aliases}
    # A class may be called "train": among other classes, a folder without folders of its own is a class.
    only_splits = set(present) <= names
    found = {
        split: [root / a for a in aliases if a in present and (only_splits or _subfolders(root / a))]
        for split, aliases in ALIASES.items()
    }
    if not present:
        raise DataError(f"There are no class folders in {root}: {LAYOUT}.")
    if len(found["validation"]) > 1:
        raise DataError(f"{root} has both validation/ and val/: remove one.")
    if not any(found.values()):
        alike = [name for name in present if name.lower() in (*names, "valid") and _subfolders(root / name)]
        if alike or (len(present) == 1 and _subfolders(root / present[0])):
            raise DataError(
                f"{root} has {(alike or present)[0]}/, which does not look like one of the classes: {LAYOUT}."
            )
        return {"train": root}
    if not found["train"]:
        others = ", ".join(f"{folders[0].name}/" for folders in found.values() if folders)
        raise DataError(f"{root} has {others} but no train/ with classes: {LAYOUT}.")
    return {split: folders[0] for split, folders in found.items() if folders}


def scan_classes(found: ImageSet, folder: Path, classes: Iterable[str] | None = None) -> list[Sample]:
    """The samples of `folder/CLASS/*` in torchvision's order; notes in `found` what is no image by its name.

    Ids are relative to the folder of `found`. classes: these alone, in this order; all, sorted, by default. Raises
    FileNotFoundError where there is no such folder; DataError where there are no class folders, one has no image, a
    link leads back to a folder that holds it, or a name is not valid UTF-8.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    samples, skip = [], len(str(found.root / "_")) - 1
    classes = _subfolders(folder) if classes is None else list(classes)
    if not classes:
        raise DataError(f"There are no class folders in {folder}: {LAYOUT}.")
    for label, name in enumerate(classes):
        before = len(samples)
        for place, names in _walk(folder / name):
            for file in names:
                path = os.path.join(place, file)  # noqa: PTH118 (a Path for each of a million files is slow)
                own = path[skip:].replace(os.sep, "/")
                if path.lower().endswith(IMG_EXTENSIONS):
                    samples.append(Sample(own, label, name))
                else:
                    found.ignored.append(own)
        if len(samples) == before:
            raise DataError(f"The class folder {folder / name} has no images: {LAYOUT}.")
    try:
        "".join(s.id for s in samples).encode()
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - 40) : error.end + 10]
        raise DataError(f"{folder}: a file name is not valid UTF-8, near {around!r}: rename it.") from error
    found.ignored = [name.encode(errors="backslashreplace").decode() for name in found.ignored]
    return samples


def _walk(folder: Path) -> list[tuple[str, list[str]]]:
    """(folder, its files) below `folder`, links followed, in the order of torchvision's `make_dataset`."""
    walked = []
    for place, folders, files in os.walk(folder, followlinks=True):
        real = Path(place).resolve()
        for name in folders:
            link = Path(place, name)
            if link.is_symlink() and real.is_relative_to(link.resolve()):
                raise DataError(f"{link} is a link to a folder that holds it, {link.resolve()}: remove it.")
        walked.append((place, sorted(files)))
    return sorted(walked)
