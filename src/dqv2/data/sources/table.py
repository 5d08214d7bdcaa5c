"""Folders of tables with an image and a label a row: parquet or arrow files as Hugging Face's datasets have them."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dqv2.data.errors import DataError
from dqv2.data.image import MAX_PIXELS
from dqv2.data.layout import table_files
from dqv2.data.sample import ImageSet, Sample

ROWS = 64  # read at a time


class _Table(ImageSet):
    """Images in the cells of a column. An id is split/row, counted through the files in the order of their names."""

    streams = False
    files: dict[str, list[Path]]
    image: str

    def readers(self, samples: Iterable[Sample], max_pixels: int = MAX_PIXELS) -> Iterator[tuple]:
        wanted = iter(samples)
        sample = next(wanted, None)
        if sample is None:
            return
        split = sample.id.split("/")[0]
        rows = (value for file in self.files[split] for value in _column(file, self.image))
        for row, value in enumerate(rows):
            if row == int(sample.id.split("/")[1]):
                yield sample, lambda value=value: _bytes(value)
                sample = next(wanted, None)
                if sample is None:
                    return


def load(root: Path, *, kind: str, image: str = "image", label: str = "label") -> ImageSet:
    """Splits go by the names of the files (train-00000-of-00002.parquet) or of their folders (train/data-00000.arrow).

    `image`: a column of bytes, or of {bytes, path}; `label`: a column of class names, or of numbers, whose names are
    read from the file where Hugging Face's metadata has them.
    """
    files = table_files(root)
    if "train" not in files:
        raise DataError(f"{root} holds no .parquet or .arrow file with train in its name or its folder's.")
    names = _class_names(files["train"][0], label)
    values = {
        split: [value for file in of_split for value in _column(file, label)] for split, of_split in files.items()
    }
    if names is None:
        names = sorted(
            {str(value) for value in values["train"]},
            key=lambda name: (0, int(name), "") if name.isdigit() else (1, 0, name),
        )
    place = {name: i for i, name in enumerate(names)}
    splits = {}
    for split, labels in values.items():
        numbers = [v if isinstance(v, int) and str(v) not in place else place.get(str(v), -1) for v in labels]
        if unknown := [v for v, n in zip(labels, numbers, strict=True) if not 0 <= n < len(names)]:
            raise DataError(
                f"{root}: {len(unknown)} labels of {split} are no class of train, the first is {unknown[0]!r}."
            )
        splits[split] = [Sample(f"{split}/{i:07d}", n, names[n]) for i, n in enumerate(numbers)]
    found = _Table(root, names, splits)
    found.files, found.image = files, image
    return found


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid as error:
        raise DataError(f"{file} is damaged: {error}.") from error


def _column(file: Path, name: str) -> Iterator[Any]:
    """The values of a column, a few rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        stack.enter_context(_reading(file))
        if file.suffix == ".parquet":
            table = stack.enter_context(pq.ParquetFile(file, pre_buffer=False))
            _check_column(file, name, table.schema_arrow.names)
            for batch in table.iter_batches(batch_size=ROWS, columns=[name], use_threads=False):
                yield from batch.column(0).to_pylist()
            return
        reader = _arrow_reader(stack.enter_context(pa.memory_map(str(file))))
        _check_column(file, name, reader.schema.names)
        for batch in reader:
            column = batch.column(reader.schema.names.index(name))
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


def _check_column(file: Path, name: str, there: list[str]) -> None:
    if name not in there:
        raise DataError(f"{file} has no column {name!r} (it has {', '.join(there)}): name it with image: or label:.")


def _class_names(file: Path, label: str) -> list[str] | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        stack.enter_context(_reading(file))
        if file.suffix == ".parquet":
            metadata = pq.read_schema(file).metadata or {}
        else:
            metadata = _arrow_reader(stack.enter_context(pa.memory_map(str(file)))).schema.metadata or {}
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return (features.get(label) or {}).get("names")


def _bytes(value: Any) -> bytes | str:
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) else "the cell holds no bytes of an image"
