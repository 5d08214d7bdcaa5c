"""Folders of images: scanned as torchvision does, packed whole, and every fault named."""

import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dqv2.data import DataError, Pack
from dqv2.data.folder import IMG_EXTENSIONS
from dqv2.data.sources import open_set
from tests.conftest import ROOT
from tests.miniatures import read_image
from tests.unit.messy import pack_folder


def scan_folder(path, **options):
    return open_set("image_folder", path, **{"validation": 0.1, "test": 0.2} | options).splits


def save(path, size=(9, 7), seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def make(root, splits=("train", "test"), classes=("cat", "dog"), n=10):
    for split in splits:
        for name in classes:
            for i in range(n):
                save(root / split / name / f"{i:02d}.png", seed=i)
    return root


def count(samples):
    return dict(Counter(s.class_name for s in samples))


def test_extensions_and_order_are_torchvisions(tmp_path):
    from torchvision.datasets import ImageFolder
    from torchvision.datasets import folder as torchvision_folder

    assert torchvision_folder.IMG_EXTENSIONS == IMG_EXTENSIONS
    assert ", ".join(f"`{ending}`" for ending in IMG_EXTENSIONS) in (ROOT / "docs/inputs.md").read_text()
    for name in (
        "b/z.png",
        "b/Z.JPG",
        "b/10.png",
        "b/9.png",
        "b/sub/a.png",
        "b/sub.d/deep/a.bmp",
        "B/x.tif",
        "ä/q.webp",
    ):
        save(tmp_path / "train" / name)
    (tmp_path / "train" / "b" / "notes.txt").write_text("no image")
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    theirs = ImageFolder(tmp_path / "train")
    ours = scan_folder(tmp_path, validation=0)["train"]
    assert [(str(tmp_path / s.id), s.label) for s in ours] == theirs.samples
    assert [theirs.classes[s.label] for s in ours] == [s.class_name for s in ours]


def test_validation_is_carved_out_of_train_by_class(tmp_path):
    make(tmp_path)
    for i in range(10, 20):
        save(tmp_path / "train" / "dog" / f"{i}.png")
    splits = scan_folder(tmp_path, validation=0.2, test=0.5, seed=3)
    assert list(splits) == ["train", "validation", "test"]
    assert [count(s) for s in splits.values()] == [
        {"cat": 8, "dog": 16},
        {"cat": 2, "dog": 4},
        {"cat": 10, "dog": 10},
    ]
    ids = [s.id for split in splits.values() for s in split]
    assert len(set(ids)) == len(ids) == 50
    assert all(s.id.startswith("train/") for s in splits["validation"])
    assert scan_folder(tmp_path, validation=0.2, test=0, seed=3) == splits
    assert scan_folder(tmp_path, validation=0.2, test=0, seed=4) != splits
    assert scan_folder(tmp_path, validation=0)["validation"] == []


@pytest.mark.parametrize("name", ["validation", "val"])
def test_a_split_with_a_folder_is_taken_as_it_is(tmp_path, name):
    make(tmp_path, ("train", name), n=5)
    splits = scan_folder(tmp_path, validation=0.4, test=0.4)
    assert [count(s) for s in splits.values()] == [
        {"cat": 3, "dog": 3},
        {"cat": 5, "dog": 5},
        {"cat": 2, "dog": 2},
    ]
    assert splits["validation"][0].id == f"{name}/cat/00.png"


def test_class_folders_alone_are_split(tmp_path):
    make(tmp_path, [""], ["bus", "tram", "train"], n=10)  # "train" is a class here: it has no folders
    splits = scan_folder(tmp_path, validation=0.1, test=0.2)
    expected = [dict.fromkeys(("bus", "train", "tram"), n) for n in (7, 1, 2)]
    assert [count(s) for s in splits.values()] == expected
    assert splits["train"][0].id.startswith("bus/")


def test_per_class_limits_nest(tmp_path):
    make(tmp_path)
    few, more = (scan_folder(tmp_path, validation=0, per_class={"train": n, "test": 4}) for n in (2, 5))
    assert [count(s) for s in few.values()] == [{"cat": 2, "dog": 2}, {}, {"cat": 4, "dog": 4}]
    assert {s.id for s in few["train"]} < {s.id for s in more["train"]}
    assert [s.id for s in more["train"]] == sorted(s.id for s in more["train"])
    assert scan_folder(tmp_path, validation=0, per_class={"train": 99}) == scan_folder(tmp_path, validation=0)


@pytest.mark.parametrize(("classes", "kept"), [(2, ["ant", "bee"]), (["cow", "ant"], ["ant", "cow"])])
def test_some_classes_alone(tmp_path, classes, kept):
    """Their labels count them anew, in the set's order; what is said of the layout counts them alone."""
    make(tmp_path, ["train", "test"], ["ant", "bee", "cow"], n=4)
    whole, some = (open_set("image_folder", tmp_path, classes=each) for each in (None, classes))
    assert some.classes == kept
    for split, samples in whole.splits.items():
        there = [(s.id, s.class_name) for s in samples if s.class_name in kept]
        assert [(s.id, s.class_name) for s in some.splits[split]] == there
        assert all(kept[s.label] == s.class_name for s in some.splits[split])
    assert [(part["split"], part["classes"], part["images"]) for part in some.layout] == [
        ("train", 2, 8),
        ("test", 2, 8),
    ]


def test_classes_that_are_not_there_are_named(tmp_path):
    make(tmp_path)
    for classes, why in (
        (["cat", "owl"], "the set has no class 'owl'; it has cat, dog"),
        (3, "classes: 3, but the set has 2"),
    ):
        with pytest.raises(DataError, match=why):
            open_set("image_folder", tmp_path, classes=classes)


def test_a_relative_path_gives_the_same_ids(tmp_path, monkeypatch):
    make(tmp_path / "set", n=2)
    monkeypatch.chdir(tmp_path / "set")
    assert scan_folder(".") == scan_folder(tmp_path / "set")


def no_classes(root):
    shutil.rmtree(root / "train")
    save(root / "train" / "a.png")


def no_folders(root):
    shutil.rmtree(root)
    save(root / "a.png")


def one_level_up(root):
    root.rename(root.with_name("x"))
    root.mkdir()
    root.with_name("x").rename(root / "x")


def no_image(root):
    save(root / "test/ox/a.png").rename(root / "test/ox/a.txt")


def not_utf8(root):
    Path(os.fsdecode(os.fsencode(root / "test/cat") + b"/\xff.png")).write_text("x", encoding="utf-8")


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (shutil.rmtree, {}, r"There is no folder /.*/set: expected are train/CLASS/\*, test/CLASS/\*"),
        (
            lambda r: (shutil.rmtree(r), r.touch()),
            {},
            r"set is a file, not a folder \(.* unpack archives\): expected are",
        ),
        (no_classes, {}, r"no class folders in .*set/train: expected"),
        (no_folders, {}, r"no class folders in .*set: expected"),
        (lambda r: (r / "train/ant").mkdir(), {}, r"class folder .*train/ant has no images"),
        (no_image, {}, r"class folder .*test/ox has no images"),
        (lambda r: save(r / "test/ox/a.png"), {}, r"train and test must .* 1 are .*: ox \(only in test\)"),
        (lambda r: make(r, ("val", "validation")), {}, "both validation/ and val/"),
        (lambda r: shutil.rmtree(r / "train"), {}, "has test/ but no train/"),
        (one_level_up, {}, "has x/, which does not look like one of the classes"),
        pytest.param(not_utf8, {}, r"set: 'test/cat/\\udcff\.png' is not valid UTF-8: rename", marks=on_linux),
        (lambda r: shutil.rmtree(r / "test"), {"validation": 0.5, "test": 0.5}, "leave nothing to train on"),
        (lambda r: None, {"validation": 0.99}, r"no training image of cat \(2 such classes\) is left"),
    ],
)
def test_faults_of_the_layout(tmp_path, damage, options, message):
    damage(make(tmp_path / "set", n=2))
    with pytest.raises(DataError, match=message) as caught:
        pack_folder(tmp_path / "set", tmp_path / "out", **{"size": 8, **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def spoil(root):
    (root / "train" / "cat" / "00.png").write_text("not an image")
    (root / "train" / "cat" / "01.png").write_bytes(b"")
    whole = save(root / "train" / "dog" / "zz.jpg", (64, 64)).read_bytes()
    (root / "train" / "dog" / "zz.jpg").write_bytes(whole[: len(whole) // 2])
    png = save(root / "test" / "dog" / "03.png", (64, 64)).read_bytes()
    (root / "test" / "dog" / "03.png").write_bytes(png[:-200])


def test_bad_images_are_named_and_counted(tmp_path):
    root = make(tmp_path / "set", n=5)
    spoil(root)
    for name in ("05", "06", "07"):
        (root / "test" / "cat" / f"{name}.png").write_text("x")
    with pytest.raises(DataError) as caught:
        pack_folder(root, tmp_path / "a" / "out", size=8, validation=0)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"7 of 24 images in {root} cannot be read")
    assert "on_bad: skip" in lines[0]
    assert lines[1:4] == [
        "  train/cat/00.png: not an image, or damaged",
        "  train/cat/01.png: the file is empty",
        lines[3],
    ]
    assert "train/dog/zz.jpg: cannot be decoded (image file is truncated" in lines[3]
    assert (len(lines), lines[-1]) == (7, "  ...")
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_bad_images_are_left_out_on_request(tmp_path):
    root = make(tmp_path / "set", n=5)
    spoil(root)
    paths = pack_folder(root, tmp_path / "out", size=8, validation=0, on_bad="skip", workers=2)
    train, test = Pack.open(paths["train"]), Pack.open(paths["test"])
    assert train.ids == [f"train/cat/0{i}.png" for i in (2, 3, 4)] + [f"train/dog/0{i}.png" for i in range(5)]
    assert train.meta["n_left_out"] == 3
    assert train.meta["left_out"][1] == {"name": "train/cat/01.png", "reason": "the file is empty"}
    assert "truncated" in test.meta["left_out"][0]["reason"]
    for i in range(2, 5):
        (root / "train" / "cat" / f"0{i}.png").write_text("x")
    with pytest.raises(
        DataError,
        match=r"no training image of class cat is left: train/cat/00\.png: not an image.*\. Put a sound one there",
    ):
        pack_folder(root, tmp_path / "out2", size=8, validation=0, on_bad="skip")
    assert not (tmp_path / "out2").exists()


def test_packs_hold_the_images(tmp_path, capsys):
    root = make(tmp_path / "my set", n=4)
    paths = pack_folder(root, tmp_path / "out", size=8, validation=0.25, per_class={"test": 2})
    assert "pack my set train" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"train", "validation", "test"}
    samples = scan_folder(root, validation=0.25, per_class={"test": 2})
    for split, path in paths.items():
        pack = Pack.open(path)
        pack.images[:]  # compares the checksum of each
        assert (pack.ids, pack.classes) == ([s.id for s in samples[split]], ["cat", "dog"])
        assert pack.labels.tolist() == [s.label for s in samples[split]]
        assert pack.meta["dataset"] == "my set"
        for sample, image in zip(samples[split], pack.images, strict=True):
            np.testing.assert_array_equal(image, read_image(root / sample.id, 8))
    pack_folder(root, tmp_path / "two", size=8, validation=0.25, per_class={"test": 2}, workers=2)
    assert (tmp_path / "two/train/images.npy").read_bytes() == (paths["train"] / "images.npy").read_bytes()


def test_a_failing_run_keeps_older_packs(tmp_path):
    root = make(tmp_path / "set", n=2)
    paths = pack_folder(root, tmp_path / "out", size=8, validation=0)
    before = Pack.open(paths["train"]).fingerprint
    (root / "test" / "cat" / "00.png").write_text("x")
    with pytest.raises(DataError, match="1 of 8 images"):
        pack_folder(root, tmp_path / "out", size=9, validation=0)
    assert Pack.open(paths["train"]).fingerprint == before
    assert len(list((tmp_path / "out").iterdir())) == 3
