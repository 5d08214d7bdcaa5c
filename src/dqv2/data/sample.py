"""A set of images before it is packed: which samples there are, in which split, and how each is read."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from dqv2.data.errors import DataError
from dqv2.data.image import MAX_PIXELS, read_bytes

SPLITS = ("train", "validation", "test")
PART = re.compile(r"(.+)@(\d+)\+(\d+)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image.

    Attributes:
        id: its path relative to the set's folder, with forward slashes, or a name of the same form.
        label: index into the set's classes.
        class_name: the class.
        place: where its bytes lie, relative to the set's folder, where that is not the id: a path, or
            `ARCHIVE@OFFSET+LENGTH` for a part of a file.
        box: the object's x0, y0, x1, y1 in the original's pixels, x1 and y1 exclusive, where the set knows it.
    """

    id: str
    label: int
    class_name: str
    place: str | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass
class ImageSet:
    """Samples and how to read them. Subclasses read from something else than files.

    Attributes:
        root: the folder that ids and places are relative to.
        classes: names; labels are indices into them.
        splits: train, validation and test, in this order; empty where there is no such split.
        bad: {"name", "reason"} of what the listing itself found unusable.
        ignored: files that are no images by their names.
        streams: whether samples can be read in any order at any time.
    """

    root: Path
    classes: list[str]
    splits: dict[str, list[Sample]]
    bad: list[dict[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    streams = True

    def readers(
        self, samples: Iterable[Sample], max_pixels: int = MAX_PIXELS
    ) -> Iterator[tuple[Sample, Callable[[], bytes | np.ndarray | str]]]:
        """Each sample with what reads it: the bytes of its file, its pixels uint8[H, W, 3], or the reason, a phrase."""
        for sample in samples:
            yield sample, partial(read_place, self.root, sample.id, sample.place, max_pixels)


def read_place(root: Path, name: str, place: str | None, max_pixels: int = MAX_PIXELS) -> bytes | str:
    """The bytes of a sample's file, or the reason, a phrase, why they are not to be had."""
    part = PART.fullmatch(place) if place else None
    if part is None:
        return read_bytes(Path(root, place or name), max_pixels=max_pixels)
    try:
        with Path(root, part[1]).open("rb") as archive:
            archive.seek(int(part[2]))
            return archive.read(int(part[3]))
    except OSError as error:
        return f"cannot be read ({error})"


def divide_splits(
    splits: Mapping[str, list[Sample]],
    *,
    name: object,
    shares: Mapping[str, float],
    seed: int,
    per_class: Mapping[str, int] | None = None,
) -> dict[str, list[Sample]]:
    """Draw the splits that are missing from train, class by class, and limit the images of each class.

    Args:
        splits: train, and what else the set has.
        name: what messages call the set.
        shares: validation and test: share of train, in [0, 1), for a split that `splits` lacks. 0: no such split.
        seed: of the draws.
        per_class: at most so many images of each class in these splits, drawn at random.

    Returns:
        Train, validation and test, in this order; raises DataError where a share or limit makes no sense, or leaves a
        class without a training image.
    """
    per_class = dict(per_class or {})
    check_shares(shares, per_class)
    whole, splits = splits["train"], dict(splits)
    missing = [split for split in ("test", "validation") if split not in splits]
    if sum(shares[split] for split in missing) >= 1:
        raise DataError(f"{name}: the shares of {' and '.join(missing)} leave nothing to train on.")
    sizes = [round(shares[split] * len(whole)) for split in missing]
    if any(sizes):
        import torch  # only where something is drawn: packing has no other use for its 300 MB

        from dqv2.data.split import stratified_split

        generator = torch.Generator().manual_seed(seed)
        drawn = stratified_split([s.label for s in whole], sizes, generator=generator)
        splits |= {split: [whole[i] for i in rows] for split, rows in zip(missing, drawn, strict=True)}
        taken = {i for rows in drawn for i in rows}
        splits["train"] = [s for i, s in enumerate(whole) if i not in taken]
        lost = {s.label: s.class_name for s in whole}
        for sample in splits["train"]:
            lost.pop(sample.label, None)
        if lost:
            raise DataError(
                f"{name}: no training image of {min(lost.values())} ({len(lost)} such classes) is left after {sizes} "
                f"images went to {' and '.join(missing)}: lower these shares or add images."
            )
    return {
        split: _limit(splits.get(split, []), per_class[split], seed) if split in per_class else splits.get(split, [])
        for split in SPLITS
    }


def check_shares(shares: Mapping[str, float], per_class: Mapping[str, int]) -> None:
    """Raise DataError for a share outside [0, 1) and a limit below 1."""
    for split, share in shares.items():
        if not 0 <= share < 1:
            raise DataError(f"{split} must be a share in [0, 1), got {share}.")
    for split, limit in per_class.items():
        if split not in SPLITS or limit < 1:
            raise DataError(f"per_class takes {', '.join(SPLITS)}, each 1 or more; got {split}: {limit}.")


def _limit(samples: list[Sample], limit: int, seed: int) -> list[Sample]:
    """Keep `limit` samples a class: the first of a shuffle, so that a larger limit keeps these too."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    count, kept = Counter(), []
    for i in torch.randperm(len(samples), generator=generator).tolist():
        if count[samples[i].label] < limit:
            count[samples[i].label] += 1
            kept.append(i)
    return [samples[i] for i in sorted(kept)]
