"""A folder as people have them: every oddity is read as it should be, or named and left out."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from dqv2.data import DataError, Pack
from dqv2.data.image import MAX_PIXELS, decode
from dqv2.data.packing import pack_set
from dqv2.data.sample import ImageSet, Sample
from dqv2.data.sources import open_set
from tests.miniatures import read_image, save
from tests.unit.messy import ODD_NAMES, OPTIONS, messy, pack_folder, packed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names that other systems do not allow")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "my set"
    return root, *messy(root)


def test_by_policy_error_all_that_cannot_be_read_is_counted_and_named(folder, tmp_path):
    root, bad, _ = folder
    with pytest.raises(DataError) as caught:
        packed(root, tmp_path / "out", on_bad="error")
    text = str(caught.value)
    assert text.startswith(f"{len(bad)} of 31 images in {root} cannot be read (replace or remove them, or set on_bad:")
    assert all(name in text for name in bad)
    for reason in (
        "truncated",
        "the file is empty",
        "not an image",
        "No such file",
        "over the limit of 1,000,000 pixels",
    ):
        assert reason in text
    assert not (tmp_path / "out").exists()


def test_by_policy_skip_the_rest_is_packed_and_what_is_left_out_is_listed(folder, tmp_path):
    root, bad, twice = folder
    pack = packed(root, tmp_path / "out")
    pack.images[:]  # compares the checksum of each
    assert {entry["name"] for entry in pack.meta["left_out"]} == bad
    assert {entry["name"] for entry in pack.meta["duplicates"]} == twice
    assert set(pack.meta["ignored"]) == {"cat/notes.txt", "cat/film.gif"}
    assert pack.classes == ["cat", "dog", "lone"]
    assert len(pack) == 26
    assert {f"cat/{name}" for name in ODD_NAMES} < set(pack.ids)
    assert {"dog/link.bmp", "dog/linked/far.png", "dog/nested/deeper/0.png", "lone/only.png"} < set(pack.ids)


def test_every_kind_is_read_as_a_person_sees_it(folder, tmp_path):
    root, *_ = folder
    pack = packed(root, tmp_path / "out")
    sizes = {row["id"]: (int(row["width"]), int(row["height"])) for row in pack.rows_of_manifest()}

    def image(name):
        return pack.images[pack.index([name])[0]].astype(int)

    assert sizes["dog/turned.jpg"] == (24, 40), "as it stands, not as it lies in the file"
    assert sizes["dog/strip.png"] == (1, 3000)
    assert (image("dog/dot.png") == np.array([9, 99, 199])[:, None, None]).all()
    expected = read_image(save(tmp_path / "p.png", seed=10), 12).astype(int)
    np.testing.assert_array_equal(image("dog/clear.png"), expected)
    first = read_image(save(tmp_path / "p.png", seed=13), 12).astype(int)
    np.testing.assert_array_equal(image("dog/moves.webp"), first)
    for name, seed in (("dog/really.png", 15), ("dog/print.jpg", 9)):
        expected = read_image(save(tmp_path / "p.png", seed=seed), 12).astype(int)
        assert abs(image(name) - expected).mean() < 30, name
    grey = image("dog/grey.png")
    assert (grey[0] == grey[1]).all()


def test_duplicates_by_policy(folder, tmp_path):
    root, _, twice = folder
    with pytest.raises(
        DataError, match=r"1 of 31 images .* come twice .*on_duplicate: skip.*\n  dog/grey.png: the same"
    ):
        packed(root, tmp_path / "out", on_duplicate="error")
    pack = packed(root, tmp_path / "out", on_duplicate="skip")
    assert not twice & set(pack.ids)
    assert {
        "name": "dog/grey.png",
        "reason": "the same file as cat/same as grey.png of another class, cat",
    } in pack.meta["left_out"]


def test_a_copy_in_another_split_is_noticed(tmp_path):
    for split in ("train", "test"):
        for i in range(3):
            save(tmp_path / "set" / split / "a" / f"{split}{i}.png", seed=i if i < 1 else i + 10 * len(split))
    out = pack_folder(tmp_path / "set", tmp_path / "out", **{**OPTIONS, "on_duplicate": "skip"})
    assert len(Pack.open(out["train"])) == 3
    assert Pack.open(out["test"]).ids == ["test/a/test1.png", "test/a/test2.png"]


def test_an_image_over_the_limit_is_not_decoded():
    import io

    stream = io.BytesIO()
    Image.new("L", (9000, 9000)).save(stream, "PNG")
    assert decode(stream.getvalue(), 8) == f"over the limit of {MAX_PIXELS:,} pixels (key max_pixels)"
    assert decode(stream.getvalue(), 8, max_pixels=90_000_000).width == 9000
    # Over twice Pillow's own limit Pillow itself refuses to open it; the message is the same
    assert decode(stream.getvalue(), 8, max_pixels=1000) == "over the limit of 1,000 pixels (key max_pixels)"


def test_a_link_to_a_folder_that_holds_it(tmp_path):
    save(tmp_path / "set/train/cat/a.png")
    (tmp_path / "set/train/cat/loop").symlink_to(tmp_path / "set/train")
    with pytest.raises(DataError, match=r"train/cat/loop is a link to a folder that holds it, .*set/train: remove it"):
        open_set("image_folder", tmp_path / "set")


@pytest.mark.parametrize("name", ["to", "v1.0"])
def test_links_that_lead_to_each_other(tmp_path, name):
    """A walk through them would double with each level."""
    for one, other in (("cat", "dog"), ("dog", "cat")):
        save(tmp_path / f"set/{one}/a.png")
        (tmp_path / f"set/{one}/{name}").symlink_to(tmp_path / f"set/{other}")
    with pytest.raises(DataError, match=rf"/{name}/{name} is a link to a folder that holds it, .*: remove it"):
        open_set("image_folder", tmp_path / "set")


@pytest.mark.parametrize("pictures", ["", "images/"])
@pytest.mark.parametrize("below", ["", "train/"])
@pytest.mark.parametrize("others", ["masks", "annotations", None])
def test_masks_beside_a_class_s_pictures_are_left_aside(tmp_path, pictures, below, others):
    for name, masks in (("cat", "masks"), ("dog", others)):
        for i in range(2):
            save(tmp_path / f"set/{below}{name}/{pictures}{i}.png", seed=i)
            if masks:
                save(tmp_path / f"set/{below}{name}/{masks}/{i}.png", seed=9 + i)
    for options in ({}, {"splits": {"train": [below or "."]}}):
        found = open_set("image_folder", tmp_path / "set", **options)
        assert [sample.class_name for sample in found.splits["train"]] == ["cat", "cat", "dog", "dog"]
        assert f"{below}cat/masks/" in {each["name"] for each in found.aside}


def test_a_folder_without_a_file_that_is_called_an_image(tmp_path):
    for name in ("cat/a.jfif", "dog/b.zip"):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).write_bytes(b"x")
    with pytest.raises(
        DataError,
        match=r"None of the 2 files below .* \(such as cat/a\.jfif\): .* unpack archives first; .* kind: table",
    ):
        open_set("image_folder", tmp_path / "set")


@pytest.mark.parametrize("layout", ["", "train"])
def test_one_class_only(tmp_path, layout):
    for i in range(4):
        save(tmp_path / "set" / layout / "cat" / f"{i}.png", seed=i)
    pack = packed(tmp_path / "set", tmp_path / "out")
    assert (pack.classes, len(pack)) == (["cat"], 4)


def test_five_thousand_classes(tmp_path):
    first = save(tmp_path / "one.png", size=(4, 4))
    for k in range(5000):
        folder = tmp_path / "set" / f"class {k:04d}"
        folder.mkdir(parents=True)
        os.link(first, folder / "a.png")
    pack = packed(tmp_path / "set", tmp_path / "out", size=4)
    assert (len(pack.classes), len(pack)) == (5000, 5000)
    assert pack.labels.tolist() == list(range(5000))
    assert len(pack.meta["duplicates"]) == 4999


def test_what_the_disk_cannot_hold_is_refused_with_the_estimate(tmp_path, monkeypatch):
    from collections import namedtuple

    from dqv2.data import packing

    for i in range(4):
        save(tmp_path / "set/cat" / f"{i}.png", seed=i)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: namedtuple("usage", "free")(100_000))
    with pytest.raises(DataError, match=r"4 images at 224 pixels take about 0\.0 GB, .* storage: streamed"):
        packed(tmp_path / "set", tmp_path / "out", size=224)
    assert not (tmp_path / "out").exists()
    assert len(packed(tmp_path / "set", tmp_path / "out", size=224, storage="streamed")) == 4


def test_a_disk_that_fills_up_while_packing_leaves_nothing(tmp_path, monkeypatch):
    import errno

    from dqv2.data import pack as pack_module

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for i in range(4):
        save(tmp_path / "set/cat" / f"{i}.png", seed=i)
    monkeypatch.setattr(pack_module, "_write_manifest", full)
    with pytest.raises(OSError, match="No space left"):
        packed(tmp_path / "set", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """Twelve times as many images of 30 kB of packed pixels each take no more."""
    import tracemalloc

    class Made(ImageSet):
        def readers(self, samples, max_pixels=0):
            for s in samples:
                yield s, lambda s=s: np.full((100, 100, 3), int(s.id) % 251, np.uint8)

    peaks = []
    for n in (100, 1200):
        samples = [Sample(str(i), 0, "a") for i in range(n)]
        made = Made(tmp_path, ["a"], {"train": samples, "validation": [], "test": []})
        tracemalloc.start()
        pack_set(made, tmp_path / "out", size=100, dataset="made", workers=2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3_000_000 < 1200 * 30_000
