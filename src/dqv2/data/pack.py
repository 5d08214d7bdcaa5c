"""Packs: a split decoded once into memory-mapped uint8 pixels, with a manifest of its samples.

A pack is a folder:

    images.npy    uint8[N, 3, H, W], RGB, C order
                  A streamed pack has none: its images are decoded from their source whenever they are read.
    manifest.csv  one line per image, in the same order: id, label, class, sha256 (of its packed pixels) and, where
                  known, source (the image's path, if it is not the id), source_sha256 (of the original file), width and
                  height (of the original image)
    objects.npy   bool[N, H, W], True on the object; or
    boxes.npy     int16[N, 4], the object's x0, y0, x1, y1 in packed pixels; either only where objects are known
    meta.json     format, dataset, split, classes, n, height, width, the files' sha256, the images left out, duplicates,
                  images whose metadata is damaged, 16-bit grey that is nearly black (dark), white_level where it is not
                  the default; for train also what was read as which split (layout), left aside and
                  ignored; for tables also where the images are (table)
"""

import csv
import hashlib
import io
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dqv2.data.boxes import BoxMasks
from dqv2.data.errors import DataError
from dqv2.data.lazy import LazyArray
from dqv2.runtime.files import atomic_dir, csv_writer, load_json, sha256, write_json
from dqv2.runtime.sentences import counted, require_working

FORMAT = 2
COLUMNS = ["id", "label", "class", "sha256", "source", "source_sha256", "width", "height"]
OWN_COLUMNS = 4  # always present; the others only where known


class Origin(NamedTuple):
    """An image before packing: SHA-256 of its file (of its pixels if it has no file), size, and box of its object."""

    sha256: str
    width: int
    height: int
    box: tuple[int, int, int, int] | None = None


class PackedImages(LazyArray):
    """A lazy uint8[N, 3, H, W]; an image is compared with its checksum the first time it is read.

    stored: uint8[N, 3, H, W], the memory map. ids: N sample ids. sums: the SHA-256 of each image's pixels. folder: of
    the pack. Indexing raises DataError where an image has changed since it was packed; the message names it.
    """

    def __init__(self, stored: np.ndarray, ids: Sequence[str], sums: Sequence[bytes], folder: Path):
        self.stored, self._ids, self._sums, self._folder = stored, ids, sums, folder
        self.shape = stored.shape
        self._compared = np.zeros(len(stored), bool)

    def __getitem__(self, index) -> np.ndarray:
        """A copy: uint8[3, H, W] for an integer; uint8[K, 3, H, W] for a slice, an array of rows or of booleans."""
        images = np.array(self.stored[index])
        rows = self._numbers[index]
        for row, image in zip(np.atleast_1d(rows), images if rows.ndim else [images], strict=True):
            if not self._compared[row]:
                if hashlib.sha256(image).digest() != self._sums[row]:
                    raise DataError(
                        f"The pack {self._folder} is damaged: in images.npy the pixels of {self._ids[row]} have "
                        f"changed since they were written. {_REMEDY}"
                    )
                self._compared[row] = True
        return images


@dataclass(frozen=True, eq=False)
class Pack:
    """One split of a dataset, whose files are only read."""

    folder: Path
    # Lazy uint8[N, 3, H, W], RGB; indexing reads from disk and compares checksums: `PackedImages`, or `StreamedImages`
    # for a streamed pack
    images: Any
    labels: np.ndarray  # int64[N], indices into `classes`
    ids: list[str]  # N unique sample ids, by which all other stages refer to samples
    classes: list[str]
    objects: np.memmap | BoxMasks | None  # bool[N, H, W] of the true object masks, or None where the set has none
    meta: dict[str, Any]  # `meta.json`

    @classmethod
    def open(cls, folder: str | Path) -> "Pack":
        """Open a pack and check all but its pixels, which are checked when read.

        Raises DataError where there is no pack, or its files are inconsistent.
        """
        folder = Path(folder)
        if not (folder / "meta.json").is_file():
            raise DataError(f"There is no pack in {folder} (no meta.json): run the pack rule first.")
        try:
            return cls._open(folder)
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
            require_working(error, folder)
            problem = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"The pack {folder} is damaged: {problem}. {_REMEDY}") from error

    @classmethod
    def _open(cls, folder: Path) -> "Pack":
        meta = load_json(folder / "meta.json")
        if meta["format"] != FORMAT:
            raise ValueError(f"it has format {meta['format']}, this version of dqv2 reads format {FORMAT}")
        n, shape = meta["n"], (meta["n"], 3, meta["height"], meta["width"])
        for name in ("manifest.csv", *sorted(meta["sha256"].keys() - {"images.npy", "manifest.csv"})):
            if sha256(folder / name) != meta["sha256"][name]:
                raise ValueError(f"{name} is not the file that was written with it (its sha256 differs)")
        objects = None
        if "objects.npy" in meta["sha256"]:
            objects = _map(folder / "objects.npy", (n, *shape[2:]), np.bool_)
        elif "boxes.npy" in meta["sha256"]:
            objects = BoxMasks(_map(folder / "boxes.npy", (n, 4), np.int16), meta["height"])

        ids, labels, places, sums = [], np.full(n, -1, np.int64), [], []
        with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if len(ids) < n:
                    labels[len(ids)] = int(row["label"])
                ids.append(row["id"])
                places.append(row.get("source") or None)
                sums.append(bytes.fromhex(row["sha256"]))
        if len(ids) != n:
            raise ValueError(f"manifest.csv lists {len(ids)} images, meta.json says {n}")
        if len(set(ids)) != n:
            raise ValueError("manifest.csv gives an id twice")
        if n and not 0 <= labels.min() <= labels.max() < len(meta["classes"]):
            raise ValueError(f"manifest.csv has labels outside 0 to {len(meta['classes']) - 1}")
        if "stream" in meta:
            from dqv2.data.stream import StreamedImages  # imports Pillow, which planning does not need

            images = StreamedImages(ids, places, sums, shape, **meta["stream"])
        else:
            images = PackedImages(_map(folder / "images.npy", shape, np.uint8), ids, sums, folder)
        return cls(folder, images, labels, ids, meta["classes"], objects, meta)

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple:
        return Pack.open, (self.folder,)  # pickling a memory map would copy all its pixels

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `manifest.csv`, which covers the ids, their order, the labels and every image's pixels."""
        return self.meta["sha256"]["manifest.csv"]

    def index(self, ids: Iterable[str]) -> np.ndarray:
        """The rows of the samples `ids`, in the given order: int64[K].

        Raises DataError where ids are not in the pack; the message has their number and the first.
        """
        ids, rows = list(ids), {name: row for row, name in enumerate(self.ids)}
        found = [rows.get(i, -1) for i in ids]
        unknown = [i for i, row in zip(ids, found, strict=True) if row < 0]
        if unknown:
            raise DataError(
                f"{len(unknown)} of {len(ids)} ids are not in the pack {self.folder}, the first is "
                f"{unknown[0]!r}: they belong to another dataset or split, or to another packing of it."
            )
        return np.array(found, dtype=np.int64)

    def rows_of_manifest(self, rows: Iterable[int] | None = None) -> list[dict[str, str]]:
        """`manifest.csv` as one dictionary per image, of all or of these in the given order; no other is kept.

        Raises DataError for rows outside 0 to N - 1.
        """
        rows = range(len(self)) if rows is None else [int(row) for row in rows]
        if outside := [row for row in rows if not 0 <= row < len(self)]:
            raise DataError(f"The pack {self.folder} has {counted(len(self), 'image')} and no row {outside[0]}.")
        wanted = set(rows)
        with (self.folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
            found = {row: line for row, line in enumerate(csv.DictReader(file)) if row in wanted}
        return [found[row] for row in rows]


def write_pack(
    folder: str | Path,
    *,
    dataset: str,
    split: str,
    classes: Sequence[str],
    items: Iterable[tuple],
    n: int,
    size: int,
    objects: np.ndarray | None = None,
    left_out: Sequence[dict[str, str]] = (),
    about: dict[str, Any] | None = None,
    stream: dict[str, Any] | None = None,
) -> Path:
    """Write a pack atomically, replacing an existing one; returns its folder.

    Args:
        folder: the pack's folder.
        dataset, split: names to record in `meta.json`.
        classes: class names; labels are indices into them.
        items: (id, label, source or None, image uint8[3, size, size]) and, where known, its `Origin`; consumed and
            written one at a time. Ids and sources are text of at most 131,072 characters (`csv.field_size_limit`).
        n: number of samples, including those left out; 0 makes an empty pack.
        size: side of the images, in pixels.
        objects: bool[N, size, size], the true object masks, in the order of the items.
        left_out: {"name", "reason"} of each sample that is not packed; may grow while the items are consumed.
        about: further entries of `meta.json`; lists in it may grow in the same way.
        stream: keyword arguments of `StreamedImages`, for a pack that keeps no pixels.

    Raises DataError where an image has another shape or dtype, a label is no integer or out of range, an id is
    duplicated or empty, an id, a source or a class cannot be written as text, or the number of items is not `n` minus
    those left out; FileExistsError where `folder` has files and is no pack.
    """
    folder = Path(folder)
    for name in classes:
        _check_text("a class", str(name))
    seen: set[str] = set()
    boxes: list[tuple[int, int, int, int]] = []
    with atomic_dir(folder, mark="meta.json") as staged:
        with (
            (staged / "images.npy").open("wb") as file,
            (staged / "rows.csv").open("w", encoding="utf-8", newline="") as table,
        ):
            file.write(_header(n, size))
            writer, used = csv_writer(table), [0] * len(COLUMNS)
            for name, label, source, image, *origin in items:
                _check_item(name, label, image, size, len(classes), seen)
                _check_text(f"the source of {name}", str(source or ""))
                seen.add(name)
                pixels = image.tobytes()
                if stream is None:
                    file.write(pixels)
                before = origin[0] if origin else Origin("", "", "")
                row = [name, int(label), classes[label], sha256(pixels), source or "", *before[:3]]
                used = [u or value != "" for u, value in zip(used, row, strict=True)]
                writer.writerow(row)
                if before.box:
                    boxes.append(before.box)
            # The number of images is known only now; NumPy pads its header, so the new one has the same length.
            file.seek(0)
            file.write(_header(len(seen), size))
        if len(seen) + len(left_out) != n:
            said = f"of {n} samples announced {len(seen)} came, {len(left_out)} are left out"
            raise DataError(f"{dataset} {split}: {said}.")
        if stream is not None:
            (staged / "images.npy").unlink()
        if objects is not None:
            if objects.shape != (len(seen), size, size) or objects.dtype != np.bool_:
                raise DataError(
                    f"{dataset} {split}: objects must be bool[{len(seen)}, {size}, {size}], they are "
                    f"{objects.dtype}{list(objects.shape)}."
                )
            np.save(staged / "objects.npy", objects)
        elif boxes:
            if len(boxes) != len(seen):
                raise DataError(f"{dataset} {split}: only {len(boxes)} of {len(seen)} images have a box.")
            np.save(staged / "boxes.npy", np.array(boxes, np.int16))
        _write_manifest(staged, [i for i in range(len(COLUMNS)) if i < OWN_COLUMNS or used[i]])
        sums = {path.name: sha256(path) for path in sorted(staged.iterdir())}
        meta = {"format": FORMAT, "dataset": dataset, "split": split, "classes": list(classes)}
        meta |= {"n": len(seen), "height": size, "width": size, "sha256": sums}
        meta |= {"n_left_out": len(left_out), "left_out": list(left_out), **(about or {})}
        meta |= {} if stream is None else {"stream": stream}
        write_json(staged / "meta.json", meta)
    return folder


def _write_manifest(staged: Path, columns: list[int]) -> None:
    """rows.csv -> manifest.csv with a header, and only these columns."""
    with (
        (staged / "rows.csv").open(encoding="utf-8", newline="") as rows,
        (staged / "manifest.csv").open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv_writer(file)
        writer.writerow([COLUMNS[i] for i in columns])
        writer.writerows([row[i] for i in columns] for row in csv.reader(rows))
    (staged / "rows.csv").unlink()


_REMEDY = "Delete that folder and run the pack rule again."


def _map(path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    try:
        array = np.load(path, mmap_mode="r")
    except OSError:  # missing, or not readable
        raise
    except Exception as error:  # the header is parsed as a Python literal, so a damaged one may raise anything
        raise ValueError(f"{path.name} is no array ({error})") from None
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(f"{path.name} is {array.dtype}{list(array.shape)}, meta.json says {list(shape)}")
    return array


def _header(n: int, size: int) -> bytes:
    buffer = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (n, 3, size, size)}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def _check_text(what: str, text: Any) -> None:
    """Raise DataError unless this is text that can be written to a CSV file and read again."""
    longest = csv.field_size_limit()
    try:
        sound = isinstance(text, str) and len(text) <= longest and text.encode() is not None
    except UnicodeEncodeError:
        sound = False
    if not sound:
        raise DataError(f"{what} must be text in UTF-8, of at most {longest:,} characters, got {text!r:.60}.")


def _check_item(name: str, label: int, image: np.ndarray, size: int, n_classes: int, seen: set) -> None:
    _check_text("an id", name)
    if not name:
        raise DataError("an id is empty; give every image one.")
    if image.shape != (3, size, size) or image.dtype != np.uint8:
        raise DataError(f"{name}: must be uint8[3, {size}, {size}], is {image.dtype}{list(image.shape)}.")
    try:
        operator.index(label)
    except TypeError:
        raise DataError(f"{name}: the label must be an integer, got {label!r}.") from None
    if not 0 <= label < n_classes:
        raise DataError(f"{name}: label {label} is outside 0 to {n_classes - 1}.")
    if name in seen:
        raise DataError(f"{name}: duplicate id; ids must be unique.")
