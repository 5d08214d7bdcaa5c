"""A set of images before packing: its samples, their splits, and how each is read."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dqv2.data.errors import DataError
from dqv2.data.image import MAX_PIXELS, read_bytes
from dqv2.data.walk import special
from dqv2.data.words import nearly
from dqv2.runtime.sentences import require_working

SPLITS = ("train", "validation", "test")
PART = re.compile(r"(.+)@(\d+)\+(\d+)")
UNLABELLED = "all"  # the one class of a set without labels
MASK_OF, MASKS_OF = "a mask of", "masks of"  # reasons for leaving aside begin thus: a file, a folder


@dataclass(frozen=True, slots=True)
class Sample:
    """One image."""

    id: str  # its path relative to the set's folder, with forward slashes, or a name of the same form
    label: int  # index into the set's classes
    class_name: str
    # Where its bytes are, relative to the set's folder, unless at its id: a path, or `ARCHIVE@OFFSET+LENGTH`
    place: str | None = None
    # The object's x0, y0, x1, y1 in the original's pixels, x1 and y1 exclusive, where known
    box: tuple[float, float, float, float] | None = None


@dataclass
class ImageSet:
    """Samples and how to read them. Subclasses read from something other than files."""

    root: Path  # the folder that ids and places are relative to
    classes: list[str]  # names; labels are indices into them
    splits: dict[str, list[Sample]]  # train, validation and test, in this order; empty where there is no such split
    bad: list[dict[str, str]] = field(default_factory=list)  # {"name", "reason"} of what the listing found unusable
    ignored: list[str] = field(default_factory=list)  # files that are not images by their names
    # {"name", "reason"} of files and folders that could be mistaken for images of the set, and were not read
    aside: list[dict[str, str]] = field(default_factory=list)
    # {"from", "split", "classes", "images"}: what each split was read from, and what was found
    layout: list[dict[str, Any]] = field(default_factory=list)
    # path -> size and time (`state_of`) of files that are not among `files()`, recorded before they are read
    named: dict[str, tuple[int, int]] = field(default_factory=dict)
    streams = True  # whether samples can be read in any order at any time

    def note_aside(self, reasons: Mapping[str, str]) -> None:
        """Record what is left aside: path relative to the set's folder -> reason."""
        self.aside += [{"name": _encodable(name), "reason": why} for name, why in reasons.items()]

    def note_ignored(self, names: Iterable[str]) -> None:
        """Record files that are not images by their names: paths relative to the set's folder."""
        self.ignored += map(_encodable, names)

    def note_split(self, split: str, origin: Sequence[str]) -> None:
        """Record what a split was read from: files or folders relative to the set's folder ("" the folder itself)."""
        names = [_encodable(name or ".") for name in origin]
        self.layout.append({"from": names, "split": split, **_counts(self.splits[split])})

    def about(self) -> dict[str, Any]:
        """Further entries of a pack's `meta.json`, by which its images are found again."""
        return {}

    def files(self) -> list[str]:
        """The files that contain the images, relative to the set's folder, each once, in the order of the samples."""
        places = (sample.place or sample.id for samples in self.splits.values() for sample in samples)
        return list(dict.fromkeys(part[1] if (part := PART.fullmatch(place)) else place for place in places))

    def readers(
        self, samples: Iterable[Sample], max_pixels: int = MAX_PIXELS
    ) -> Iterator[tuple[Sample, Callable[[], bytes | np.ndarray | str]]]:
        """Yield each sample with a function that reads it: it returns the bytes of the file, the pixels uint8[H, W, 3],
        or a phrase with the reason why it cannot be read."""
        for sample in samples:
            yield sample, partial(read_place, self.root, sample.id, sample.place, max_pixels)


def _encodable(name: str) -> str:
    """A file's name as text for a JSON file: it may have bytes that are not UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def _counts(samples: Sequence[Sample]) -> dict[str, int]:
    return {"classes": len({s.label for s in samples}), "images": len(samples)}


def choose_classes(found: ImageSet, wanted: int | Sequence[str] | None) -> None:
    """Restrict a set, in place, to some of its classes; labels are renumbered.

    wanted: a number, for the first classes in the set's order that have training images; or their names; None: all.
    Raises DataError where there are fewer, or a named class does not exist or has no training image.
    """
    if wanted is None:
        return
    seen = {sample.label for sample in found.splits["train"]}
    place = {name: label for label, name in enumerate(found.classes)}
    there = [name for label, name in enumerate(found.classes) if label in seen]
    names = there[:wanted] if isinstance(wanted, int) else sorted({*wanted} & place.keys(), key=place.get)
    if isinstance(wanted, int) and wanted > len(names):
        raise DataError(f"{found.root}: classes: {wanted}, but the set has {len(names)} with training images.")
    if empty := [name for name in names if place[name] not in seen]:
        raise DataError(f"{found.root}: classes: {empty[0]} has no training image.")
    if not isinstance(wanted, int) and (strange := sorted(set(wanted) - set(names))):
        shown = ", ".join(found.classes[:20]) + (", ..." if len(found.classes) > 20 else "")
        raise DataError(f"{found.root}: classes: the set has no class {strange[0]!r}; it has {shown}.")
    label = {place[name]: i for i, name in enumerate(names)}
    for split, samples in found.splits.items():
        found.splits[split] = [replace(s, label=label[s.label]) for s in samples if s.label in label]
    found.classes = names
    for part in found.layout:
        part |= _counts(found.splits[part["split"]])


def read_place(root: Path, name: str, place: str | None, max_pixels: int = MAX_PIXELS) -> bytes | str:
    """The bytes of a sample's file, or a phrase with the reason why they cannot be read."""
    part = PART.fullmatch(place) if place else None
    if part is None:
        return read_bytes(Path(root, place or name), max_pixels=max_pixels)
    try:
        if kind := special(Path(root, part[1])):
            return f"cannot be read ({part[1]} is {kind})"
        with Path(root, part[1]).open("rb") as archive:
            archive.seek(int(part[2]))
            return archive.read(int(part[3]))
    except OSError as error:
        require_working(error, Path(root, part[1]))
        return f"cannot be read ({error})"


def divide_splits(
    splits: Mapping[str, list[Sample]],
    *,
    name: object,
    shares: Mapping[str, float],
    seed: int,
    per_class: Mapping[str, int] | None = None,
) -> dict[str, list[Sample]]:
    """Draw missing splits from train, stratified by class, and limit the number of images per class.

    splits: train, and the other splits that the set has. name: the set's name in messages. shares: "validation" and
    "test" -> share of train, in [0, 1), for a split that `splits` lacks; 0: no such split. seed: of all draws.
    per_class: split -> maximal number of images of each class, drawn at random. A class keeps at least one training
    image, so a class with a single image has none in the drawn splits.

    Returns train, validation and test, in this order. Raises DataError where the shares leave a class without training
    images.
    """
    per_class = per_class or {}
    whole, splits = splits["train"], dict(splits)
    missing = [split for split in ("test", "validation") if split not in splits]
    if sum(shares[split] for split in missing) >= 1:
        raise DataError(f"{name}: the shares of {' and '.join(missing)} leave nothing to train on.")
    sizes = [round(shares[split] * len(whole)) for split in missing]
    if any(sizes):
        drawn = _draw(whole, sizes, seed, f"{name}: ", f" images went to {' and '.join(missing)}")
        splits |= {split: [whole[i] for i in rows] for split, rows in zip(missing, drawn, strict=True)}
        taken = {i for rows in drawn for i in rows}
        splits["train"] = [s for i, s in enumerate(whole) if i not in taken]
    return {
        split: _limit(splits.get(split, []), per_class[split], seed) if split in per_class else splits.get(split, [])
        for split in SPLITS
    }


def _draw(whole: list[Sample], sizes: list[int], seed: int, head: str, tail: str) -> list[list[int]]:
    """Indices into `whole` for splits of these sizes, stratified by class; each class keeps a training image."""
    import torch  # only where something is drawn: packing does not otherwise need its 300 MB

    from dqv2.data.split import stratified_split

    kept: set[int] = set()  # one image of each class that would otherwise have none left
    while True:
        free = [i for i in range(len(whole)) if i not in kept]
        generator = torch.Generator().manual_seed(seed)
        drawn = stratified_split([whole[i].label for i in free], sizes, generator=generator)
        drawn = [[free[i] for i in rows] for rows in drawn]
        taken = {i for rows in drawn for i in rows}
        have = {s.label for i, s in enumerate(whole) if i not in taken}
        lost = {s.label: (i, s.class_name) for i, s in enumerate(whole) if s.label not in have}
        if not lost:
            return drawn
        if sum(sizes) > len(free) - len(lost):
            raise DataError(
                f"{head}no training image of {min(lost.values(), key=lambda each: each[1])[1]} ({len(lost)} such "
                f"classes) is left after {sizes}{tail}: lower these shares or add images."
            )
        kept |= {i for i, _ in lost.values()}


def check_classes(root: object, splits: Mapping[str, list[Sample]]) -> None:
    """Raise DataError where a split has a class that train does not have; missing classes are allowed."""
    known = {s.label: s.class_name for s in splits["train"]}
    for split, samples in splits.items():
        if strange := sorted({s.class_name for s in samples if s.label not in known}):
            shown = ", ".join(f"{name} (only in {split}){nearly(name, known.values())}" for name in strange[:5])
            raise DataError(
                f"{root}: train and {split} must share their classes, but {len(strange)} are not in train: {shown}"
                f"{', ...' if len(strange) > 5 else ''}: rename or remove them, add training images, or leave {split} "
                "aside (of a set of your own by the key splits)."
            )


def _limit(samples: list[Sample], limit: int, seed: int) -> list[Sample]:
    """Keep `limit` samples per class: the first of a shuffle, so that a larger limit keeps these too."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    count, kept = Counter(), []
    for i in torch.randperm(len(samples), generator=generator).tolist():
        if count[samples[i].label] < limit:
            count[samples[i].label] += 1
            kept.append(i)
    return [samples[i] for i in sorted(kept)]
