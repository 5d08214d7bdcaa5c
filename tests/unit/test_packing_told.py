"""What packing says of images that it leaves out or finds odd, and of classes that have none left."""

import re
import shutil
import textwrap

import pytest

from dqv2.data import DataError, Pack
from dqv2.data.dataset import pack_dataset
from dqv2.data.sources import open_set
from dqv2.stages.pack import noted
from tests.conftest import ROOT
from tests.inputs import pets, save, write_table


def pack(root, out, kind="image_folder", **options):
    pack_dataset("own", out, kind=kind, folder=str(root), **{"size": 8, "workers": 1, **options})
    return Pack.open(out / "train")


@pytest.fixture
def folder(tmp_path):
    for seed, path in enumerate(pets("")):
        save(tmp_path / "set" / path, seed=seed)
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "foo"}, r"kind must be one of digits, image_folder, table, .*tiny_imagenet, got 'foo'"),
        ({"folder": None}, "folder must be the path of the images of own, got None"),
        ({"size": None}, "size must be an integer of at least 1, got None"),
        ({"size": "8"}, "size must be an integer of at least 1, got '8'"),
        ({"size": 0}, "size must be an integer of at least 1, got 0"),
        ({"on_bad": "x"}, "on_bad must be one of error, skip, got 'x'"),
        ({"on_duplicate": "x"}, "on_duplicate must be one of keep, error, skip, got 'x'"),
        ({"storage": "x"}, "storage must be one of packed, streamed, got 'x'"),
        ({"masks": "x"}, "masks must be one of aside, keep, got 'x'"),
        ({"white_level": 0}, "white_level must be an integer of at least 1 and at most 65535, got 0"),
        ({"max_pixels": 1.5}, "max_pixels must be an integer of at least 1, got 1.5"),
        ({"workers": -1}, "workers must be an integer of at least 1, got -1"),
        ({"colour": True}, "a set of kind image_folder has no option colour"),
        ({"kind": "imagenet", "masks": "keep"}, "a set of kind imagenet has no option masks"),
    ],
)
def test_options_that_packing_does_not_have_are_named(folder, tmp_path, options, message):
    given = {"kind": "image_folder", "folder": folder, "size": 8, "workers": 1} | options
    with pytest.raises((ValueError, TypeError), match=message):
        pack_dataset("own", tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_a_set_is_opened_by_its_kind(folder):
    with pytest.raises(ValueError, match=r"kind must be one of image_folder, table, imagenet.* got 'digits'"):
        open_set("digits", folder)


def test_the_same_file_in_two_classes_is_a_conflict_of_labels(folder, tmp_path):
    shutil.copy(folder / "cat/0.png", folder / "cat/copy.png")
    shutil.copy(folder / "cat/1.png", folder / "dog/copy.png")
    meta = pack(folder, tmp_path / "out").meta
    assert meta["duplicates"] == [
        {"name": "cat/copy.png", "same_as": "cat/0.png"},
        {"name": "dog/copy.png", "same_as": "cat/1.png", "classes": ["dog", "cat"]},
    ]
    assert noted(meta) == {
        "duplicates": "2 files are copies of others, 1 of them in another class, so that labels conflict, such as "
        "dog/copy.png (the same file as cat/1.png; dog here, cat there)"
    }


def test_a_class_whose_images_all_come_before_with_another_label(folder, tmp_path):
    for i in range(3):
        shutil.copy(folder / f"cat/{i}.png", folder / f"dog/{i}.png")
    with pytest.raises(DataError) as caught:
        pack(folder, tmp_path / "out", on_duplicate="skip")
    assert str(caught.value) == (
        f"{folder}: no training image of class dog is left: all come twice, with different labels (dog/0.png: the same "
        "file as cat/0.png of another class, cat). Their files are sound: remove those with the wrong label, set "
        "on_duplicate: keep, or leave the class out: the key classes names those to keep."
    )


def test_a_class_whose_images_all_fail_for_one_reason(folder, tmp_path):
    for path in ("cat/0.png", "dog/0.png", "dog/1.png", "dog/2.png"):
        (folder / path).unlink()
        (folder / path).symlink_to(tmp_path / "gone.png")
    with pytest.raises(
        DataError,
        match=r"class dog is left: 4 of 6 images in all cannot be read for one and the same reason; the first of the "
        r"class is dog/0\.png: .*No such file.*\. Mend that, or leave the class out: the key classes names",
    ):
        pack(folder, tmp_path / "out", on_bad="skip")


def test_paths_with_backslashes_in_a_table(folder, tmp_path):
    cells = [rf"..\set\{name}\{i}.png" for name in ("cat", "dog") for i in range(3)]
    write_table(tmp_path / "table/train.parquet", ["cat"] * 3 + ["dog"] * 3, cells=cells)
    with pytest.raises(DataError, match=r"backslashes, and there is no such file; write forward slashes: '\.\.\\set"):
        pack(tmp_path / "table", tmp_path / "out", "table")
    with pytest.raises(DataError, match=r"class cat is left \(nor of 1 more\): 6 of 6 images in all .*backslashes"):
        pack(tmp_path / "table", tmp_path / "out", "table", on_bad="skip")


def test_the_page_s_table_of_a_csv_of_labels(folder, tmp_path, monkeypatch):
    text = (ROOT / "docs/inputs.md").read_text(encoding="utf-8")
    code = re.search(r"^    import pandas as pd\n(\n|    .*\n)+", text, re.MULTILINE)[0]
    folder.rename(tmp_path / "images")
    rows = [f"cat\\{i}.png,007" for i in range(3)] + [f"dog/{i}.png,dog" for i in range(3)]
    (tmp_path / "labels.csv").write_text("file,class\n" + "\n".join(rows))
    monkeypatch.chdir(tmp_path)
    exec(textwrap.dedent(code), {})
    made = pack(tmp_path, tmp_path / "out", "table")
    assert (made.classes, made.labels.tolist()) == (["007", "dog"], [0, 0, 0, 1, 1, 1])
    assert noted(made.meta)["ignored"] == "7 files are not tables, such as images/cat/0.png"


def test_an_example_is_named_of_all_that_is_listed(folder, tmp_path):
    (folder / "cat/0.png").write_bytes(b"")
    (folder / "cat/two\nlines.png").write_text("no image")
    (folder / "README.txt").write_text("no image")
    assert noted(pack(folder, tmp_path / "out", on_bad="skip").meta) == {
        "left_out": "2 files were left out, such as cat/0.png (the file is empty)",
        "ignored": "1 file is not an image by its name, such as README.txt",
    }
