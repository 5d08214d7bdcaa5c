"""Sets of images as people have them: read as they should be, or refused in a sentence that names the path."""

import os
import re
import sys

import numpy as np
import pytest
import torch

from dqv2.config.data import ImageFolder
from dqv2.config.files import read_file
from dqv2.data import DataError, Pack
from dqv2.data import walk as walk_module
from dqv2.data.dataset import _names, pack_dataset
from dqv2.data.sources import open_set
from dqv2.data.walk import walk
from dqv2.data.words import WORDS, alike, as_key, splits_in, told_apart
from dqv2.select.coreset import mix, read_pool, write_pool
from tests.inputs import FOLDERS, pets, save, special_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="named pipes and devices")


def pack(root, out, kind="image_folder", **options):
    pack_dataset("own", out, kind=kind, folder=str(root), **{"size": 8, "workers": 1, **options})
    return {split: Pack.open(out / split) for split in WORDS}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_read_as_people_mean_it_or_refused(tmp_path, name):
    given = FOLDERS[name]
    root = given.make(tmp_path / "set")
    if given.refused:
        with pytest.raises(DataError, match=given.refused) as caught:
            pack(root, tmp_path / "out", **given.options)
        assert str(root) in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    packs = pack(root, tmp_path / "out", **given.options)
    assert {split: len(found) for split, found in packs.items() if len(found)} == given.splits
    assert packs["train"].classes == given.classes
    meta = packs["train"].meta
    assert {entry["name"] for entry in meta["aside"]} == set(given.aside)
    assert {part["split"]: part["images"] for part in meta["layout"]} == given.splits


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("train", "train"), ("TRAINING", "train"), ("seg_train", "train"), ("birds-train-00000-of-2.arrow", "train"),
        ("trainSet", "train"), ("TestImages", "test"), ("val2017", "validation"), ("valid", "validation"),
        ("Validation", "validation"), ("dev.arrow", "validation"), ("x_eval_3", "test"), ("testing", "test"),
        ("TESTdata", "test"), ("train_test", "test train"), ("trainval", "train validation"), ("testset", "test"),
        ("trainers", ""), ("contest", ""), ("latest", ""), ("device", ""), ("interval", ""), ("strain", ""),
        ("prétest", ""), ("evaluated", ""), ("cat", ""), ("", ""),
    ],
)  # fmt: skip
def test_the_words_of_a_name(name, splits):
    assert splits_in(name) == set(splits.split())


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        (["birdstrain", "birdstest"], {"train": "birdstrain", "test": "birdstest"}),
        (["a/TrainBIRDS-0.png", "a/testbirds-12.png"], {"train": "a/TrainBIRDS-0.png", "test": "a/testbirds-12.png"}),
        (["xval", "xdev"], None),
        (["contest", "strain", "latest", "interval", "medieval", "device", "trainer"], None),
        (["trains", "tests", "test"], {"train": "trains", "test": "tests"}),
        ([], None),
    ],
)  # fmt: skip
def test_words_grown_together(names, pair):
    assert told_apart(names) == pair


@pytest.mark.parametrize("name", ["2021", "007", "no", "null", "2020-01-01", "2020-13-45", "1e3", "it's", "-", ""])
def test_what_a_message_says_to_write_is_read_as_it_is_meant(tmp_path, name):
    (tmp_path / "own.yaml").write_text(f"{as_key({'train': [name]})}\nclasses: {as_key({'a': [name]})[12:-1]}")
    block = ImageFolder(title="own", kind="image_folder", path="x", size=8, **read_file(tmp_path / "own.yaml"))
    assert (block.splits, block.classes) == ({"train": [name or "."]}, [name or "."])


def test_the_map_is_told_before_the_images_are_read(tmp_path, caplog):
    root = FOLDERS["Roboflow's valid"].make(tmp_path / "set")
    (root / "train/cat/0.png").write_text("no image")
    with caplog.at_level("INFO", "dqv2"), pytest.raises(DataError, match=r"train/cat/0\.png"):
        pack(root, tmp_path / "out")
    for line in ("train -> train", "valid -> validation"):
        assert f"own: {line}: 2 classes (cat, dog), 6 images" in caplog.messages


@pytest.mark.parametrize("options", [{}, {"unlabelled": True}, {"splits": {"train": ["train"]}}])
def test_files_that_are_no_images_are_listed_wherever_they_are(tmp_path, options):
    names = {"README.txt", "train/labels.csv", "train/cat/notes.txt"}
    for path in pets("train"):
        save(tmp_path / "set" / path)
    for name in names:
        (tmp_path / "set" / name).write_text("no image")
    ignored = pack(tmp_path / "set", tmp_path / "out", **options)["train"].meta["ignored"]
    assert sorted(ignored) == sorted(names)


def test_masks_that_are_left_aside_are_told(tmp_path, caplog):
    for path in (*pets(""), "cat/0 GT.png", "cat/1_mask.png", "dog/masks/0.png"):
        save(tmp_path / "set" / path)
    pack(tmp_path / "set", tmp_path / "out")
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    end = "to keep them, set masks: keep"
    assert f"own: 2 images were left out as masks of other images (such as cat/0 GT.png): {end}" in warned
    assert f"own: 1 folder was left out as a mask of other images (such as dog/masks/): {end}" in warned


def test_classes_that_are_probably_one_or_none_are_told(tmp_path, caplog):
    assert alike(["a", "A", "b", "B "]) == [], "letters are classes of their own"
    for name in ("cat", "Cat ", "cafe\u0301", "caf\xe9", "dog/a", "dog/b", "nan"):
        save(tmp_path / "set" / name / "1.png")
    with caplog.at_level("INFO", "dqv2"):
        pack(tmp_path / "set", tmp_path / "out")
    assert "own: . -> train: 6 classes (Cat , cafe\u0301, caf\xe9, ...), 7 images in 7 folders" in caplog.text
    assert r"the classes 'Cat ' and 'cat' differ only in case, spaces or the encoding of letters" in caplog.text
    assert "(2 such pairs)" in caplog.text
    assert "a class is called nan, which may stand for missing labels" in caplog.text


@pytest.mark.parametrize(
    ("classes", "shown"),
    [
        (["a"], "a"),
        (["a", "b", "c", "d"], "a, b, c, d"),
        (["a", "b", "c", "d", "e"], "a, b, c, ..."),
        (["x" * 99, "dog\r\n"], f"{'x' * 37}..., 'dog\\r\\n'"),
    ],
)
def test_a_few_classes_are_named_in_one_line(classes, shown):
    assert _names(classes) == shown


def test_a_validation_split_of_its_own_is_taken_and_nothing_of_train(tmp_path):
    root = FOLDERS["Roboflow's valid"].make(tmp_path / "set")
    packs = pack(root, tmp_path / "out", validation=0.5)
    assert [name.split("/")[0] for name in packs["validation"].ids] == ["valid"] * 6
    assert len(packs["train"]) == 6


@pytest.mark.parametrize("share", [{"test": 0.4}, {"validation": 0.3, "test": 0.3}, {"validation": 0.6}])
def test_a_class_of_one_image_keeps_it_in_train(tmp_path, share):
    for k, (name, n) in enumerate({"cat": 6, "dog": 5, "lone": 1, "one": 1, "pair": 2}.items()):
        for i in range(n):
            save(tmp_path / "set" / name / f"{i}.png", seed=10 * k + i)
    for seed in range(20):
        shares = {"validation": 0.0, "test": 0.0} | share
        found = open_set("image_folder", tmp_path / "set", seed=seed, **shares)
        assert {s.class_name for s in found.splits["train"]} == {"cat", "dog", "lone", "one", "pair"}
        sizes = {split: len(samples) for split, samples in found.splits.items()}
        assert sizes["validation"] == round(15 * shares["validation"])
        assert sizes["test"] == round(15 * shares["test"])
        assert len({s.id for samples in found.splits.values() for s in samples}) == 15


# -- what is no file to be read ---------------------------------------------------------------------------------------


@pytest.mark.timeout(30)
def test_what_never_ends_is_named_and_not_read(tmp_path):
    root = FOLDERS["training and testing"].make(tmp_path / "set")
    (root / "training").rename(root / "train")
    names = special_files(root)
    with pytest.raises(DataError, match="3 of 15 images") as caught:
        pack(root, tmp_path / "out")
    assert all(name in str(caught.value) for name in names)
    for kind in ("a named pipe", "a socket", "a device"):
        assert f"it is {kind}" in str(caught.value)
    packs = pack(root, tmp_path / "out", on_bad="skip")
    assert {entry["name"] for entry in packs["train"].meta["left_out"]} == names


@pytest.mark.timeout(30)
def test_a_streamed_image_that_became_a_pipe_does_not_block(tmp_path):
    root = FOLDERS["capitals"].make(tmp_path / "set")
    images = pack(root, tmp_path / "out", storage="streamed")["train"].images
    (root / "TRAIN/cat/1.png").unlink()
    os.mkfifo(root / "TRAIN/cat/1.png")
    with pytest.raises(DataError, match=r"cat/1\.png: cannot be read \(it is a named pipe\)"):
        images[1]


@pytest.mark.parametrize("kind", ["image_folder", "table"])
def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch, kind):
    root = FOLDERS["a prefix"].make(tmp_path / "set")
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("birds_train/dog"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(walk_module.os, "scandir", denied)
    with pytest.raises(DataError, match=r"birds_train/dog cannot be read \(Permission denied\): give yourself"):
        pack(root, tmp_path / "out", kind)


@pytest.mark.parametrize("name", ["dog", "001.Black_footed_Albatross"])
def test_a_link_to_a_class_that_is_gone_is_named(tmp_path, name):
    save(tmp_path / "set/cat/1.png")
    (tmp_path / "set" / name).symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=rf"set/{name} is a link to what is not there, .*gone: mend or remove it"):
        pack(tmp_path / "set", tmp_path / "out")
    (tmp_path / "set" / name).unlink()
    (tmp_path / "set/notes.txt").symlink_to(tmp_path / "gone")
    pack(tmp_path / "set", tmp_path / "out")


def test_names_with_carriage_returns(tmp_path):
    for name in ("a\rb", "dog\r\n"):
        for i in range(2):
            save(tmp_path / "set" / name / f"one\r{i}.png", seed=len(name) + i)
    packs = pack(tmp_path / "set", tmp_path / "out")
    again = Pack.open(tmp_path / "out/train")
    assert again.ids == [f"{name}/one\r{i}.png" for name in ("a\rb", "dog\r\n") for i in range(2)]
    assert [row["class"] for row in again.rows_of_manifest()] == ["a\rb"] * 2 + ["dog\r\n"] * 2
    packs["train"].images[:]  # compares the checksum of each
    pool = mix(4, originals=1.0, tobias=0.0, generator=torch.Generator())
    write_pool(tmp_path / "coreset.csv", pool, again)
    np.testing.assert_array_equal(read_pool(tmp_path / "coreset.csv", again).rows, pool.rows)


def test_walking_is_in_the_order_of_names(tmp_path):
    for path in pets("b", "a", "a.b", "a/c"):
        save(tmp_path / path)
    assert list(walk(tmp_path).files) == sorted(walk(tmp_path).files)
    assert not re.search("png", " ".join(walk(tmp_path).aside))
    np.testing.assert_equal(sum(map(len, walk(tmp_path).files.values())), 24)
