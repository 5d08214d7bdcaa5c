"""Folders of tables with an image and a label per row: Parquet or Arrow files as in Hugging Face's datasets."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from dqv2.data.errors import DataError
from dqv2.data.image import MAX_PIXELS, read_bytes
from dqv2.data.sample import UNLABELLED, ImageSet, Sample, check_classes
from dqv2.data.sources.labels import Labels, read_labels
from dqv2.data.tables import TABLES, table_layout
from dqv2.data.walk import require_utf8, special, state_of, walk
from dqv2.data.words import splits_in, what_to_write
from dqv2.runtime.files import in_its_place
from dqv2.runtime.sentences import require_working

ROWS = 64  # read at a time
BASE64 = ("data:", "/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR")  # how images in base64 begin
# Arrow types, as pyarrow writes them, that are neither bytes nor text nor a struct
NO_IMAGE = re.compile(
    r"(dictionary<values=)?(bool|u?int|halffloat|float|double|decimal|date|time|duration|month|\w*list|map)"
)
SPLIT_COLUMNS = {"split", "splits", "subset", "set", "partition", "usage"}  # whose text says which row is which split


class _Table(ImageSet):
    """Images in the cells of a column. An id is split/row, with rows counted across files in the order of names."""

    streams = False

    def __init__(self, root: Path, image: str, chosen: bool):
        super().__init__(root, [], {})
        self.image, self.chosen = image, chosen  # the column, and whether the user assigned tables to splits
        self.tables: dict[str, list[str]] = {}
        self.usual: dict[Path, set[str]] = {}  # table -> splits that the first path in it mentions

    def readers(self, samples: Iterable[Sample], max_pixels: int = MAX_PIXELS) -> Iterator[tuple]:
        wanted = iter(samples)
        sample = next(wanted, None)
        if sample is None:
            return
        split = sample.id.split("/")[0]
        for row, (file, value) in enumerate(self._cells(split)):
            if row == int(sample.id.split("/")[1]):
                found = _content(value, file.parent, self.root)
                if isinstance(found, Path):
                    self._note(found, file, split)
                    yield sample, partial(read_bytes, found, max_pixels=max_pixels)
                else:
                    yield sample, lambda found=found: found
                sample = next(wanted, None)
                if sample is None:
                    return

    def _note(self, path: Path, table: Path, split: str) -> None:
        """Record the state of a file that a cell names, before it is read; refuse one of another split.

        The split is told by the names of its folders: below the set's folder by all of them, elsewhere by those in
        which the files of a table differ.
        """
        below = path.is_relative_to(self.root)
        name = (path.relative_to(self.root) if below else path).as_posix()
        said = set().union(*map(splits_in, name.split("/")[:-1]))
        usual = set() if below else self.usual.setdefault(table, said)
        if said - {split} - usual and not self.chosen:
            raise DataError(
                f"{table} is read as {split} and names {name}, in a folder of {' and '.join(sorted(said - usual))}: "
                f"write the images of each split into a table of their own, or, where all of it is {split}, "
                f"{what_to_write(self.tables)}."
            )
        with suppress(OSError):  # missing; reading it will report that
            self.named[name] = state_of(path)

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
    """List the samples of tables, with splits by the names of the files (train-00000-of-00002.parquet) or of their
    folders (train/data-00000.arrow).

    image: a column of bytes, of paths (relative to the table's folder or the set's, or absolute), or of {bytes, path};
    label: a column of class names, or of numbers, whose names are taken from Hugging Face's metadata in the file if
    present. splits: split -> files, folders or patterns, where the names do not tell. unlabelled: no labels are read.
    Raises DataError where tables, columns or labels are missing or inconsistent.
    """
    found = _Table(root, image, bool(splits))
    found.tables = _listed(found, splits)
    for split in [split for split in found.tables if split != "train"]:
        if not sum(_rows(root / name) for name in found.tables[split]):
            found.note_aside(dict.fromkeys(found.tables.pop(split), "a table without rows"))
    shards = {}
    for split, names in found.tables.items():
        for name in names:
            _check_column(root / name, image)
            if NO_IMAGE.match(kind := str(_schema(root / name).field(image).type)) and _rows(root / name):
                raise DataError(
                    f"{root / name}: the column {image!r} is of type {kind[:80]}, and an image is bytes, a path, or a "
                    "struct {bytes, path}: convert it, or name another column with image:."
                )
            if not found.chosen:
                _check_rows(root / name, split, label, found.tables)
        shards[split] = [_labels(root / name, label, unlabelled, split) for name in names]
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
    """Yield each id with the bytes of its image, in the order of the rows.

    root: the set's folder. about: the entry `table` of a pack's `meta.json`. ids: ids of that pack. Raises DataError
    where a table or an image is gone.
    """
    found = _Table(root, about["image"], True)
    found.tables = about["files"]
    by_split: dict[str, list[Sample]] = {}
    for name in sorted(ids):
        by_split.setdefault(name.split("/")[0], []).append(Sample(name, 0, ""))
    for samples in by_split.values():
        for sample, read in found.readers(samples):
            data = read()
            if isinstance(data, str):
                raise DataError(f"{root}: {sample.id}: {data}.")
            yield sample.id, data


def _listed(found: ImageSet, splits: Mapping[str, Sequence[str]] | None) -> dict[str, list[str]]:
    tree = walk(found.root)
    found.note_aside(dict.fromkeys(tree.aside, "hidden, or a system's own"))
    names = [f"{folder}/{name}" if folder else name for folder, files in tree.files.items() for name in files]
    tables = [name for name in names if name.lower().endswith(TABLES)]
    require_utf8(found.root, tables)
    for name in tables:
        try:
            kind = special(found.root / name)
        except OSError as error:
            require_working(error, found.root / name)
            raise DataError(f"{found.root / name} cannot be read ({error.strerror}): remove it.") from error
        if kind:
            raise DataError(f"{found.root / name} is {kind}, not a table: remove it.")
    found.ignored += sorted(set(names) - set(tables))
    layout = table_layout(str(found.root), tables, chosen=splits)
    found.note_aside(layout.aside)
    return layout.splits


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """A `ParquetFile`, or the record batches of an Arrow file; raises DataError where the file cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix.lower() == ".parquet":
            with pq.ParquetFile(file, pre_buffer=False) as table:
                yield table
        else:
            with pa.memory_map(str(file)) as source:
                yield _arrow_reader(source)
    except (PermissionError, FileNotFoundError) as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error}).") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        require_working(error, file)
        what = "damaged"
        with suppress(OSError), file.open("rb") as content:  # where the disk fails, it fails again
            what = in_its_place(content.read(64)) or what
        raise DataError(f"{file} is {what}: {' '.join(str(error).split())}.") from error


def _column(file: Path, name: str) -> Iterator[Any]:
    """The values of a column, a few rows at a time."""
    _check_column(file, name)
    with _opened(file) as table:
        parquet = hasattr(table, "iter_batches")
        for batch in table.iter_batches(batch_size=ROWS, columns=[name], use_threads=False) if parquet else table:
            column = batch.column(batch.schema.names.index(name))
            for start in range(0, len(column), ROWS):
                yield from column.slice(start, ROWS).to_pylist()


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


def _check_column(file: Path, name: str) -> None:
    if (there := _schema(file).names).count(name) > 1:
        raise DataError(f"{file} has {there.count(name)} columns {name!r}: keep one, or rename the others.")
    if name not in there:
        if partition := next((part for part in file.parts if part.startswith(f"{name}=")), None):
            raise DataError(
                f"{file} has no column {name!r}, whose value is in a folder's name ({partition}): write the tables "
                "without partitions by this column, so that they have it."
            )
        raise DataError(
            f"{file} has no column {name!r} (it has {', '.join(there)}): name it with image: or label:, or set "
            "unlabelled: true where there are no labels."
        )


def _rows(file: Path) -> int:
    with _opened(file) as table:
        return table.metadata.num_rows if hasattr(table, "metadata") else sum(map(len, table))


def _schema(file: Path) -> Any:
    with _opened(file) as table:
        return table.schema_arrow if hasattr(table, "schema_arrow") else table.schema


def _labels(file: Path, label: str, unlabelled: bool, split: str) -> Labels:
    """The labels of one table; all None where a validation or test table has no label column."""
    if unlabelled:
        return Labels(file, [UNLABELLED] * _rows(file), None)
    if split != "train" and label not in _schema(file).names:
        return Labels(file, [None] * _rows(file), None)
    return Labels(file, list(_column(file, label)), _class_names(file, label))


def _class_names(file: Path, label: str) -> list[str] | None:
    try:
        metadata = _schema(file).metadata or {}
        names = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"][label]["names"]
    except (ValueError, LookupError, TypeError):  # no such metadata, or in another format
        return None
    sound = isinstance(names, list) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return names if sound and names else None


def _check_rows(file: Path, split: str, label: str, tables: Mapping[str, Sequence[str]]) -> None:
    """Refuse a table with rows that it marks as of another split than the one that it is read as, in a column such as
    split, or a boolean one such as is_train."""
    for name in _schema(file).names:
        of_name, said = splits_in(name), set()
        if name == label or (name.lower() not in SPLIT_COLUMNS and len(of_name) != 1):
            continue
        values = {value for value in _column(file, name) if isinstance(value, str | int)}
        if name.lower() in SPLIT_COLUMNS:
            said = set().union(*(splits_in(value) for value in values if isinstance(value, str)))
        elif values == {0, 1} or (values == {1} and split not in of_name):
            said = of_name - {split} or {"another split"}
        if others := sorted(said - {split}):
            raise DataError(
                f"{file} is read as {split}, and its column {name!r} marks some rows as "
                f"{' or '.join(others)}: write the rows of each split into a table of their own, or, where all of it "
                f"is {split}, {what_to_write(tables)}."
            )


def _content(value: Any, folder: Path, root: Path) -> bytes | Path | str:
    """The image in a cell: its bytes, or the file that it names, or a phrase with the reason why it is neither."""
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
    if path.startswith(BASE64) and len(path) > 99:
        return "the cell holds text of base64: decode it to bytes (base64.b64decode) first"
    if "\0" in path or len(path) > 4096:
        return "the cell holds text that is not a path of an image"
    places = [place / path for place in dict.fromkeys((folder, root))]
    try:
        there = next((place for place in places if place.exists()), None)
        if there is None and "\\" in path:
            return f"the cell's path has backslashes, and there is no such file; write forward slashes: '{path[:80]}'"
        return there or places[0]
    except OSError as error:  # text that is not a valid path
        require_working(error, path)
        return f"the cell holds no path of an image ({error.strerror})"
