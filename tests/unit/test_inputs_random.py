"""Random layouts of folders and tables: no test image in train, no class that is a split, no silent loss.

DQV2_EXAMPLES=1000 tries that many of each kind.
"""

import os
import re
import tempfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dqv2.data import DataError
from dqv2.data.folder import list_folder
from dqv2.data.sources import open_set
from tests.inputs import write_table

MANY = settings(
    max_examples=int(os.environ.get("DQV2_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="DQV2_EXAMPLES" not in os.environ,
)
WORDS = {
    "train": ["train", "training"],
    "validation": ["val", "valid", "validation", "dev"],
    "test": ["test", "testing", "eval"],
}
CLASSES = ["cat", "dog", "3", "with_mask", "Ünïcödé 猫", "a.b", "contest"]
ODD_LABELS = [None, float("nan"), -1, -1.0, "", "-1", [0], {"a": 1}, b"cat"]


def speaks_of(name):
    """An oracle that shares nothing with the library: the splits whose words stand alone in a name."""
    words = re.split(r"[^a-z]+", name.lower())
    return {split for split, of_split in WORDS.items() if set(of_split) & set(words)}


@st.composite
def named(draw, split):
    """A name that mentions a split."""
    word = draw(st.sampled_from(WORDS[split]))
    word = draw(st.sampled_from([str.lower, str.upper, str.title]))(word)
    before = draw(st.sampled_from(["", "", "", "seg_", "birds-", "2019."]))
    return before + word + draw(st.sampled_from(["", "", "", "2017", "_1", "-images"]))


@st.composite
def folders(draw):
    """Paths of files of a set, split by split where it has any, and the stray ones among them."""
    splits = draw(st.sampled_from([(), ("train",), ("train", "test"), ("train", "validation", "test"), ("test",)]))
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    paths, places = {}, []
    for split in splits or (None,):
        place = draw(named(split)) if split else ""
        if split:
            wrapped = draw(st.sampled_from(["", "", "", place, "images"]))
            place = f"{place}/{wrapped}".rstrip("/")
        places.append(place)
        some = (
            classes if split in ("train", None) else draw(st.lists(st.sampled_from(classes), min_size=1, unique=True))
        )
        if split == "test" and draw(st.integers(0, 5)) == 0:
            paths |= {f"{place}/{i}.png": split for i in range(2)}
            continue
        for name in some:
            inside = draw(st.sampled_from(["", "", "deeper/"]))
            paths |= {f"{place}/{name}/{inside}{i}.png".lstrip("/"): split for i in range(draw(st.integers(1, 3)))}
    usual = dict(paths)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        place = draw(st.sampled_from(["", *places]))
        stray = draw(
            st.sampled_from([
                ".ipynb_checkpoints/1.png", "._1.png", ".DS_Store", "notes.txt", "1.png", "masks/1.png", "labels/1.txt",
                "__MACOSX/cat/1.png", "test/1.png", "cat/test/1.png", "cat/Testing_1/x/1.png", "val/cat/1.png",
                "train/1.png", "train_test/cat/1.png", "birds_test/1.png", "empty/", "images/1.png", "cat/.hidden.png",
                "testSet/cat/1.png",
            ])
        )  # fmt: skip
        paths[f"{place}/{stray}".lstrip("/")] = "stray"
    return splits, paths, usual == paths


def outcome(root, read):
    """What is read, or the sentence of the refusal."""
    try:
        return read(), None
    except DataError as error:
        text = str(error)
    assert str(root) in text
    assert "\n" not in text
    return None, text


def made(root, paths):
    for path in paths:
        file = root / path
        if path.endswith("/"):
            file.mkdir(parents=True, exist_ok=True)
        elif not any(parent.is_file() for parent in file.parents) and not file.is_dir():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


def listing(paths, **how):
    """What is read of a folder with these files, the sentence of a refusal, and the images that there are."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "set")
        root.mkdir()
        made(root, paths)
        found, refused = outcome(root, lambda: list_folder(root, **how))
        return found, refused, {file.relative_to(root).as_posix() for file in root.rglob("*.png")}


@MANY
@given(folders(), st.booleans())
def test_random_folders(layout, unlabelled):
    splits, paths, usual = layout
    found, refused, there = listing(paths, unlabelled=unlabelled)
    if refused:
        assert not usual or splits == ("test",), f"a sound layout is refused: {refused}"
        return
    ids = {split: [s.id for s in samples] for split, samples in found.splits.items()}
    listed = [name for names in ids.values() for name in names]
    assert len(listed) == len(set(listed)), "an image stands in two splits"
    # A folder in several splits that says more than a split is a class, such as pregnancy_test
    above = [{part for name in names for part in name.split("/")[:-1]} for names in ids.values()]
    shared = {name for name in set().union(*above) if name == "birds_test" and sum(name in each for each in above) > 1}
    for split, names in ids.items():
        for name in names:
            said = set().union(*map(speaks_of, set(name.split("/")[:-1]) - shared))
            assert said <= {split}, f"{name} is in {split}"
    of_splits = {name for name in set(found.classes) - shared if speaks_of(name)}
    assert not any(speaks_of(name) - {"train"} for name in of_splits)
    assert not (splits and of_splits), found.classes
    if usual:
        truth = {name: split or "train" for name, split in paths.items()}
        for split, names in ids.items():
            assert {truth[name] for name in names} <= {split}
    assert not lost(found, there)


def lost(found, there):
    """The images that are neither in a split nor in what is said to be left aside."""
    listed = {s.id for samples in found.splits.values() for s in samples}
    aside = [entry["name"].removeprefix("./") for entry in found.aside]
    return [
        name
        for name in there - listed
        if not any(
            name == each or (each.endswith("/") and name.startswith(each)) or (not each and "/" not in name)
            for each in aside
        )
    ]


@MANY
@given(folders(), st.data())
def test_random_folders_that_a_person_names(layout, data):
    _, paths, _ = layout
    above = sorted({str(parent) for path in paths for parent in PurePosixPath(path).parents})
    some = data.draw(st.lists(st.sampled_from(above), min_size=1, max_size=3, unique=True))
    chosen = {"train": some[:1]} | ({"test": some[1:]} if some[1:] else {})
    found, refused, there = listing(paths, splits=chosen)
    if refused:
        return
    for split, samples in found.splits.items():
        for sample in samples:
            assert any(name == "." or sample.id.startswith(f"{name}/") for name in chosen[split])
    assert not lost(found, there)


@st.composite
def tables(draw):
    """Files with labels: path -> (split or None, labels)."""
    sound = draw(st.booleans())
    splits = draw(st.sampled_from([(None,), ("train",), ("train", "test"), ("train", "validation", "test")]))
    files = {}
    for split in splits:
        for k in range(draw(st.integers(1, 2))):
            name = draw(named(split)) if split else "birds"
            path = draw(
                st.sampled_from([f"{name}-{k}.parquet", f"{name}/part-{k}.parquet", f"{name}.parquet/{k}.parquet"])
            )
            kind = st.sampled_from(["cat", "dog"]) if sound or draw(st.integers(0, 3)) else st.integers(0, 1)
            labels = draw(st.lists(kind, min_size=1, max_size=3))
            if not sound and draw(st.integers(0, 2)) == 0:
                odd = draw(st.sampled_from(ODD_LABELS))
                labels = [odd] * len(labels) if draw(st.booleans()) else [*labels, odd]
            files[path] = (split, labels)
    if not sound:
        for stray in draw(
            st.lists(st.sampled_from(["x.parquet", "train_test.parquet", "test/train.parquet"]), max_size=1)
        ):
            files[stray] = (None if splits == (None,) and stray == "x.parquet" else "stray", ["cat"])
    for cache in draw(
        st.lists(st.sampled_from(["cache-1.parquet", ".tmp/1.parquet", "_old/test.parquet"]), max_size=1)
    ):
        files[cache] = ("cache", ["cat"])
    return files, sound


def of(files, *splits):
    """The labels in the files of these splits."""
    return {label for split, labels in files.values() if split in splits for label in labels}


@MANY
@given(tables())
def test_random_tables(layout):
    import pyarrow as pa

    files, sound = layout
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "set")
        root.mkdir()
        rows = {}
        for k, (path, (_, labels)) in enumerate(files.items()):
            if any((root / path).is_relative_to(root / other) for other in rows):
                return
            try:
                column = pa.array(labels)
            except (pa.ArrowInvalid, pa.ArrowTypeError):  # no column holds both
                column = pa.array([None if isinstance(value, str) else value for value in labels[-1:]])
            write_table(root / path, column, cells=[b"image"] * len(column), first=10 * k)
            rows[path] = len(column)
        found, refused = outcome(root, lambda: open_set("table", root))
    if refused:
        unknown = sound and of(files, "test", "validation") - of(files, "train", None)
        assert not sound or unknown, f"sound tables are refused: {refused}"
        return
    read = {name: part["split"] for part in found.layout for name in part["from"]}
    for name, split in read.items():
        assert files[name][0] in (split, None if split == "train" else split), f"{name} is in {split}"
    assert not set(found.classes) & {"None", "nan", "-1", "", "[0]", "{'a': 1}", "b'cat'"}
    aside = {entry["name"] for entry in found.aside}
    for name in rows:
        assert name in read or any(name == each or name.startswith(each) for each in aside), f"{name} is lost"
    for part in found.layout:
        assert part["images"] == sum(rows[name] for name in part["from"])


def test_the_oracle():
    assert speaks_of("seg_Train-2") == {"train"}
    assert speaks_of("contest") == set()


@pytest.mark.parametrize("split", WORDS)
def test_the_words_are_those_of_the_library(split):
    from dqv2.data.words import WORDS as OURS

    assert set(WORDS[split]) <= set(OURS[split])
