"""What is said of a person's own images before the first job."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from dqv2.config import ConfigError, load_config
from dqv2.data.dataset import pack_dataset
from dqv2.data.places import LATER, changed_folders, note_files, pack_block, states_of
from dqv2.plan import before
from dqv2.plan.before import _without_labels, check_jobs
from tests.conftest import make, merged
from tests.inputs import FOLDERS, write_table
from tests.miniatures import save
from tests.plan.counted import job_of, options_of

TRAINER = {"model": "resnet8", "iterations": 1, "batch_size": 8}
PACK = job_of("pack", dataset="own")
DQ_V2 = "o100_t50/mask-early/tobias-8/backbone-early/bins"
TRAIN = job_of("train", dataset="own", selection=DQ_V2, keep="0.9", trainer="small")


def test_a_folder_without_test_images_is_enough_unless_it_is_trained_on(tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    for i in range(5):
        save(tmp_path / f"data/own/{'cat' if i < 3 else 'dog'}/{i}.png", seed=i)
    values = change(merged("own_images.yaml"), "trainers.small", TRAINER)
    with_test = change(values, "datasets.own.test", 0.2)
    check_jobs(make(values), [PACK])
    with pytest.raises(ConfigError, match=r"data/own holds no test images .*test/CLASS.*datasets\.own\.test"):
        check_jobs(make(values), [PACK, TRAIN])
    check_jobs(make(with_test), [PACK, TRAIN])
    # A pack says itself whether it has some
    packed = tmp_path / "results/own/own/data/splits.json"
    packed.parent.mkdir(parents=True)
    packed.write_text('{"train": 9, "validation": 0, "test": 0}')
    with pytest.raises(ConfigError, match="data/own holds no test images"):
        check_jobs(make(with_test), [TRAIN])
    packed.write_text('{"train": 9, "validation": 0, "test": 1}')
    check_jobs(make(values), [TRAIN])


def test_a_folder_of_tables_without_test_files_is_told_so(tmp_path, change):
    write_table(tmp_path / "data/train-00000-of-00001.parquet", ["a", "b"])
    block = {"title": "own", "kind": "table", "path": str(tmp_path), "size": 32}
    values = change(change(merged("own_images.yaml"), "datasets.own", block), "trainers.small", TRAINER)
    plan = make(values)
    with pytest.raises(ConfigError, match=r"holds no test images .*files with test in their names"):
        check_jobs(plan, [PACK, TRAIN])
    write_table(tmp_path / "data/test-00000-of-00001.parquet", ["a", "b"])
    check_jobs(plan, [PACK, TRAIN])


@pytest.mark.parametrize("name", [name for name, given in FOLDERS.items() if given.refused])
def test_what_is_no_set_of_images_is_refused_before_the_first_job(tmp_path, change, name):
    given = FOLDERS[name]
    own = {"title": "own", "kind": "image_folder", "path": str(given.make(tmp_path / "set")), "size": 32}
    plan = make(change(merged("own_images.yaml"), "datasets.own", own | given.options))
    with pytest.raises(ConfigError, match=given.refused) as caught:
        check_jobs(plan, [PACK])
    assert str(caught.value).startswith("images cannot be used as they are:\n  datasets.own: ")


def test_labels_and_shares_that_cannot_be_are_refused_before_the_first_job(tmp_path, change):
    for block, message in (
        ({"kind": "table", "path": str(tmp_path / "table")}, "1 of 2 labels of train are missing"),
        ({"kind": "image_folder", "path": str(tmp_path / "folder"), "test": 0.5}, "no training image of dog"),
        (
            {"kind": "table", "path": str(tmp_path / "table/train.parquet")},
            "this is a file; unpack an archive, and name",
        ),
    ):
        write_table(tmp_path / "table/train.parquet", ["a", None])
        for name in ("cat", "dog"):
            save(tmp_path / f"folder/{name}/1.png")
        plan = make(change(merged("own_images.yaml"), "datasets.own", block | {"title": "own", "size": 32}))
        with pytest.raises(ConfigError, match=message):
            check_jobs(plan, [PACK])


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("dq_v2", "backbone early trains on classes"),
        ("control_gc", "backbone early trains on classes"),
        ("grand", "scores.* needs classes"),
        ("dq_gradient", "reads gradients of the classes"),
        ("random", None),
        ("dq_no_pixel", None),
        ("dq_v2_untrained", None),
    ],
)
def test_without_labels_nothing_is_trained_on_them(tmp_path, change, method, why):
    """Before the first job; what selects without labels runs."""
    save(tmp_path / "one.png")
    own = {"title": "own", "kind": "image_folder", "path": str(tmp_path), "size": 64, "unlabelled": True}
    values = change(merged("own_images.yaml"), "datasets.own", own)
    values = change(values, "experiments.coreset.method", method)
    plan = make(values)
    jobs = [job for job in plan.jobs(plan.exports()) if job.stage.name != "weights"]
    found = _without_labels(plan, jobs)
    if why is None:
        assert found == []
        return
    assert len(found) == 1
    assert re.search(rf"datasets\.own\.unlabelled = true, and .*{why}.*: make only coresets", found[0])
    with pytest.raises(ConfigError, match="labels are missing"):
        check_jobs(plan, jobs)


def test_a_share_of_unlabelled_images_is_no_test_split(tmp_path, change):
    own = {"title": "own", "kind": "image_folder", "path": str(tmp_path), "size": 32, "unlabelled": True, "test": 0.5}
    plan = make(change(change(merged("own_images.yaml"), "datasets.own", own), "trainers.small", TRAINER))
    with pytest.raises(ConfigError, match="needs classes: make only coresets"):
        check_jobs(plan, [TRAIN])


def test_a_training_needs_more_than_one_class(tmp_path, monkeypatch, change):
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        save(tmp_path / split / "a" / "one.png")
    own = {"title": "own", "kind": "image_folder", "path": str(tmp_path), "size": 32}
    plan = make(change(change(merged("own_images.yaml"), "datasets.own", own), "trainers.small", TRAINER))
    check_jobs(plan, [PACK])
    with pytest.raises(ConfigError, match="all training images are of one class, 'a'"):
        check_jobs(plan, [PACK, TRAIN])
    monkeypatch.chdir(tmp_path)
    meta = tmp_path / "results/own/own/data/train/meta.json"  # a pack says so itself
    meta.parent.mkdir(parents=True)
    meta.write_text('{"classes": ["a"]}')
    with pytest.raises(ConfigError, match=r"all training images are of one class, 'a'.*: add images of other classes"):
        check_jobs(plan, [TRAIN])
    meta.write_text('{"classes": ["a", "b"]}')
    check_jobs(plan, [TRAIN])
    # Of a published set its key, and not a pack that is made anew
    meta.write_text('{"classes": ["a"]}')
    values = change(merged("demo.yaml"), "datasets.own", {"title": "o", "kind": "cifar10", "size": 32, "classes": 1})
    check_jobs(make(change(change(values, "trainers.small", TRAINER), "datasets.own.classes", 2)), [PACK, TRAIN])
    meta.unlink()
    with pytest.raises(ConfigError, match=r"choose more with datasets\.own\.classes"):
        check_jobs(make(change(values, "trainers.small", TRAINER)), [TRAIN])


@pytest.mark.parametrize(
    ("text", "keep", "block", "options", "refused"),
    [
        ("cat/0.png\ndog/0.png\n", 0.333, {}, {}, None),
        (None, 0.9, {}, {}, r"there is no file .*ids\.txt with a published coreset: change manifest"),
        (
            "cat/0.png\ndog/0.png\n",
            0.333,
            {"sha256": "0" * 64},
            {},
            "has the checksum .*: it is another list than the one",
        ),
        ("cat/0.png\ndog/9.png\n", 0.333, {}, {}, "1 of 2 ids are not in the pack .*such as 'dog/9.png'"),
        ("cat/0.png\n", 0.9, {}, {}, "has 1 of 6 images, which is not a keep ratio of 0.9: set keep_ratio: 0.1667"),
        ("cat/0.png\n", 0.9, {}, {"on_bad": "skip"}, None),
        ("id,class\ncat/0.png,dog\n", 0.9, {}, {"on_bad": "skip"}, "1 image of another class, such as cat/0.png: dog"),
        (None, 0.9, {"manifest": "https://example.org/ids.csv"}, {}, None),
    ],
)
def test_a_published_list_that_cannot_be_used_is_refused_before_the_first_job(
    tmp_path, monkeypatch, change, text, keep, block, options, refused
):
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        save(tmp_path / f"data/own/{'cat' if i < 3 else 'dog'}/{i % 3}.png", seed=i)
    listed = tmp_path / "ids.txt"
    if text is not None:
        listed.write_text(text)
    own = {"title": "own", "kind": "image_folder", "path": "data/own", "size": 32}
    values = change(merged("own_images.yaml"), "datasets.own", own | options)
    selector = {
        "kind": "published",
        "manifest": str(listed),
        "sha256": hashlib.sha256((text or "").encode()).hexdigest(),
    }
    values = change(values, "selectors.theirs", selector | block)
    values = change(values, "methods.theirs", {"title": "Theirs", "selector": "theirs", "mixture": "o100"})
    plan = make(change(values, "experiments.coreset", {"method": "theirs", "keep_ratio": keep, "export": {}}))
    jobs = plan.jobs(plan.exports())
    if refused is None:
        check_jobs(plan, jobs)
        return
    with pytest.raises(ConfigError, match=rf"published lists cannot be used:\n  selectors\.theirs: .*{refused}"):
        check_jobs(plan, jobs)


def test_keys_of_ones_own_sets(demo, change):
    own = {"title": "own", "kind": "image_folder", "path": "x", "size": 32}
    for key, value in (
        ("splits", {"train": "a"}),
        ("splits", {"train": ["a", "b"], "test": ["c"]}),
        ("unlabelled", True),
    ):
        make(change(demo, "datasets.own", own | {key: value}))
    plain, named = (
        options_of(
            make(change(change(demo, "datasets.own", own | more), "experiments.fig4a.dataset", "own")),
            "pack",
            dataset="own",
        )
        for more in ({}, {"splits": {"train": "a"}, "white_level": 255, "masks": "keep"})
    )
    assert not LATER.keys() & plain.keys(), "what was packed before is not packed anew"
    assert (named["splits"], named["white_level"], named["masks"]) == ({"train": ["a"]}, 255, "keep")
    for value, message in (({"training": ["a"]}, "training"), ({"train": []}, "splits"), ("train", "splits")):
        with pytest.raises(ConfigError, match=message):
            make(change(demo, "datasets.own", own | {"splits": value}))


def test_images_replaced_in_place_are_told(tmp_path, change):
    """By size or time, also where the folder does not show it; what lies beside is none of them."""
    for i in range(3):
        save(tmp_path / f"set/cat/{i}.png", seed=i)
    (tmp_path / "set/cat/notes.txt").write_text("a")
    values = change(merged("own_images.yaml"), "datasets.own.path", str(tmp_path / "set"))
    config = load_config(values)
    options = tmp_path / "data/options.json"
    noted = states_of(tmp_path / "set", [f"cat/{i}.png" for i in range(3)])
    assert states_of(tmp_path / "set", ["cat/"])["cat/"][0] == 0, "a folder's size depends on the file system"
    note_files(noted, tmp_path / "data/files.csv")
    options.write_text("{}")
    (tmp_path / "set/cat/notes.txt").write_text("bb")
    (tmp_path / "set/.hidden").mkdir()
    os.utime(tmp_path / "set", (1, 1))
    assert changed_folders(config, {"own": str(options)}) == []
    for path in tmp_path.rglob("*/cat"):
        os.utime(path, (1, 1))
    (tmp_path / "set/cat/1.png").write_bytes((tmp_path / "set/cat/2.png").read_bytes())
    (sentence,) = changed_folders(config, {"own": str(options)})
    assert re.search(r"datasets\.own: 1 file changed after packing, the first is .*cat/1\.png", sentence)
    assert f"--forcerun {options}" in sentence
    shutil.rmtree(tmp_path / "set")
    assert changed_folders(config, {"own": str(options)}) == [], "images are not needed once they are packed"


@pytest.mark.parametrize("how", ["added", "replaced", "a new class"])
def test_files_that_a_copying_program_brought_are_told_though_it_kept_the_folders_times(tmp_path, change, how):
    """As rsync -a, tar and cp -a do; and a link to the set may be turned to an older one."""

    def old(root, year):
        for path in (root, *root.rglob("*")):
            os.utime(path, (year, year if path.is_dir() else 1))

    for root in (tmp_path / "first", tmp_path / "second"):
        for i in range(4):
            save(root / f"{'cat' if i < 2 else 'dog'}/{i}.png", seed=i)
    (tmp_path / "first/cat" / os.fsdecode(b"caf\xe9")).mkdir()
    old(tmp_path / "first", 100)
    (tmp_path / "set").symlink_to("first")
    config = load_config(change(merged("own_images.yaml"), "datasets.own.path", str(tmp_path / "set")))
    pack_dataset("own", tmp_path / "data", **pack_block(config, "own"), workers=1)
    options = tmp_path / "data/options.json"
    options.write_text("{}")
    assert changed_folders(config, {"own": str(options)}) == []
    place = tmp_path / ("second" if how == "replaced" else "first")
    save(place / ("owl/9.png" if how == "a new class" else "cat/9.png"), seed=9)
    old(place, 200)
    (tmp_path / "set").unlink()
    (tmp_path / "set").symlink_to(place.name)
    (sentence,) = changed_folders(config, {"own": str(options)})
    assert f"datasets.own: {tmp_path / 'set'} has changed since its images were packed" in sentence


def test_a_set_that_is_gone_is_told_where_a_coreset_links_to_it(tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    plan = make(change(merged("own_images.yaml"), "datasets.own.path", "data/own"))
    link = Path(plan.exports()[0], "images/cat/0.png")
    options = Path(plan.file("pack", "options", dataset="own"))
    options.parent.mkdir(parents=True)
    options.write_text(json.dumps(plan.options(PACK)), encoding="utf-8")
    assert before.changed_folders(plan) == [], "images are not needed once they are packed"
    save(tmp_path / "data/own/cat/0.png")
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "data/own/cat/0.png")
    shutil.rmtree(tmp_path / "data")
    (sentence,) = before.changed_folders(plan)
    assert re.search(
        r"datasets\.own: data/own is gone, and the images of .*export-links-png are links into it", sentence
    )
    assert "set path to where it is now" in sentence


@pytest.mark.parametrize(
    ("images", "storage", "stages", "refused"),
    [
        ("links", "packed", ["export"], True),
        ("copies", "packed", ["export"], True),
        ("packed", "packed", ["export"], False),
        ("none", "packed", ["export"], False),
        ("links", "packed", ["bin", "sample", "saliency"], False),
        ("none", "streamed", ["saliency"], True),
        ("none", "streamed", ["bin", "sample"], False),
    ],
)
def test_a_packed_set_that_is_gone_is_told_before_the_first_job_where_its_files_are_read(
    tmp_path, monkeypatch, change, images, storage, stages, refused
):
    monkeypatch.chdir(tmp_path)
    values = change(merged("own_images.yaml"), "experiments.coreset.export.images", images)
    plan = make(change(values, "datasets.own.storage", storage))
    jobs = [job for job in plan.jobs(plan.exports()) if job.stage.name in stages]
    if not refused:
        check_jobs(plan, jobs)
        return
    with pytest.raises(
        ConfigError, match=r"images are missing:\n  datasets\.own\.path = 'data/own': there is no such folder"
    ):
        check_jobs(plan, jobs)


def test_a_look_for_test_images_reads_the_same_names_as_packing(tmp_path, change):
    values = change(merged("own_images.yaml"), "trainers.small", TRAINER)
    for name, has_test in (
        ("training and testing", True),
        ("dev and eval", True),
        ("a test split without labels", False),
    ):
        root = FOLDERS[name].make(tmp_path / name.replace(" ", "-"))
        plan = make(change(values, "datasets.own.path", str(root)))
        if has_test:
            check_jobs(plan, [PACK, TRAIN])
        else:
            with pytest.raises(ConfigError, match="holds no test images"):
                check_jobs(plan, [PACK, TRAIN])
    block = {"title": "own", "kind": "table", "path": str(tmp_path / "tables"), "size": 32}
    plan = make(change(values, "datasets.own", block))
    write_table(tmp_path / "tables/train.parquet", ["a", "b"])
    write_table(tmp_path / "tables/Birds_TEST.parquet", [-1, -1])
    with pytest.raises(ConfigError, match="holds no test images"):
        check_jobs(plan, [PACK, TRAIN])
    write_table(tmp_path / "tables/Birds_TEST.parquet", ["a"])
    check_jobs(plan, [PACK, TRAIN])
