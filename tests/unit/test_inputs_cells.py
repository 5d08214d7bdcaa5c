"""Cells of tables as people have them: bytes, paths and what is neither; columns and tables that cannot be read."""

import base64

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dqv2.data import DataError
from dqv2.data.places import changed_files
from dqv2.data.sources import open_set
from dqv2.data.sources import table as table_module
from tests.inputs import save, write_table
from tests.miniatures import jpeg, read_image
from tests.unit.test_inputs import pack


@pytest.mark.parametrize("where", ["beside", "the set's folder", "absolute", "cells of none"])
def test_cells_that_hold_paths(tmp_path, where):
    root = tmp_path / "set"
    folder = {"the set's folder": root, "absolute": tmp_path}.get(where, root / "data")
    for i in range(3):
        save(folder / f"images/{i}.png", seed=i)
    before = f"{folder}/" if where == "absolute" else ""
    cells = [f"{before}images/{i}.png" for i in range(3)]
    if where == "cells of none":
        cells = [{"bytes": None, "path": path} for path in cells]
    write_table(root / "data/train.parquet", ["a", "b", "a"], cells=cells)
    images = pack(root, tmp_path / "out", "table")["train"].images
    for i in range(3):
        np.testing.assert_array_equal(images[i], read_image(folder / f"images/{i}.png", 8))


@pytest.mark.parametrize("outside", [False, True])
def test_files_that_cells_name_are_watched(tmp_path, outside):
    root = tmp_path / "set"
    folder = tmp_path / "apart" if outside else root / "images"
    for i in range(3):
        save(folder / f"{i}.png", seed=i)
    cells = [str(folder / f"{i}.png") if outside else f"images/{i}.png" for i in range(3)]
    write_table(root / "train.parquet", ["a", "b", "a"], cells=cells)
    pack(root, tmp_path / "out", "table")
    assert changed_files(root, tmp_path / "out/files.csv") == []
    save(folder / "1.png", seed=9)
    assert changed_files(root, tmp_path / "out/files.csv") == [cells[1]]


def test_files_that_are_said_to_be_another_splits_are_refused(tmp_path):
    for name in ("train", "Test_1"):
        save(tmp_path / "set" / name / "a.png", seed=len(name))
    write_table(tmp_path / "set/birds.parquet", ["a", "b"], cells=["train/a.png", "Test_1/a.png"])
    with pytest.raises(
        DataError, match=r"birds\.parquet is read as train and names Test_1/a\.png, in a folder of test"
    ):
        pack(tmp_path / "set", tmp_path / "out", "table")
    found = pack(tmp_path / "set", tmp_path / "out", "table", splits={"train": ["birds.parquet"]})
    assert len(found["train"]) == 2


def test_a_column_is_read_by_its_whole_name(tmp_path):
    other = {"image.small": pa.array([b"none", b"none"])}
    table = pa.table({**other, "image": pa.array([jpeg(0), jpeg(1)]), "label": ["a", "b"]})
    (tmp_path / "set").mkdir()
    pq.write_table(table, tmp_path / "set/train.parquet")
    assert len(pack(tmp_path / "set", tmp_path / "out", "table")["train"]) == 2


def test_cells_that_hold_no_image_are_named(tmp_path):
    cells = ["gone.png", "http://127.0.0.1/a.png", "x" * 5000, "y" * 300, "/dev/zero", "a\0b"]
    _refused(tmp_path, cells, ("No such file", "an address", "text that is", "File name too long", "it is a device"))


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([1, 2]),
        pa.array([0.5, None]),
        pa.array([list(jpeg(0)), list(jpeg(1))], pa.list_(pa.uint8())),
        pa.array([[jpeg(0)], [jpeg(1)]]),
        pa.array([3, 4]).dictionary_encode(),
    ],
    ids=lambda cells: str(cells.type),
)
def test_a_column_that_can_hold_no_image_is_named_before_any_image_is_read(tmp_path, cells):
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"image": cells, "label": ["a", "b"]}), tmp_path / "set/train.parquet")
    with pytest.raises(
        DataError, match=r"train\.parquet: the column 'image' is of type .*name another column with image:"
    ):
        open_set("table", tmp_path / "set")


@pytest.mark.parametrize("kind", [pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())], ids=str)
def test_bytes_of_every_type_are_read(tmp_path, kind):
    (tmp_path / "set").mkdir()
    table = pa.table({"image": pa.array([jpeg(0), jpeg(1)], pa.binary()).cast(kind), "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "set/train-0.parquet")
    pq.write_table(pa.table({"image": pa.array([], pa.float64()), "label": []}), tmp_path / "set/train-1.parquet")
    assert len(pack(tmp_path / "set", tmp_path / "out", "table")["train"]) == 2


def test_cells_of_base64_are_named(tmp_path):
    text = base64.b64encode(jpeg(0)).decode()
    _refused(tmp_path, [text, f"data:image/jpeg;base64,{text}"], ["text of base64"])


def _refused(tmp_path, cells, reasons):
    write_table(tmp_path / "set/train.parquet", ["a"] * len(cells), cells=cells)
    with pytest.raises(DataError, match=f"{len(cells)} of {len(cells)} images") as caught:
        pack(tmp_path / "set", tmp_path / "out", "table")
    assert all(reason in str(caught.value) for reason in reasons)


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-60], lambda data: data[:4] + bytes(len(data))]
)
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_damaged_table_is_named(tmp_path, kind, damage):
    path = write_table(tmp_path / f"train.{kind}", ["cat", "dog"], kind=kind)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"train\.{kind} is damaged"):
        pack(tmp_path, tmp_path / "out", "table")


def test_a_table_on_a_disk_that_fails_is_named(tmp_path, monkeypatch):
    def fail(first):
        raise OSError(5, "Input/output error")

    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(table_module, "in_its_place", fail)
    with pytest.raises(DataError, match=r"train\.parquet is damaged"):
        pack(tmp_path, tmp_path / "out", "table")


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_pointer_in_the_place_of_a_table_is_named(tmp_path, kind):
    (tmp_path / f"train.{kind}").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=rf"train\.{kind} is a Git LFS pointer"):
        pack(tmp_path, tmp_path / "out", "table")


def test_two_columns_of_one_name_are_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array([jpeg(0)]), *[pa.array(["a"])] * 2], names=["image", "label", "label"])
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(DataError, match="has 2 columns 'label': keep one"):
        pack(tmp_path, tmp_path / "out", "table")
