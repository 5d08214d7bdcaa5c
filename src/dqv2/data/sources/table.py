"""Folders of tables with an image and a label a row: parquet or arrow files as Hugging Face's datasets have them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from dqv2.data.errors import DataError
from dqv2.data.image import MAX_PIXELS, read_bytes
from dqv2.data.layout import TABLES, table_layout
from dqv2.data.sample import UNLABELLED, ImageSet, Sample, check_classes
from dqv2.data.sources.labels import Labels, read_labels
from dqv2.data.walk import special, walk

ROWS = 64  # read at a time


class _Table(ImageSet):
    """Images in the cells of a column. An id is split/row, counted through the files in the order of their names."""

    streams = False
    tables: dict[str, list[str]]
    image: str

    def readers(self, samples: Iterable[Sample], max_pixels: int = MAX_PIXELS) -> Iterator[tuple]:
        wanted = iter(samples)
        sample = next(wanted, None)
        if sample is None:
            return
        split = sample.id.split("/")[0]
        for row, (file, value) in enumerate(self._cells(split)):
            if row == int(sample.id.split("/")[1]):
                yield sample, partial(_bytes, value, file.parent, self.root, max_pixels)
                sample = next(wanted, None)
                if sample is None:
                    return

    def _cells(self, split: str) -> Iterator[tuple[Path, Any]]:
        for name in self.tables[split]:
            file = self.root / name
            for value in _column(file, self.image):
                yield file, value

    def about(self) -> dict[str, Any]:
        return {"table": {"files": self.tables, "image": self.image}}

    def files(self) -> list[str]:
        return [name for names in self.tables.values() for name in names]


def load(
    root: Path,
    *,
    kind: str,
    image: str = "image",
    label: str = "label",
    splits: Mapping[str, Sequence[str]] | None = None,
    unlabelled: bool = False,
) -> ImageSet:
    """Splits go by the names of the files (train-00000-of-00002.parquet) or of their folders (train/data-00000.arrow).

    `image`: a column of bytes, of paths (from the table's folder, the set's, or absolute), or of {bytes, path};
    `label`: a column of class names, or of numbers, whose names are read from the file where Hugging Face's metadata
    has them. `splits`: split -> files, folders or patterns, where the names do not say. `unlabelled`: no label is read.
    """
    found = _Table(root, [], {})
    found.tables, found.image = _listed(found, splits), image
    for split in [split for split in found.tables if split != "train"]:
        if not sum(_rows(root / name) for name in found.tables[split]):
            found.note_aside(dict.fromkeys(found.tables.pop(split), "a table without rows"))
    shards = {
        split: [_labels(root / name, label, unlabelled) for name in names] for split, names in found.tables.items()
    }
    if not sum(len(shard.values) for shard in shards["train"]):
        raise DataError(f"{root}: the training tables have no rows ({', '.join(found.tables['train'][:5])}).")
    found.classes, numbers, aside = read_labels(root, shards)
    for split, reason in aside.items():
        found.note_aside(dict.fromkeys(found.tables.pop(split), reason))
    for split, of_split in numbers.items():
        samples = [Sample(f"{split}/{i:07d}", n, found.classes[n]) for i, n in enumerate(of_split)]
        found.splits[split] = samples
        found.note_split(split, found.tables[split])
    check_classes(root, found.splits)
    return found


def cells(root: Path, about: Mapping[str, Any], ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Each id with the bytes of its image, in the order of the rows.

    root: the set's folder. about: `table` of a pack's `meta.json`. ids: of that pack. Raises DataError where a table or
    an image is gone.
    """
    found = _Table(root, [], {})
    found.tables, found.image = about["files"], about["image"]
    by_split: dict[str, list[Sample]] = {}
    for name in sorted(ids):
        by_split.setdefault(name.split("/")[0], []).append(Sample(name, 0, ""))
    for samples in by_split.values():
        for sample, read in found.readers(samples):
            data = read()
            if isinstance(data, str):
                raise DataError(f"{root}: {sample.id}: {data}.")
            yield sample.id, data


def tables_of(root: Path, splits: Mapping[str, Sequence[str]] | None = None) -> dict[str, list[str]]:
    """Split -> its tables, by the names alone; raises DataError as `table_layout`."""
    return _listed(ImageSet(root, [], {}), splits)


def has_labels(root: Path, names: Sequence[str], label: str) -> bool:
    """Whether some row of these tables has a label; True where that cannot be read, which packing will say."""
    try:
        return any(Labels.known(value) for name in names for value in _column(root / name, label))
    except DataError:
        return True


def _listed(found: ImageSet, splits: Mapping[str, Sequence[str]] | None) -> dict[str, list[str]]:
    tree = walk(found.root)
    found.note_aside(dict.fromkeys(tree.aside, "hidden, or a system's own"))
    names = [f"{folder}/{name}" if folder else name for folder, files in tree.files.items() for name in files]
    tables = [name for name in names if name.lower().endswith(TABLES)]
    for name in tables:
        try:
            kind = special(found.root / name)
        except OSError as error:
            raise DataError(f"{found.root / name} cannot be read ({error.strerror}): remove it.") from error
        if kind:
            raise DataError(f"{found.root / name} is {kind}, not a table: remove it.")
    found.ignored += sorted(set(names) - set(tables))
    layout = table_layout(str(found.root), tables, chosen=splits)
    found.note_aside(layout.aside)
    return layout.splits


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (PermissionError, FileNotFoundError) as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error}).") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is damaged: {' '.join(str(error).split())}.") from error


def _column(file: Path, name: str) -> Iterator[Any]:
    """The values of a column, a few rows at a time."""
    with _opened(file, name) as batches:
        for column in batches:
            for start in range(0, len(column), ROWS):
                yield from column.slice(start, ROWS).to_pylist()


@contextmanager
def _opened(file: Path, name: str) -> Iterator[Iterator[Any]]:
    """The arrays of a column, one after another."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        stack.enter_context(_reading(file))
        if file.suffix.lower() == ".parquet":
            table = stack.enter_context(pq.ParquetFile(file, pre_buffer=False))
            _check_column(file, name, table.schema_arrow.names)
            batches = table.iter_batches(batch_size=ROWS, columns=[name], use_threads=False)
            yield (batch.column(0) for batch in batches)
            return
        reader = _arrow_reader(stack.enter_context(pa.memory_map(str(file))))
        _check_column(file, name, reader.schema.names)
        place = reader.schema.names.index(name)
        yield (batch.column(place) for batch in reader)


def _arrow_reader(source: Any) -> Any:
    """Record batches of the stream format (as datasets writes it) or of the file format."""
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(source)
    except pa.ArrowInvalid:
        file = pa.ipc.open_file(source)
        return pa.RecordBatchReader.from_batches(
            file.schema, (file.get_batch(i) for i in range(file.num_record_batches))
        )


def _check_column(file: Path, name: str, there: list[str]) -> None:
    if name not in there:
        raise DataError(
            f"{file} has no column {name!r} (it has {', '.join(there)}): name it with image: or label:, or set "
            "unlabelled: true where there are no labels."
        )


def _rows(file: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        stack.enter_context(_reading(file))
        if file.suffix.lower() == ".parquet":
            return pq.read_metadata(file).num_rows
        return sum(len(batch) for batch in _arrow_reader(stack.enter_context(pa.memory_map(str(file)))))


def _labels(file: Path, label: str, unlabelled: bool) -> Labels:
    """The labels of one table."""
    if unlabelled:
        return Labels(file, [UNLABELLED] * _rows(file), None)
    return Labels(file, list(_column(file, label)), _class_names(file, label))


def _class_names(file: Path, label: str) -> list[str] | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        stack.enter_context(_reading(file))
        if file.suffix.lower() == ".parquet":
            metadata = pq.read_schema(file).metadata or {}
        else:
            metadata = _arrow_reader(stack.enter_context(pa.memory_map(str(file)))).schema.metadata or {}
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return features[label]["names"]
    except (ValueError, LookupError, TypeError):  # none, or another writer's
        return None


def _bytes(value: Any, folder: Path, root: Path, max_pixels: int = MAX_PIXELS) -> bytes | str:
    """The image of a cell: its own bytes, or those of the file that it names; the reason where there are none."""
    path = None
    if isinstance(value, Mapping):
        path, value = value.get("path"), value.get("bytes")
    elif isinstance(value, str):
        path, value = value, None
    if isinstance(value, bytes):
        return value
    if not path or not isinstance(path, str):
        return "the cell holds no bytes of an image"
    if "://" in path:
        return f"the cell holds an address, {path[:80]}: fetch the images first"
    if "\0" in path or len(path) > 4096:
        return "the cell holds text that is no path of an image"
    places = [place / path for place in dict.fromkeys((folder, root))]
    try:
        there = next((place for place in places if place.exists()), places[0])
    except OSError as error:  # text that is no path
        return f"the cell holds no path of an image ({error.strerror})"
    return read_bytes(there, max_pixels=max_pixels)
