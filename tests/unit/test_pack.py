"""Packs: what is written is what is read, damage is noticed, ids resolve."""

import csv
import json
import pickle
import time

import numpy as np
import pytest

from dqv2.data import DataError, Pack, write_pack

SIZE = 5


def images(n, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8)


def pack(folder, n=6, **changes):
    pixels = changes.pop("pixels", images(n))
    items = [(f"set/{i},\n{i}", i % 3, f"photo {i}", x) for i, x in enumerate(pixels)]  # ids CSV must quote
    options = {"dataset": "set", "split": "train", "classes": ["a", "b", "ü"], "n": n, "size": SIZE}
    return write_pack(folder, **{**options, "items": items, **changes})


def test_round_trip(tmp_path):
    objects = images(6)[:, 0] > 99
    folder = pack(tmp_path / "results" / "train", objects=objects)
    p = Pack.open(folder)
    assert isinstance(p.images.stored, np.memmap)
    assert p.images.stored.flags.c_contiguous
    assert not p.images.stored.flags.writeable
    assert p.images.dtype == np.uint8
    np.testing.assert_array_equal(p.images, images(6))
    np.testing.assert_array_equal(p.objects, objects)
    assert p.labels.dtype == np.int64
    assert p.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert p.ids[4] == "set/4,\n4"
    assert (p.classes, len(p)) == (["a", "b", "ü"], 6)
    assert {
        "format": 2,
        "dataset": "set",
        "split": "train",
        "n": 6,
        "height": 5,
        "width": 5,
    }.items() <= p.meta.items()
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "label", "class", "sha256", "source"]
    assert rows[5]["class"] == "ü"
    p.images[:]  # compares the checksum of each


def test_written_twice_it_is_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        pack(tmp_path / name)
    for file in ("images.npy", "manifest.csv", "meta.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_empty_pack_and_no_objects(tmp_path):
    p = Pack.open(pack(tmp_path / "p", n=0))
    assert (p.images.shape, p.labels.dtype, p.ids, p.objects) == ((0, 3, SIZE, SIZE), np.int64, [], None)
    assert p.index([]).dtype == np.int64
    p.images[:]  # compares the checksum of each


def test_fewer_images_than_announced_are_the_left_out_ones(tmp_path):
    left_out = []

    def items():
        for i, x in enumerate(images(1200)):  # so that the count's number of digits changes
            if i % 2:
                left_out.append({"name": f"set/{i}", "reason": "cut off"})
            else:
                yield f"set/{i}", 0, None, x

    p = Pack.open(pack(tmp_path / "p", items=items(), n=1200, left_out=left_out))
    np.testing.assert_array_equal(p.images, images(1200)[::2])
    assert p.meta["n_left_out"] == 600
    assert p.meta["left_out"][0] == {"name": "set/1", "reason": "cut off"}
    assert "source" not in (p.folder / "manifest.csv").read_text(encoding="utf-8").splitlines()[0]
    p.images[:]  # compares the checksum of each


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 7, "pixels": images(6)}, "of 7 samples announced 6 came, 0 are left out"),
        (
            {"items": [("x", 0, None, images(1)[0]), ("x", 1, None, images(1)[0])], "n": 2},
            "x: duplicate id",
        ),
        ({"items": [(5, 0, None, images(1)[0]), ("5", 0, None, images(1)[0])]}, "an id must be text .* got 5"),
        ({"items": [("x" * 131_073, 0, None, images(1)[0])]}, r"an id must be text .* of at most 131,072 char.*'x+\.$"),
        ({"items": [("x\ud800", 0, None, images(1)[0])]}, r"an id must be text in UTF-8, .*'x\\ud800'"),
        ({"items": [("", 0, None, images(1)[0])]}, "an id is empty"),
        ({"items": [("x", 0, "x\ud800", images(1)[0])]}, "the source of x must be text"),
        ({"items": [("x", 0, "x" * 131_073, images(1)[0])]}, "the source of x must be text"),
        ({"items": [("x", 0.0, None, images(1)[0])]}, r"x: the label must be an integer, got 0\.0"),
        ({"items": [("x", "0", None, images(1)[0])]}, "x: the label must be an integer, got '0'"),
        ({"classes": ["a", "b", "\ud800"]}, "a class must be text"),
        ({"classes": ["a", "b"]}, "label 2 is outside 0 to 1"),
        ({"pixels": images(6, 4)}, r"must be uint8\[3, 5, 5\], is uint8\[3, 4, 4\]"),
        ({"pixels": images(6).astype(np.float32)}, "is float32"),
        ({"objects": np.zeros((5, SIZE, SIZE), bool)}, r"objects must be bool\[6, 5, 5\]"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_left(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        pack(tmp_path / "out" / "p", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_source_keeps_the_older_pack(tmp_path):
    folder = pack(tmp_path / "p")

    def items():
        yield "set/0", 0, None, images(1)[0]
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        pack(folder, items=items())
    Pack.open(folder).images[:]  # compares the checksum of each
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_index_resolves_in_the_order_given(tmp_path):
    p = Pack.open(pack(tmp_path / "p"))
    rows = p.index([p.ids[4], p.ids[0], p.ids[4]])
    assert (rows.tolist(), rows.dtype) == ([4, 0, 4], np.int64)
    with pytest.raises(DataError, match=r"2 of 3 ids are not in the pack .*the first is 'nobody'"):
        p.index([p.ids[1], "nobody", "noone"])


def test_the_longest_id_is_read_again(tmp_path):
    items = [("ü" * 131_072, np.uint8(2), None, images(1)[0])]
    p = Pack.open(pack(tmp_path / "p", items=items, n=1))
    assert (p.ids, p.labels.tolist()) == ([items[0][0]], [2])


def test_rows_that_a_manifest_does_not_have_are_named(tmp_path):
    p = Pack.open(pack(tmp_path / "p"))
    for row in (6, -1):
        with pytest.raises(DataError, match=rf"The pack .*p has 6 images and no row {row}\."):
            p.rows_of_manifest([0, row])


def truncate(p):
    (p / "images.npy").write_bytes((p / "images.npy").read_bytes()[:-1])


def edit_meta(**changes):
    def edit(p):
        meta = json.loads((p / "meta.json").read_text(encoding="utf-8"))
        (p / "meta.json").write_text(json.dumps(meta | changes), encoding="utf-8")

    return edit


def header(text):
    """An array whose header is another text."""

    def edit(p):
        said = text.encode().ljust(117) + b"\n"
        content = b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said + images(6).tobytes()
        (p / "images.npy").write_bytes(content)

    return edit


def swap_lines(p):
    lines = (p / "manifest.csv").read_bytes().splitlines(keepends=True)
    (p / "manifest.csv").write_bytes(b"".join([lines[0], *lines[:0:-1]]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "damaged"),
        (lambda p: (p / "images.npy").write_bytes(b""), "damaged"),
        (lambda p: (p / "images.npy").unlink(), r"damaged: \[Errno 2\] No such file .*images\.npy"),
        (lambda p: (p / "meta.json").write_text("[" * 10**5), "damaged: it is nested too deeply"),
        (lambda p: np.save(p / "images.npy", images(5)), r"images\.npy is uint8\[5, 3, 5, 5\], meta"),
        (header("{'descr': '|u1', 'fortran_order': False, 'shape': (6, 3, 5, 5), "), r"images\.npy is no array"),
        (header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({10**30},)}}"), r"images\.npy is no array"),
        (header("(" * 60), r"images\.npy is no array"),
        (lambda p: np.save(p / "images.npy", np.asfortranarray(images(6))), r"images\.npy is uint8"),
        (lambda p: np.savez((p / "images.npy").open("wb"), images(6)), "damaged"),
        (lambda p: (p / "meta.json").write_text("{"), "damaged"),
        (edit_meta(n=5), "damaged"),
        (edit_meta(sha256={}), "no 'manifest.csv'"),
        (edit_meta(classes=["a", "b"]), "labels outside 0 to 1"),
        (edit_meta(format=1), "it has format 1, this version of dqv2 reads format 2"),
        (swap_lines, "manifest.csv is not the file that was written"),
    ],
)
def test_open_names_the_folder_and_the_remedy(tmp_path, damage, message):
    folder = pack(tmp_path / "p")
    damage(folder)
    with pytest.raises(DataError, match=message) as caught:
        Pack.open(folder)
    assert str(folder) in str(caught.value)
    assert "Delete that folder and run the pack rule again" in str(caught.value)


def test_open_without_a_pack(tmp_path):
    with pytest.raises(DataError, match=r"no pack in .*nowhere .*run the pack rule"):
        Pack.open(tmp_path / "nowhere")


@pytest.mark.parametrize("index", [3, slice(2, 5), np.array([5, 3]), np.arange(6) == 3])
def test_an_image_that_changed_is_named_when_it_is_read_and_no_other_is(tmp_path, index):
    folder = pack(tmp_path / "p", items=[(f"id{i}", 0, None, x) for i, x in enumerate(images(6))])
    pixels = np.load(folder / "images.npy", mmap_mode="r+")
    pixels[3, 0, 0, 0] ^= 1
    pixels.flush()
    p = Pack.open(folder)
    np.testing.assert_array_equal(p.images[[0, 1, 2, 4, 5]], images(6)[[0, 1, 2, 4, 5]])
    with pytest.raises(DataError, match=r"in images\.npy the pixels of id3 have changed"):
        p.images[index]
    with pytest.raises(DataError, match="id3"):
        np.array(p.images)


def test_pickles_without_its_pixels(tmp_path):
    p = Pack.open(pack(tmp_path / "p", pixels=images(500), n=500))
    sent = pickle.dumps(p)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).images, p.images)


def test_opening_100_000_rows_takes_about_a_second_at_most(tmp_path):
    pixels = np.zeros((3, SIZE, SIZE), np.uint8)
    items = ((f"train/class/{i:06d}.png", i % 3, None, pixels) for i in range(100_000))
    folder = pack(tmp_path / "p", items=items, n=100_000)
    start = time.process_time()
    p = Pack.open(folder)
    assert p.index(p.ids[::-1])[0] == 99_999
    assert time.process_time() - start < 2
