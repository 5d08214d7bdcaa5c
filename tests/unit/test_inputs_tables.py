"""Tables of images as people have them: splits by names, labels that are some, cells that hold images or paths."""

import datetime
import os
import sys

import pyarrow as pa
import pytest

from dqv2.data import DataError
from dqv2.data.sources import open_set
from tests.inputs import write_table
from tests.miniatures import jpeg
from tests.unit.test_inputs import pack

PETS = ["cat", "dog", "cat", "dog"]


def opened(root, **options):
    found = open_set("table", root, **options)
    return {split: len(samples) for split, samples in found.splits.items() if samples}, found


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("birds_train.parquet", "birds_test.parquet"),
        ("Train.parquet", "TEST.PARQUET"),
        ("training-00000-of-00001.parquet", "eval-00000-of-00001.parquet"),
        ("birds-train/part-0.parquet", "birds-test/part-0.parquet"),
        ("train.parquet/part-0.parquet", "test.parquet/part-0.parquet"),
        ("data/split=train/0.parquet", "data/split=test/0.parquet"),
        ("x/TrainSet.arrow", "x/TestSet.arrow"),
    ],
)
def test_splits_by_the_names_of_files_and_folders(tmp_path, train, test):
    for name, labels in ((train, PETS), (test, PETS[:2])):
        write_table(tmp_path / name, labels, kind=name.lower().rpartition(".")[2])
    counts, found = opened(tmp_path)
    assert counts == {"train": 4, "test": 2}
    assert [part["from"] for part in found.layout] == [[train], [test]]


def test_tables_that_name_no_split_are_all_train(tmp_path):
    write_table(tmp_path / "part-0.parquet", PETS)
    write_table(tmp_path / "part-1.parquet", PETS)
    assert opened(tmp_path)[0] == {"train": 8}


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (["train_test.parquet"], {}, r"train_test\.parquet mentions test and train at once: say which"),
        (["test/train-0.parquet"], {}, r"test/train-0\.parquet mentions test and train at once"),
        (["birds.parquet", "birds_test.parquet"], {}, r"birds\.parquet names no split, and test have tables"),
        ([], {}, r"holds no table: tables are files that end in \.parquet or \.arrow\."),
        (["test.parquet"], {}, r"no \.parquet or \.arrow file with train .*\(test there is\)"),
        (["train.parquet", "train.arrow"], {}, r"train has both \.parquet and \.arrow files .*twice"),
        (
            ["a.parquet"],
            {"splits": {"train": ["b.parquet"]}},
            r"splits\.train = 'b\.parquet' names nothing; .* a\.parquet",
        ),
        (["a.parquet"], {"splits": {"train": ["*"], "test": ["a.parquet"]}}, "hold the same images"),
        (
            ["birdstrain.parquet", "birdstest.parquet"],
            {},
            r"look like tables of splits: .*test: \[birdstest\.parquet\]",
        ),
        (
            ["train-00000-of-00001.parquet", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
            {},
            r"train-00000-of-00001\.parquet and train-00001-of-00002\.parquet are parts of two versions",
        ),
        (["train-0-of-2-a.parquet", "train-0-of-2-b.parquet"], {}, "two versions of one set"),
        (
            ["full/train-00000-of-00002.parquet", "160px/train-00000-of-00001.parquet"],
            {},
            r"160px/train\* and full/train\* may be two versions .*splits: \{train: \['160px/train\*'\]\}",
        ),
        (["train.parquet", "a/test.parquet", "b/test.parquet"], {}, r"twice: .*test: \[a/test\.parquet\]\}, and other"),
        (["a/train/0.parquet", "b/train/0.parquet"], {}, r"a/train and b/train may be .*train: \[a/train\]"),
        (["a/data-0-of-1.arrow", "b/data-0-of-1.arrow"], {}, r"a/data\* and b/data\* may be two versions"),
    ],
)
def test_what_is_unclear_is_refused(tmp_path, files, options, message):
    for name in files:
        write_table(tmp_path / name, PETS, kind=name.rpartition(".")[2])
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, **options)
    assert str(tmp_path) in str(caught.value)


def test_a_person_says_which_tables_are_which(tmp_path):
    for k, name in enumerate(("2020/a.parquet", "2020/b.parquet", "2021/a.parquet", "old.parquet")):
        write_table(tmp_path / name, PETS, first=4 * k)
    counts, found = opened(tmp_path, splits={"train": ["2020"], "test": ["2021/*.parquet"]})
    assert counts == {"train": 8, "test": 4}
    assert found.aside == [{"name": "old.parquet", "reason": "not named by the key splits"}]


def test_parts_of_a_set_that_are_not_there_are_noted(tmp_path):
    for name in ("train/en/0-00000-of-00003", "train/en/0-00002-of-00003", "train/fr/0-00000-of-00001"):
        write_table(tmp_path / f"{name}.parquet", PETS)
    counts, found = opened(tmp_path)
    assert counts == {"train": 12}
    assert found.aside == [{"name": "train/en/0-*-of-3", "reason": "1 of its 3 parts are not there"}]


@pytest.mark.parametrize(
    ("files", "options", "refused"),
    [
        (
            {"birds": ["train", "test"]},
            {},
            r"birds\.parquet is read as train, and its column 'Split' marks some rows as test: ",
        ),
        ({"train": ["train"], "test": ["val", "test"]}, {}, r"test\.parquet is read as test, .* as validation: "),
        ({"train": ["train", None], "test": ["TEST", "x"]}, {}, None),
        ({"birds": ["train", "test"]}, {"splits": {"train": ["birds.parquet"]}}, None),
        ({"birds": [1, 0]}, {}, None),
    ],
)
def test_a_column_that_says_which_row_is_which_split(tmp_path, files, options, refused):
    for name, values in files.items():
        write_table(tmp_path / f"{name}.parquet", PETS[:2], Split=pa.array((values * 2)[:2]))
    if refused:
        with pytest.raises(DataError, match=refused):
            opened(tmp_path, **options)
    else:
        assert opened(tmp_path, **options)[0] == dict.fromkeys(["train", "test"][: len(files)], 2)


@pytest.mark.parametrize(
    ("file", "column", "values", "refused"),
    [
        ("birds", "is_train", [True, False], "marks some rows as another split: "),
        ("birds", "is_training_img", [1, 0], "marks some rows as another split: "),
        ("birds", "Test", [False, True], "marks some rows as test: "),
        ("train", "is_test", [True, True], "marks some rows as test: "),
        ("train", "is_train", [True, True], None),
        ("train", "is_test", [False, False], None),
        ("birds", "train", [3, 4], None),
        ("birds", "set", ["train", "dev"], "marks some rows as validation: "),
    ],
)
def test_a_column_that_says_of_each_row_whether_it_is_of_a_split(tmp_path, file, column, values, refused):
    write_table(tmp_path / f"{file}.parquet", PETS[:2], **{column: pa.array(values)})
    if refused:
        with pytest.raises(DataError, match=refused):
            opened(tmp_path)
    else:
        assert opened(tmp_path)[0] == {"train": 2}


def test_caches_and_temporary_files_beside_a_sets_shards_are_no_data(tmp_path):
    write_table(tmp_path / "train/data-00000-of-00001.arrow", PETS, kind="arrow")
    more = ["train/cache-1a2b_00000_of_00002.arrow", ".cache/x/data-0.arrow", "_temporary/0/part-0.parquet"]
    more.append("5f3a.incomplete/train.arrow")
    for name in more:
        write_table(tmp_path / name, PETS, kind=name.rpartition(".")[2])
    counts, found = opened(tmp_path)
    assert counts == {"train": 4}
    assert {entry["name"] for entry in found.aside} == {more[0], ".cache/", *more[2:]}


@pytest.mark.skipif(sys.platform != "linux", reason="named pipes")
@pytest.mark.timeout(30)
def test_a_pipe_among_tables_is_named(tmp_path):
    write_table(tmp_path / "train.parquet", PETS)
    os.mkfifo(tmp_path / "test.parquet")
    with pytest.raises(DataError, match=r"test\.parquet is a named pipe, not a table: remove it"):
        opened(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_table_whose_name_no_list_can_hold_is_refused(tmp_path):
    write_table(tmp_path / "train.parquet", PETS)
    (tmp_path / "train.parquet").rename(os.fsdecode(os.fsencode(tmp_path) + b"/train-\xe9.parquet"))
    with pytest.raises(DataError, match=r"'train-\\udce9\.parquet' is not valid UTF-8: rename it"):
        opened(tmp_path)


# -- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["cat", None, "dog", None], r"2 of 4 labels of train are missing \(2 are None; .*unlabelled: true"),
        ([0.0, float("nan"), 1.0, None], r"2 of 4 labels of train are missing \(1 are NaN, 1 are None;"),
        ([0, 1, -1, -1], r"2 of 4 labels of train are missing \(2 are -1;"),
        (["cat", "", "-1", " "], r"3 of 4 labels of train are missing \(1 are '', 1 are '-1', 1 are ' ';"),
        ([-1, -1, -1], r"3 of 3 labels of train are missing"),
        (pa.nulls(3), r"3 of 3 labels of train are missing"),
        ([[0], [1, 2], [0]], r"3 of 3 labels are not classes but lists, the first is \[0\]"),
        ([{"a": 1}, {"a": 2}], r"2 of 2 labels are not classes but dictionaries"),
        ([b"cat", b"dog"], r"2 of 2 labels are not classes but bytes, the first is b'cat'"),
        ([0.5, 1.0], r"1 of 2 labels are not classes but fractions, the first is 0\.5"),
        ([datetime.date(2020, 1, 1)] * 2, r"2 of 2 labels are not classes but of type date"),
        (["x" * 300, "cat"], r"the label 'x+\.\.\. has 300 bytes, .*at most 200: shorten"),
    ],
)
def test_labels_that_are_none_are_refused_with_their_count(tmp_path, labels, message):
    write_table(tmp_path / "set/train.parquet", labels)
    with pytest.raises(DataError, match=message) as caught:
        pack(tmp_path / "set", tmp_path / "out", "table")
    assert str(tmp_path / "set") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, 2], ["2", "9", "10"]),
        ([10.0, 9.0, 2.0], ["2", "9", "10"]),
        ([-2, 10, -10, 2], ["2", "10", "-10", "-2"]),
        ([True, False, True], ["False", "True"]),
        (["None", "nan", "²"], ["None", "nan", "²"]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["a", "b"]),
        (["a/b", "..", "c\r\n"], ["..", "a/b", "c\r\n"]),
        (["1", "001", "01", "2"], ["001", "01", "1", "2"]),
    ],
)
def test_labels_that_are_some(tmp_path, labels, classes):
    write_table(tmp_path / "set/train.parquet", labels)
    assert pack(tmp_path / "set", tmp_path / "out", "table")["train"].classes == classes


def test_numbers_are_places_in_the_names_that_stand_beside_them(tmp_path):
    """Also where names are numbers themselves, and where two tables have them in another order."""
    write_table(tmp_path / "train.parquet", [0, 1, 2], names=["1", "2", "0"])
    write_table(tmp_path / "test.parquet", [0, 1, 2], names=["0", "1", "2"])
    _, found = opened(tmp_path)
    assert [s.class_name for s in found.splits["train"]] == ["1", "2", "0"]
    assert [s.class_name for s in found.splits["test"]] == ["0", "1", "2"]
    assert [s.label for s in found.splits["test"]] == [2, 0, 1]


def test_some_classes_are_those_that_have_images(tmp_path):
    """Columns of a part of a set name all of its classes."""
    write_table(tmp_path / "train.parquet", [2, 3, 5, 5], names=list("abcdef"))
    for wanted, kept in ((2, ["c", "d"]), (["c", "f"], ["c", "f"])):
        assert open_set("table", tmp_path, classes=wanted).classes == kept
    for wanted, why in ((4, "classes: 4, but the set has 3 with training images"), (["a", "f"], "a has no training")):
        with pytest.raises(DataError, match=why):
            open_set("table", tmp_path, classes=wanted)


def test_a_test_split_without_labels_does_not_stop_a_coreset(tmp_path):
    write_table(tmp_path / "set/train.parquet", [0, 1, 0, 1])
    write_table(tmp_path / "set/test.parquet", [-1, -1, -1])
    packs = pack(tmp_path / "set", tmp_path / "out", "table")
    assert [len(packs[split]) for split in ("train", "test")] == [4, 0]
    (entry,) = packs["train"].meta["aside"]
    assert entry == {"name": "test.parquet", "reason": "3 images without labels"}
    write_table(tmp_path / "set/test.parquet", [-1, 0, 1])
    with pytest.raises(DataError, match="1 of 3 labels of test are missing"):
        opened(tmp_path / "set")


def test_a_test_split_without_a_column_of_labels_does_not_stop_a_coreset(tmp_path):
    write_table(tmp_path / "train.parquet", PETS)
    write_table(tmp_path / "test.parquet", None, cells=[jpeg(i) for i in range(3)])
    counts, found = opened(tmp_path)
    assert counts == {"train": 4}
    assert found.aside == [{"name": "test.parquet", "reason": "3 images without labels"}]


@pytest.mark.parametrize("names", [[None, "cat"], ["cat", "cat"], [1, 2], {"a": 1}])
def test_names_of_classes_that_are_none_are_not_read(tmp_path, names):
    write_table(tmp_path / "train.parquet", [0, 1, 0], names=names)
    assert opened(tmp_path)[1].classes == ["0", "1"]


def test_a_test_split_with_fewer_classes_and_one_with_others(tmp_path):
    write_table(tmp_path / "train.parquet", ["a", "b", "c"])
    write_table(tmp_path / "test.parquet", ["c"])
    assert [s.label for s in opened(tmp_path)[1].splits["test"]] == [2]
    write_table(tmp_path / "test.parquet", ["c", "d"])
    with pytest.raises(
        DataError, match=r"1 labels of test are not classes of train, the first is 'd': remove .*leave test"
    ):
        opened(tmp_path)


def test_tables_whose_labels_are_of_different_types(tmp_path):
    write_table(tmp_path / "train-0.parquet", pa.array([0, 1], pa.int64()))
    write_table(tmp_path / "train-1.parquet", pa.array([1, 0], pa.uint8()))
    write_table(tmp_path / "train-2.parquet", pa.array([1.0, 0.0]))
    assert opened(tmp_path)[1].classes == ["0", "1"]
    write_table(tmp_path / "train-3.parquet", [True, False])
    with pytest.raises(DataError, match=r"train-0\.parquet are numbers and those of .*3\.parquet are true and false"):
        opened(tmp_path)
    write_table(tmp_path / "train-3.parquet", ["cat", "dog"])
    with pytest.raises(DataError, match=r"train-0\.parquet are numbers and those of .*train-3\.parquet are text"):
        opened(tmp_path)
    write_table(tmp_path / "train-0.parquet", [0, 1], names=["cat", "dog"])
    assert [s.class_name for s in opened(tmp_path)[1].splits["train"]] == [
        *PETS[:2],
        "dog",
        "cat",
        "dog",
        "cat",
        *PETS[:2],
    ]


def test_empty_tables(tmp_path):
    write_table(tmp_path / "train-0.parquet", pa.array([], pa.string()))
    with pytest.raises(DataError, match=r"training tables have no rows \(train-0\.parquet\)"):
        opened(tmp_path)
    write_table(tmp_path / "train-1.parquet", PETS)
    write_table(tmp_path / "test.parquet", pa.array([], pa.string()))
    counts, found = opened(tmp_path, test=0.5)
    assert counts == {"train": 2, "test": 2}
    assert found.aside == [{"name": "test.parquet", "reason": "a table without rows"}]


def test_no_labels_at_all(tmp_path):
    write_table(tmp_path / "set/train.parquet", None, cells=[{"bytes": jpeg(i), "path": None} for i in range(3)])
    with pytest.raises(DataError, match=r"has no column 'label' .*unlabelled: true"):
        opened(tmp_path / "set")
    packs = pack(tmp_path / "set", tmp_path / "out", "table", unlabelled=True)
    assert (packs["train"].classes, len(packs["train"])) == (["all"], 3)


def test_a_column_that_is_in_the_names_of_folders_is_explained(tmp_path):
    """As pandas and Spark write with partition_cols: the tables have every column but this one."""
    for label in ("cat", "dog"):
        write_table(tmp_path / f"label={label}/part-0.parquet", None, cells=[{"bytes": jpeg(0), "path": None}])
    with pytest.raises(DataError, match=r"whose value is in a folder's name \(label=cat\): write the tables without"):
        opened(tmp_path)
