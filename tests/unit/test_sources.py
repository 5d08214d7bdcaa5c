"""Each set from its archive, served over loopback HTTP in the official layout, to its packs."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dqv2.data import DataError, Pack
from dqv2.data.boxes import BoxMasks, pack_box
from dqv2.data.dataset import pack_dataset
from dqv2.data.fetch import fetch_set
from dqv2.data.sources import imagenet, open_set
from tests.miniatures import LAYOUTS, MAKERS, WNIDS, Server, archive, jpeg, photo, read_image, save


def fetched(name, tmp_path):
    """The folder of a set's miniature, and what its maker said of it."""
    site = tmp_path / "site"
    site.mkdir()
    _, checksum, more = archive(name, site)
    with Server(site).running() as server:
        return fetch_set(name, tmp_path / "data", mirror=server.url, checksum=checksum), more


def packed(tmp_path, kind, folder, **options):
    pack_dataset("mine", tmp_path / "packs", kind=kind, folder=str(folder), **{"size": 8, "workers": 2, **options})
    packs = {split: Pack.open(tmp_path / "packs" / split) for split in ("train", "validation", "test")}
    for pack in packs.values():
        pack.images[:]  # compares the checksum of each
    return packs


@pytest.mark.parametrize("name", MAKERS)
def test_a_set_passes_from_its_archive_to_its_packs(tmp_path, name):
    folder, more = fetched(name, tmp_path)
    kind = name.split("-")[0]
    packs = packed(tmp_path, kind, folder, **({"checksums": more} if more else {}))
    n_train, n_test, classes, first, last = LAYOUTS[name]
    assert (len(packs["train"]), len(packs["validation"]), len(packs["test"])) == (n_train, 0, n_test)
    assert packs["train"].classes == packs["test"].classes == classes
    assert (packs["train"].ids[0], packs["train"].ids[-1]) == (first, last)
    assert not set(packs["train"].ids) & set(packs["test"].ids)
    row = packs["train"].rows_of_manifest()[-1]
    assert len(row["source_sha256"]) == 64
    if kind == "cifar10":
        assert (row["width"], row["height"]) == ("32", "32")
    else:
        with Image.open(folder / row["id"]) as image:
            assert (row["width"], row["height"]) == tuple(map(str, image.size))
        np.testing.assert_array_equal(packs["train"].images[-1], read_image(folder / row["id"], 8))


def theirs(kind, folder, split):
    """(path, label) as torchvision's class has them."""
    from torchvision import datasets

    if kind == "imagenette":
        return datasets.Imagenette(folder.parent, split={"test": "val"}.get(split, split), size="160px")._samples
    part = datasets.Food101(folder.parent, split=split)
    return list(zip(map(str, part._image_files), part._labels, strict=True))


@pytest.mark.parametrize(("name", "kind"), [("imagenette-160", "imagenette"), ("food101", "food101")])
@pytest.mark.parametrize("split", ["train", "test"])
def test_samples_and_labels_are_torchvisions(tmp_path, name, kind, split):
    folder, _ = fetched(name, tmp_path)
    ours = open_set(kind, folder).splits[split]
    assert [(str(folder / s.id), s.label) for s in ours] == [(str(p), y) for p, y in theirs(kind, folder, split)]


def test_cifar10_has_torchvisions_pixels(tmp_path):
    folder, more = fetched("cifar10", tmp_path)
    images = open_set("cifar10", folder, checksums=more)
    packs = packed(tmp_path, "cifar10", folder, size=32, checksums=more)
    np.testing.assert_array_equal(packs["test"].images, images.arrays["test"].transpose(0, 3, 1, 2))
    assert packs["train"].labels.tolist() == [0, 1, 2] * 10


def test_batches_that_are_not_the_published_ones_are_refused(tmp_path):
    folder, more = fetched("cifar10", tmp_path)
    with pytest.raises(DataError, match="MD5 differs"):
        open_set("cifar10", folder)
    (folder / "data_batch_3").write_bytes(b"")
    with pytest.raises(DataError, match="MD5 differs"):
        open_set("cifar10", folder, checksums=more)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("imagenette-160", "val"),
        ("food101", "meta"),
        ("cub200", "train_test_split.txt"),
        ("tiny_imagenet", "wnids.txt"),
        ("tiny_imagenet", "train/n02102040/n02102040_boxes.txt"),
    ],
)
def test_a_layout_with_a_hole_is_named(tmp_path, name, lost):
    folder, _ = fetched(name, tmp_path)
    path = folder / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match="is not laid out as"):
        open_set(name.split("-")[0], folder)


def test_some_classes_of_a_published_set(tmp_path):
    folder, _ = fetched("tiny_imagenet", tmp_path)
    whole, some = (open_set("tiny_imagenet", folder, classes=classes) for classes in (None, 1))
    assert len(whole.classes) > 1
    assert some.classes == whole.classes[:1]
    for split, samples in some.splits.items():
        assert samples == [s for s in whole.splits[split] if s.label == 0]
    assert some.splits["train"]


def test_a_set_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"There is no folder .*/CUB_200_2011: expected is one with the set cub200"):
        open_set("cub200", tmp_path / "CUB_200_2011")


# -- boxes ------------------------------------------------------------------------------------------------------------


def test_boxes_of_tiny_imagenet_are_inclusive_in_the_files(tmp_path):
    folder, _ = fetched("tiny_imagenet", tmp_path)
    packs = packed(tmp_path, "tiny_imagenet", folder, size=64)
    objects = packs["train"].objects
    assert (objects.shape, objects.dtype, len(objects)) == ((8, 64, 64), bool, 8)
    mask = objects[1]
    expected = np.zeros((64, 64), bool)
    expected[10:41, 1:64] = True
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(objects[[1, 0]][0], expected)
    np.testing.assert_array_equal(np.array(objects)[1], expected)
    assert packs["test"].objects[0].sum() == 32 * 64


def test_boxes_follow_the_resize_and_the_cut():
    # 20 x 16 to 8 x 8: half the size, one column lost on either side
    assert pack_box((2.0, 0.0, 10.0, 16.0), 20, 16, 8) == (0, 0, 4, 8)
    assert pack_box((18.0, 4.0, 20.0, 8.0), 20, 16, 8) == (7, 2, 8, 4), "cut away: the border stays"
    assert pack_box((0, 0, 64, 64), 64, 64, 64) == (0, 0, 64, 64)


@pytest.mark.parametrize(
    ("size", "packed", "alike"),
    # 170 · (224 / 160) is a pixel less than 224 · 170 / 160, in floating-point numbers
    [(size, 32, 0.85) for size in ((100, 60), (60, 100), (64, 64), (31, 200))] + [((160, 170), 224, 0.99)],
)
def test_a_box_lies_where_its_pixels_lie(size, packed, alike):
    """Paint the box, then read the image: the painted pixels are the box's."""
    width, height = size
    box = (round(width * 0.375), round(height * 0.3), round(width * 0.625), round(height * 0.59))
    image = Image.new("RGB", size)
    image.paste((255, 255, 255), box)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    from dqv2.data.image import decode

    painted = decode(stream.getvalue(), packed).pixels[0] > 127
    mask = BoxMasks(np.array([pack_box(box, width, height, packed)], np.int16), packed)[0]
    assert (mask & painted).sum() / (mask | painted).sum() >= alike


# -- ImageNet ---------------------------------------------------------------------------------------------------------


def imagenet_archives(root, wnids):
    """The three official archives of a miniature, and torchvision's file of what the development kit says."""
    import torch

    root.mkdir(parents=True)
    with tarfile.open(root / imagenet.TRAIN, "w") as outer:
        for k, wnid in enumerate(wnids):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as tar:
                for i in (10, 2):
                    add(tar, f"{wnid}_{i}.JPEG", jpeg(10 * k + i))
            add(outer, f"{wnid}.tar", inner.getvalue())
    labels = [wnids[i % len(wnids)] for i in range(2 * len(wnids))]
    with tarfile.open(root / imagenet.VAL, "w") as tar:
        for i in reversed(range(len(labels))):  # in no order
            add(tar, f"ILSVRC2012_val_{i + 1:08d}.JPEG", jpeg(500 + i))
    torch.save(({wnid: (wnid,) for wnid in wnids}, labels), root / "meta.bin")
    return labels


def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def unpacked(root, labels):
    """The same as torchvision's `ImageNet` arranges it."""
    target = root.with_name("unpacked")
    with tarfile.open(root / imagenet.TRAIN) as outer:
        for member in outer:
            with tarfile.open(fileobj=outer.extractfile(member)) as inner:
                inner.extractall(target / "train" / Path(member.name).stem, filter="data")
    with tarfile.open(root / imagenet.VAL) as tar:
        for member, wnid in zip(sorted(tar, key=lambda m: m.name), labels, strict=True):
            tar.extract(member, target / "val" / wnid, filter="data")
    return target


@pytest.mark.parametrize("storage", ["packed", "streamed"])
def test_imagenet_from_its_archives_is_imagenet_unpacked(tmp_path, storage):
    root = tmp_path / "imagenet"
    labels = imagenet_archives(root, WNIDS)
    ours = packed(tmp_path / "a", "imagenet", root, storage=storage)
    other = packed(tmp_path / "b", "imagenet", unpacked(root, labels))
    for split, n in (("train", 4), ("test", 4)):
        assert ours[split].ids == other[split].ids
        assert len(ours[split]) == n
        assert ours[split].classes == list(WNIDS)
        assert ours[split].labels.tolist() == other[split].labels.tolist()
        np.testing.assert_array_equal(ours[split].images[:], other[split].images)
    assert ours["train"].ids[0] == "train/n01440764/n01440764_10.JPEG"
    assert not (root / "train").exists()
    assert (tmp_path / "a/packs/train/images.npy").exists() == (storage == "packed")


def test_imagenet30_is_thirty_classes_of_it(tmp_path):
    wnids = sorted([*imagenet.IMAGENET30, *WNIDS])
    root = tmp_path / "imagenet"
    labels = imagenet_archives(root, wnids)
    for folder in (root, unpacked(root, labels)):
        found = open_set("imagenet30", folder)
        assert found.classes == sorted(imagenet.IMAGENET30)
        assert {s.class_name for s in found.splits["test"]} == set(imagenet.IMAGENET30)
        assert (len(found.splits["train"]), len(found.splits["test"])) == (60, 60)
    shutil.rmtree(folder / "train/n02787622")
    with pytest.raises(DataError, match="lacks 1 of the 30 classes, the first is n02787622"):
        open_set("imagenet30", folder)


def test_the_thirty_classes_are_imagenets_by_number_and_by_name():
    """WordNet ids against timm's list of ImageNet's classes."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    assert len(imagenet.IMAGENET30) == 30
    for wnid, name in imagenet.IMAGENET30.items():
        names = [part.strip().lower() for part in info.label_name_to_description(wnid, detailed=False).split(",")]
        assert name.lower().removeprefix("rotary ") in names


def test_the_development_kit_is_read_and_nothing_is_written_beside_it(tmp_path, monkeypatch):
    """The set's folder is a person's own, and may only be readable."""
    root = tmp_path / "imagenet"
    imagenet_archives(root, WNIDS)
    kept = (root / "meta.bin").rename(tmp_path / "meta.bin")
    (root / imagenet.DEVKIT).write_bytes(b"kit")
    parsed = []

    def parse(made):
        parsed.append((Path(made) / imagenet.DEVKIT).read_bytes())
        shutil.copyfile(kept, Path(made) / "meta.bin")

    monkeypatch.setattr("torchvision.datasets.imagenet.parse_devkit_archive", parse)
    before = sorted(root.iterdir())
    assert len(open_set("imagenet", root).splits["test"]) == 2 * len(WNIDS)
    assert parsed == [b"kit"]
    assert sorted(root.iterdir()) == before


def test_val_needs_the_development_kit(tmp_path):
    imagenet_archives(tmp_path / "imagenet", WNIDS)
    (tmp_path / "imagenet/meta.bin").unlink()
    with pytest.raises(DataError, match=r"but not ILSVRC2012_devkit_t12\.tar\.gz"):
        open_set("imagenet", tmp_path / "imagenet")


# -- tables -----------------------------------------------------------------------------------------------------------


def table(rows, *, names=None, image=None):
    import pyarrow as pa

    values = [image(i) if image else {"bytes": jpeg(i), "path": f"{i}.jpg"} for i in rows]
    labels = pa.array([i % 2 if names else f"class {i % 2}" for i in rows])
    found = pa.table({"image": pa.array(values), "label": labels})
    if names:
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        found = found.replace_schema_metadata({b"huggingface": json.dumps(info).encode()})
    return found


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize("names", [None, ["cat", "dog"]])
def test_tables_as_hugging_face_writes_them(tmp_path, kind, names):
    import pyarrow as pa
    import pyarrow.parquet as pq

    root = tmp_path / "set"
    files = {"train": [range(5), range(5, 9)], "test": [range(20, 24)]}
    for split, parts in files.items():
        for k, rows in enumerate(parts):
            if kind == "parquet":
                path = root / "data" / f"{split}-{k:05d}-of-{len(parts):05d}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(table(rows, names=names), path, row_group_size=2)
            else:
                path = root / split / f"data-{k:05d}-of-{len(parts):05d}.arrow"
                path.parent.mkdir(parents=True, exist_ok=True)
                data = table(rows, names=names)
                with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, data.schema) as writer:
                    writer.write_table(data, max_chunksize=3)
    packs = packed(tmp_path, "table", root, validation=0.25)
    assert packs["train"].classes == (names or ["class 0", "class 1"])
    assert [len(p) for p in packs.values()] == [7, 2, 4]
    assert all(i.startswith("train/") for i in packs["validation"].ids)
    for split, first in (("train", 0), ("validation", 0), ("test", 20)):
        for k, name in enumerate(packs[split].ids):
            seed = first + int(name.split("/")[1])
            assert packs[split].labels[k] == seed % 2
            path = tmp_path / "one.jpg"
            path.write_bytes(jpeg(seed))
            np.testing.assert_array_equal(packs[split].images[k], read_image(path, 8))


def test_tables_with_faults(tmp_path):
    import pyarrow.parquet as pq

    root = tmp_path / "set"
    root.mkdir()
    with pytest.raises(DataError, match=r"holds no table: tables are files that end in \.parquet or \.arrow"):
        open_set("table", root / "..")
    pq.write_table(table(range(4), image=lambda i: jpeg(i) if i else b"no image"), root / "train.parquet")
    with pytest.raises(DataError, match=r"has no column 'img' \(it has image, label\)"):
        open_set("table", root, label="img")
    with pytest.raises(DataError, match=r"1 of 4 images .*\n  train/0000000: not an image"):
        packed(tmp_path, "table", root)
    assert len(packed(tmp_path, "table", root, on_bad="skip")["train"]) == 3
    with pytest.raises(DataError, match="cannot be read one by one: set storage: packed"):
        packed(tmp_path, "table", root, on_bad="skip", storage="streamed")
    (root / "train.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(DataError, match="is damaged"):
        open_set("table", root)


# -- streamed ---------------------------------------------------------------------------------------------------------


def test_a_streamed_pack_is_the_packed_one_without_its_pixels(tmp_path):
    root = tmp_path / "set"
    for split in ("train", "test"):
        for name in ("a", "b"):
            for i in range(5):
                save(root / split / name / f"{i}.png", seed=i)
    a = packed(tmp_path / "a", "image_folder", root)["train"]
    b = packed(tmp_path / "b", "image_folder", root, storage="streamed")["train"]
    assert (a.ids, a.fingerprint) == (b.ids, b.fingerprint)
    assert (b.images.shape, b.images.dtype) == (a.images.shape, a.images.dtype)
    for index in (3, slice(2, 7), np.array([9, 0, 4]), [1], np.arange(10) % 3 == 0, slice(0, 0)):
        np.testing.assert_array_equal(b.images[index], a.images[index])
    np.testing.assert_array_equal(np.array(b.images), a.images)
    assert sum(f.stat().st_size for f in b.folder.iterdir()) < 10_000
    photo(99).save(root / "train/a/1.png")
    with pytest.raises(DataError, match=r"train/a/1\.png is not the image that it was"):
        b.images[0:3]
    (root / "train/a/1.png").unlink()
    with pytest.raises(DataError, match=r"train/a/1\.png: .*No such file.*have to stay where they were"):
        b.images[:]  # compares the checksum of each
