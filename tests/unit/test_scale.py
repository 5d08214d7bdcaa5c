"""Large sets and large grids: twice as much takes twice the steps, counted in bytecodes, as no test asks for times."""

import hashlib
import sys
import tracemalloc
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import torch

from dqv2.apportion import largest_remainder
from dqv2.config import load_config
from dqv2.cost.estimate import Estimate, Price
from dqv2.data import DataError, Pack, folder
from dqv2.data.pack import PackedImages, write_pack
from dqv2.data.sample import ImageSet, Sample, choose_classes
from dqv2.data.split import stratified_split
from dqv2.data.walk import Tree
from dqv2.paper.page import _arms
from dqv2.plan.runs import rows_of
from dqv2.select.published import published_coreset
from dqv2.stages import stage
from tests.conftest import make, merged

SIZES = 20, 40, 80
STORED = {"row": "variant_title", "column": "dataset_title", "y": "megabytes", "better": "lower"}


class Name(str):
    """A class's name whose comparisons are steps too."""

    __slots__ = ()

    def __eq__(self, other):
        return str.__eq__(self, other)

    def __hash__(self):
        return str.__hash__(self)


def steps(work):
    """How many bytecodes a piece of work executes."""
    count, before = 0, sys.gettrace()

    def traced(frame, event, _):
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return traced

    sys.settrace(traced)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def listed(monkeypatch, tmp_path, below, **options):
    """Listing a folder with these files in each of n classes; below: folder in a class -> names of its files."""

    def of(n):
        files = {f"c{c:03d}/{each}".rstrip("/"): names for c in range(n) for each, names in below.items()} | {"": []}
        monkeypatch.setattr(folder, "walk", lambda root: Tree(dict(sorted(files.items())), []))
        return lambda: folder.list_folder(tmp_path, **options)

    return of


def chosen_classes(n):
    names = [Name(f"c{c:03d}") for c in range(n)]
    images = ImageSet(None, names, {"train": [Sample(f"{name}/0.png", c, name) for c, name in enumerate(names)]})
    return lambda: choose_classes(images, names[::2])


def planned(**own):
    """The files of an experiment with n seeds."""

    def of(n):
        block = {"dataset": "digits", "seeds": [*range(n)]} | own
        plan = make(merged("smoke.yaml") | {"experiments": {"own": block}, "targets": ["own"]})
        return lambda: plan.wanted("own")

    return of


def grows(of):
    """By how much more the steps grow from 2n to 4n than from n to 2n: 2 where they are proportional to n, 4 where to
    its square."""
    one, two, four = (steps(of(n)) for n in SIZES)
    return (four - two) / (two - one)


@pytest.mark.parametrize(
    ("below", "options"),
    [
        ({"": ["0.png"], "masks": ["0.png"]}, {}),
        ({"": [], "a": ["0.png"], "b": ["0.png"]}, {"unlabelled": True}),
        (
            {"train": ["0.png"], "test": ["0.png"]},
            {"splits": {"train": ["*/train"], "test": ["*/test"]}, "unlabelled": True},
        ),
    ],
    ids=["masks beside", "folders in classes", "splits in classes"],
)
def test_listing_many_folders(monkeypatch, tmp_path, below, options):
    assert grows(listed(monkeypatch, tmp_path, below, **options)) < 2.5


def test_choosing_among_many_classes():
    assert grows(chosen_classes) < 2.5


@pytest.mark.parametrize(
    "own",
    [
        {"method": ["dq"], "storage": {"mask": "early", "tobias_size": 4}, "table": STORED},
        {"method": ["dq_v2"], "pictures": {"images": 1}},
    ],
    ids=["storage", "pictures"],
)
def test_the_files_of_an_experiment_with_many_seeds(own):
    assert grows(planned(**own)) < 2.5


def test_the_titles_of_an_experiment_with_many_arms():
    values = merged("smoke.yaml")

    def of(n):
        own = {"dataset": "digits", "method": ["dq_v2"], "keep_ratio": [round(0.1 + k / 1000, 3) for k in range(n)]}
        config = load_config(values | {"experiments": {"own": own | {"table": {}}}, "targets": ["own"]})
        return lambda: rows_of(config, "own")

    assert grows(of) < 2.5


def test_what_leaving_out_one_of_many_experiments_saves():
    class Job(Name):
        stage = stage("train")

    def of(n):
        needs = {f"e{k}": {Job(f"own {k}"), Job("shared")} for k in range(n)}
        prices = dict.fromkeys(set().union(*needs.values()), Price(0, 1, 0, 0))
        found = Estimate(**dict.fromkeys(field.name for field in fields(Estimate)) | {"needs": needs, "prices": prices})
        assert found.alone("e0") == 1
        return lambda: [found.alone(name) for name in needs]

    assert grows(of) < 2.5


def test_a_batch_of_a_large_pack_takes_memory_for_the_batch_alone():
    n = 1_000_000
    stored = np.broadcast_to(np.zeros((1, 3, 1, 1), np.uint8), (n, 3, 1, 1))
    images = PackedImages(stored, range(n), [hashlib.sha256(bytes(3)).digest()] * n, None)
    assert images[[0, -1]].shape == (2, 3, 1, 1)
    tracemalloc.start()
    assert images[np.arange(64)].shape == (64, 3, 1, 1)
    assert tracemalloc.get_traced_memory()[1] < n
    tracemalloc.stop()
    assert images[n - 1].shape == (3, 1, 1)
    with pytest.raises(IndexError):
        images[n]


def test_lines_of_a_manifest_take_memory_for_these_alone(tmp_path):
    n, image = 5000, np.zeros((3, 1, 1), np.uint8)
    items = ((f"c/{i:05d}.png", 0, None, image) for i in range(n))
    write_pack(tmp_path / "train", dataset="own", split="train", classes=["c"], items=items, n=n, size=1)
    pack = Pack.open(tmp_path / "train")
    whole = pack.rows_of_manifest()
    tracemalloc.start()
    assert pack.rows_of_manifest(np.array([4999, 0, 0])) == [whole[4999], whole[0], whole[0]]
    assert tracemalloc.get_traced_memory()[1] < 50 * n
    tracemalloc.stop()


def test_stratified_splits_are_those_of_one_class_after_the_other():
    """As they were drawn when each class looked through all labels."""
    labels = torch.randint(0, 50, (400,), generator=torch.Generator().manual_seed(1)) * 2  # odd classes have nobody
    draws = torch.Generator().manual_seed(0)
    of_class = [torch.nonzero(labels == c).flatten() for c in range(int(labels.max()) + 1)]
    drawn = [members[torch.randperm(len(members), generator=draws)].tolist() for members in of_class]
    shares = largest_remainder(torch.tensor([len(members) for members in drawn]), 80).tolist()
    expected = sorted(i for members, share in zip(drawn, shares, strict=True) for i in members[:share])
    assert stratified_split(labels.tolist(), [80], generator=torch.Generator().manual_seed(0)) == [expected]
    assert stratified_split([], [0], generator=draws) == [[]]


def test_the_page_looks_through_a_whole_table_as_often_for_many_arms_as_for_few(monkeypatch):
    """Which axes tell arms apart is asked once of the table; it was asked of it for every arm."""

    def looks(n):
        ways = [{"label": f"Way {k}", "method": f"way{k}", "mix": k % 2, "tobias_size": 4 + k % 3} for k in range(n)]
        rows = [way | {"dataset": "own", "test_accuracy": 50.0 + seed, "seed": seed} for way in ways for seed in (0, 1)]
        frame, asked = pd.DataFrame(rows + [row | {"tobias_size": 9} for row in rows[:2]]), []
        whole = pd.DataFrame.groupby
        with monkeypatch.context() as patch:
            patch.setattr(pd.DataFrame, "groupby", lambda *args, **more: asked.append(0) or whole(*args, **more))
            names = [arm["name"] for arm in _arms(frame, [])]
        assert (names[0], names[-1]) == ("Way 0, Tobias size 4", "Way 0, Tobias size 9")
        return len(asked)

    assert looks(40) == looks(4)


@pytest.mark.parametrize("n", [1000, 20_000])
def test_a_list_with_all_its_ids_in_one_line_is_refused(tmp_path, n):
    """Longer than a cell may be for Python's csv, and with more slashes than there are readings of one id."""
    write_pack(
        tmp_path / "train",
        dataset="own",
        split="train",
        classes=["c"],
        items=[("c/0.png", 0, None, np.zeros((3, 1, 1), np.uint8))],
        n=1,
        size=1,
    )
    pack = Pack.open(tmp_path / "train")
    (tmp_path / "ids.csv").write_text(" ".join(f"c/{i:05d}.png" for i in range(n)))

    def refused():
        with pytest.raises(DataError, match="1 of 1 ids are not in the pack"):
            published_coreset(tmp_path / "ids.csv", pack, keep=None)

    assert steps(refused) < 1_000_000
