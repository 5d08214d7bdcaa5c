"""Folders of images, `SPLIT/CLASS/*` or `CLASS/*`, scanned as torchvision's `ImageFolder` does."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from dqv2.config.data import ImageFolder
from dqv2.data.errors import DataError, no_folder
from dqv2.data.layout import IMG_EXTENSIONS, LAYOUT, above, folder_layout, lineage, lineages
from dqv2.data.sample import MASK_OF, MASKS_OF, UNLABELLED, ImageSet, Sample, check_classes
from dqv2.data.walk import is_hidden, require_utf8, walk
from dqv2.data.words import MASKS, is_masks, is_pictures, parts_of, splits_in, what_to_write
from dqv2.declared import check_choice

# A mask next to its image, as in segmentation sets: "benign (1)_mask.png" next to "benign (1).png"
MASK = re.compile(r"(.+?)[ _.-]+(?:mask|masks|seg|segmentation|gt|annotation)(?:[ _-]?\d+)?", re.IGNORECASE)


def list_folder(
    path: str | Path,
    *,
    splits: Mapping[str, Sequence[str]] | None = None,
    unlabelled: bool = False,
    masks: str = "aside",
) -> ImageSet:
    """The images of a folder, and the splits that its names indicate (see `folder_layout`); no image is opened, and no
    split is drawn.

    Classes are the sorted names of the class folders, and the images of a class are found and ordered, as in
    torchvision's `ImageFolder`; files with other extensions are ignored, hidden ones left aside.

    splits: split -> folders below `path`, where their names do not tell. unlabelled: folders are not classes; all
    images are of the one class `UNLABELLED`. masks: "aside", or "keep" to take images that are called masks of others,
    and folders of such beside a class's images, for images like any other. Raises ValueError for another word, and
    DataError where the folder is missing or its layout unclear, a class has no images, or another split has a class
    that is not in train.
    """
    check_choice(masks, "masks", get_args(ImageFolder.model_fields["masks"].annotation))
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        raise DataError(f"{no_folder(root)}: {LAYOUT}.")
    tree = walk(root)
    images = {folder: sum(map(_is_image, names)) for folder, names in tree.files.items()}
    named = [name for names in (splits or {}).values() for name in names]
    beside = _masks_of_classes(images, named) if masks == "aside" else []
    aside = set(beside)
    for folder in [each for each in images if not aside.isdisjoint(lineage(each))]:
        del images[folder], tree.files[folder]
    if not any(images.values()) and (some := next((f for f, names in tree.files.items() if names), None)) is not None:
        n, one = sum(map(len, tree.files.values())), f"{some}/{tree.files[some][0]}".lstrip("/")
        raise DataError(
            f"None of the {n} files below {root} is an image by its name (such as {one}): images end in "
            f"{', '.join(IMG_EXTENSIONS)}; unpack archives first; for parquet and arrow files set kind: table."
        )
    layout = folder_layout(str(root), images, labelled=not unlabelled, chosen=splits)
    found = ImageSet(root, [], {})
    found.note_aside(dict.fromkeys(tree.aside, "hidden, or a system's own") | layout.aside)
    found.note_aside({f"{folder}/": f"{MASKS_OF} the pictures beside them" for folder in beside})
    held: dict[str, list[str]] = {folder: [] for folders in layout.splits.values() for folder in folders}
    for place in tree.files:
        for folder in held.keys() & lineage(place):
            held[folder].append(place)
    listed = {}
    for split, folders in layout.splits.items():
        by_class: dict[str, list[str]] = {}
        for folder in folders:
            n = folder.count("/") + 1 if folder else 0
            for place in held[folder]:
                if unlabelled or place != folder:
                    by_class.setdefault(UNLABELLED if unlabelled else place.split("/")[n], []).append(place)
        listed[split] = {name: by_class[name] for name in sorted(by_class)}
    found.classes = list(listed["train"])
    place_of = {name: i for i, name in enumerate(found.classes)}
    for split, by_class in listed.items():
        found.splits[split] = samples = []
        for name, places in by_class.items():
            here = [(place, file) for place in places for file in tree.files[place]]
            samples += _samples(found, "", here, place_of.get(name, -1), name, masks=masks)
        found.note_split(split, layout.splits[split])
    read = {place for by_class in listed.values() for places in by_class.values() for place in places}
    holding = lineages(held)
    above_classes = [place for place in tree.files if place not in read and place in holding]
    found.note_ignored(
        f"{place}/{file}".lstrip("/") for place in above_classes for file in tree.files[place] if not _is_image(file)
    )
    check_classes(root, found.splits)
    if splits is None:
        _check_files(found)
    return found


def _masks_of_classes(images: Mapping[str, int], named: Sequence[str]) -> list[str]:
    """The folders of masks inside folders that may be classes, next to the pictures that they belong to (`cat/masks`,
    or `cat/images` and `cat/masks`). Those next to folders of splits, or named by the user, are left to
    `folder_layout`."""
    found, named = [], set(named)
    full = lineages(folder for folder, n in images.items() if n)
    with_pictures = {above(folder) for folder in full if is_pictures(folder.rpartition("/")[2])}
    for folder in images:
        parent, name = above(folder), folder.rpartition("/")[2]
        own = parent.rpartition("/")[2]
        if not parent or not is_masks(name) or splits_in(own) or is_pictures(own) or folder in named:
            continue
        if images.get(parent) or parent in with_pictures:
            found.append(folder)
    return found


def _check_files(found: ImageSet) -> None:
    """Refuse, judging by the images' names, files of several splits in one folder, and masks instead of classes."""
    stems = [(sample.label, _stem(sample.id.rpartition("/")[2])) for sample in found.splits["train"]]
    if len(found.splits) == 1:
        said = [splits_in(stem) for _, stem in stems]
        if all(said) and len(named := set().union(*said)) > 1:
            raise DataError(
                f"{found.root}: the names of all images mention a split, such as {found.splits['train'][0].id}: move "
                f"them into a folder for each of {' and '.join(sorted(named))}, or, where these names mean no split, "
                f"{what_to_write({'train': ['.']})}."
            )
    masks = [name for name in found.classes if is_masks(name)]
    others = [name for name in found.classes if name not in masks]
    if len(masks) == len(others) == 1 and not parts_of(others[0]) & MASKS and "mask" not in others[0].lower():
        of_class = [{stem for label, stem in stems if found.classes[label] == name} for name in (masks[0], others[0])]
        if of_class[0] <= of_class[1]:
            raise DataError(
                f"{found.root}: {masks[0]}/ and {others[0]}/ hold files of the same names, masks and their images, not "
                f"classes: give each class its folder of images, or, where these are classes, "
                f"{what_to_write({'train': ['.']})}."
            )


def scan_classes(found: ImageSet, folder: Path, classes: Iterable[str] | None = None) -> list[Sample]:
    """The samples of `folder/CLASS/*` in torchvision's order; records in `found` the files that are not images by name.

    Ids are relative to `found.root`. classes: only these, in this order; by default all, sorted. Raises
    FileNotFoundError where there is no such folder; DataError where there are no class folders, one has no images, a
    link points to a folder that contains it, or a name is not valid UTF-8.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    if classes is None:
        classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name))
    if not (classes := list(classes)):
        raise DataError(f"There are no class folders in {folder}: {LAYOUT}.")
    samples = []
    for label, name in enumerate(classes):
        tree, prefix = walk(folder / name), f"{(folder / name).relative_to(found.root).as_posix()}/"
        found.note_aside({prefix + each: "hidden, or a system's own" for each in tree.aside})
        here = [(place, file) for place, names in tree.files.items() for file in names]
        if not (own := _samples(found, prefix, here, label, name)):
            raise DataError(f"The class folder {folder / name} has no images: {LAYOUT}.")
        samples += own
    return samples


def _samples(
    found: ImageSet,
    prefix: str,
    files: Iterable[tuple[str, str]],
    label: int,
    name: str,
    *,
    masks: str = "aside",
) -> list[Sample]:
    """The samples of a class among (folder, file); masks are recorded as left aside, other files as ignored."""
    files, samples, ignored = list(files), [], []
    stems = {(place, _stem(file)) for place, file in files if _is_image(file)}
    for place, file in files:
        own = f"{prefix}{place}/{file}" if place else f"{prefix}{file}"
        mask = MASK.fullmatch(_stem(file)) if masks == "aside" else None
        if mask and _is_image(file) and (place, mask[1]) in stems:
            found.note_aside({own: f"{MASK_OF} {mask[1]}"})
        elif _is_image(file):
            samples.append(Sample(own, label, name))
        else:
            ignored.append(own)
    require_utf8(found.root, (sample.id for sample in samples))
    found.note_ignored(ignored)
    return samples


def _stem(file: str) -> str:
    return file.rpartition(".")[0]


def _is_image(file: str) -> bool:
    return file.lower().endswith(IMG_EXTENSIONS)
