"""Packing a set of images: decoded once, in parallel, with memory that does not grow with the pixels."""

import math
import re
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from numbers import Integral
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image
from tqdm import tqdm

from dqv2.config.data import Images
from dqv2.data.boxes import pack_box
from dqv2.data.errors import DataError
from dqv2.data.image import DARK, MAX_PIXELS, WHITE, Decoded, decode, square
from dqv2.data.pack import Origin, write_pack
from dqv2.data.sample import ImageSet, Sample
from dqv2.declared import check_choice
from dqv2.runtime.files import atomic_dir, sha256
from dqv2.runtime.memory import cores
from dqv2.runtime.sentences import counted

ROW_BYTES = 300  # approximate size of a line of the manifest
AHEAD = 4  # images per worker that are decoded ahead


def pack_set(
    images: ImageSet,
    out: str | Path,
    *,
    size: int,
    dataset: str,
    storage: str = "packed",
    on_bad: str = "error",
    on_duplicate: str = "keep",
    max_pixels: int = MAX_PIXELS,
    white_level: int = WHITE,
    workers: int | None = None,
) -> dict[str, Path]:
    """Write the packs `out/train`, `out/validation` and `out/test` of a set of images.

    All three appear together when complete; a missing split becomes an empty pack. Memory holds the list of samples
    (some hundred bytes each), `AHEAD` images per worker, and one image of `max_pixels` being decoded.

    Args:
        size: side of the packed images, in pixels.
        dataset: the name to record in the packs.
        storage: "packed", or "streamed" to keep no pixels: every image is decoded once here, to find those that cannot
            be read, and again whenever it is used.
        on_bad: what to do about images that cannot be read, or have more than `max_pixels`: "error", or "skip" to leave
            them out and list them in `meta.json`.
        on_duplicate: the same for images whose file equals that of an earlier one, in the order train, validation,
            test; "keep" only lists them.
        max_pixels: limit on the pixels of an image file.
        white_level: the value of 16-bit grey that is white, 1 to 65535; an image with a larger one cannot be read.
        workers: decoding threads; by default as many as this process has cores.

    Raises ValueError for other options. Raises DataError where images cannot be read or are duplicates (the message has
    their number and up to 5 of them with reasons), no training image of some class can be read, or the disk has too
    little space. Nothing is written then.
    """
    out, workers = Path(out), workers or cores()
    _check_words(storage=storage, on_bad=on_bad, on_duplicate=on_duplicate)
    limits = {"max_pixels": (max_pixels, math.inf), "white_level": (white_level, WHITE)}
    _check_numbers(size=(size, math.inf), **limits, workers=(workers, math.inf))
    if storage == "streamed" and not images.streams:
        raise DataError(f"{images.root}: images of this kind cannot be read one by one: set storage: packed.")
    _check_room(images, out, size, dataset, storage)
    left_out, twice, mended = ({split: [] for split in images.splits} for _ in range(3))
    bad, copies = list(images.bad), []
    first: dict[int, Sample] = {}
    kept: set[int] = set()

    def items(split: str, notes: dict) -> Iterator[tuple]:
        samples = images.splits[split]
        todo = tqdm(
            _decoded(images, samples, size, max_pixels, white_level, workers),
            desc=f"pack {dataset} {split}",
            total=len(samples),
            unit="image",
            mininterval=1,
            file=sys.stderr,
            disable=not samples,
        )
        for sample, found in todo:
            if isinstance(found, str):
                bad.append({"name": sample.id, "reason": found})
                left_out[split].append(bad[-1])
                continue
            digest, decoded = found
            same = first.setdefault(int(digest[:16], 16), sample)
            if same is not sample:
                labels = {} if same.label == sample.label else {"classes": [sample.class_name, same.class_name]}
                twice[split].append({"name": sample.id, "same_as": same.id} | labels)
                if on_duplicate != "keep":
                    conflict = f" of another class, {same.class_name}" if labels else ""
                    copies.append({"name": sample.id, "reason": f"the same file as {same.id}{conflict}"})
                    left_out[split].append(copies[-1])
                    continue
            if split == "train":
                kept.add(sample.label)
            if decoded.note:
                mended[split].append({"name": sample.id, "reason": decoded.note})
            if white_level == WHITE and decoded.largest and decoded.largest <= DARK:
                notes.setdefault("dark", []).append({"name": sample.id, "largest": decoded.largest})
            box = None if sample.box is None else pack_box(sample.box, decoded.width, decoded.height, size)
            origin = Origin(digest, decoded.width, decoded.height, box)
            yield sample.id, sample.label, sample.place, decoded.pixels, origin

    levels = {} if white_level == WHITE else {"white_level": white_level}
    limits = {"root": str(images.root.absolute()), "max_pixels": max_pixels, **levels}
    stream = limits if storage == "streamed" else None
    with ExitStack() as stack:  # all three appear together, or none after an error
        for split, samples in images.splits.items():
            staged = stack.enter_context(atomic_dir(out / split, mark="meta.json"))
            about = {"dataset": dataset, "split": split, "classes": images.classes, "n": len(samples), "size": size}
            notes = {"duplicates": twice[split], "files": images.streams, "mended": mended[split]}
            notes |= images.about() | levels
            if split == "train":
                notes |= {"ignored": images.ignored, "unlisted": images.bad}
                notes |= {"aside": images.aside, "layout": images.layout}
            write_pack(staged, **about, items=items(split, notes), left_out=left_out[split], about=notes, stream=stream)
        n = sum(map(len, images.splits.values())) + len(images.bad)
        _refuse(bad, n, images.root, on_bad, "cannot be read", "replace or remove them, or set on_bad: skip")
        _refuse(copies, n, images.root, on_duplicate, "come twice", "remove them, or set on_duplicate: skip")
        if emptied := sorted({s.class_name for s in images.splits["train"] if s.label not in kept}):
            ids = {sample.id for sample in images.splits["train"] if sample.class_name == emptied[0]}
            what = f"{images.root}: no training image of class {emptied[0]} is left"
            what += f" (nor of {len(emptied) - 1:,} more)" if len(emptied) > 1 else ""
            raise DataError(
                f"{what}{_why_none([each for each in left_out['train'] if each['name'] in ids], bad, copies, n)}"
            )
    return {split: out / split for split in images.splits}


def _check_words(**options: str) -> None:
    """Raise ValueError for an option that is none of its words, which the configuration lists."""
    for name, value in options.items():
        check_choice(value, name, get_args(Images.model_fields[name].annotation))


def _check_numbers(**options: tuple[int, float]) -> None:
    """Raise ValueError for an option that is no integer from 1 to the largest that it may be."""
    for name, (value, most) in options.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or not 1 <= value <= most:
            limit = "" if most == math.inf else f" and at most {most}"
            raise ValueError(f"{name} must be an integer of at least 1{limit}, got {value!r}")


def _check_room(images: ImageSet, out: Path, size: int, dataset: str, storage: str) -> None:
    """Raise DataError where the disk has too little space for the packs."""
    n = sum(map(len, images.splits.values()))
    need = n * (ROW_BYTES + (3 * size * size if storage == "packed" else 0))
    there = next(parent for parent in [out, *out.absolute().parents] if parent.exists())
    free = shutil.disk_usage(there).free
    if need > free:
        advice = "set storage: streamed for it, or a smaller size, or per_class" if storage == "packed" else "make room"
        raise DataError(
            f"{dataset}: the packs of {n:,} images at {size} pixels take about {_gb(need)}, and {there} has "
            f"{_gb(free)} free: {advice}."
        )


def _gb(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"


def _refuse(found: list[dict[str, str]], n: int, root: Path, policy: str, what: str, remedy: str) -> None:
    if found and policy == "error":
        shown = "\n".join(f"  {entry['name']}: {entry['reason']}" for entry in found[:5])
        raise DataError(
            f"{len(found)} of {n} images in {root} {what} ({remedy} to leave them out):\n{shown}"
            + ("\n  ..." if len(found) > 5 else "")
        )


def _why_none(lost: list[dict[str, str]], bad: list[dict[str, str]], copies: list[dict[str, str]], n: int) -> str:
    """The end of the sentence that a class has no image left: why, and what to do.

    lost: {"name", "reason"} of the class's images. bad, copies: of all images, n in number, those that cannot be read
    and those that come twice.
    """
    leave = "or leave the class out: the key classes names those to keep."
    if not lost:
        return f". Put an image there, {leave}"
    example, causes = f"{lost[0]['name']}: {lost[0]['reason']}", {_cause(entry["reason"]) for entry in lost}
    if {entry["name"] for entry in lost} <= {entry["name"] for entry in copies}:
        return (
            f": all come twice, with different labels ({example}). Their files are sound: remove those with the wrong "
            f"label, set on_duplicate: keep, {leave}"
        )
    if len(causes) == 1 and len(lost) > 1:
        alike = sum(_cause(entry["reason"]) in causes for entry in bad)
        return (
            f": {alike:,} of {counted(n, 'image')} in all cannot be read for one and the same reason; the first of the "
            f"class is {example}. Mend that, {leave}"
        )
    return f": {example}. Put a sound one there, {leave}"


def _cause(reason: str) -> str:
    """A reason without the paths in it, so that it is the same for all images that have it."""
    return re.sub(r":? '[^']*'", "", reason)


def _decoded(
    images: ImageSet, samples: list[Sample], size: int, max_pixels: int, white_level: int, workers: int
) -> Iterator[tuple[Sample, tuple[str, Decoded] | str]]:
    """Yield each sample, in order, with its source's checksum and decoded image, or with the reason for having none."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for sample, read in images.readers(samples, max_pixels):
            waiting.append((sample, pool.submit(_load, read, size, max_pixels, white_level)))
            if len(waiting) >= AHEAD * workers:
                sample, job = waiting.popleft()
                yield sample, job.result()
        for sample, job in waiting:
            yield sample, job.result()


def _load(
    read: Callable[[], bytes | np.ndarray | str], size: int, max_pixels: int, white_level: int
) -> tuple[str, Decoded] | str:
    data = read()
    if isinstance(data, str):
        return data
    if isinstance(data, np.ndarray):
        height, width, _ = data.shape
        pixels = square(Image.fromarray(data), size, max_pixels)
        return sha256(np.ascontiguousarray(data).data), Decoded(pixels, width, height)
    found = decode(data, size, max_pixels=max_pixels, white_level=white_level)
    return found if isinstance(found, str) else (sha256(data), found)
