"""What datasets, exported coresets and overlaps put into the plan."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dqv2.config import ConfigError, load_config
from dqv2.config.data import KINDS
from dqv2.data.places import LATER, changed_folders, fetch_options, fetched_of, note_files, states_of
from dqv2.data.published import ARCHIVES
from dqv2.plan.before import _without_labels, check_jobs
from tests.conftest import make, merged
from tests.inputs import FOLDERS, write_table
from tests.miniatures import imagenette, save
from tests.plan.counted import chain_of, job_of, options_of, stages_behind


def test_published_sets_are_fetched_once_for_all_datasets_that_use_them(paper, change):
    values = change(paper, "datasets.small", {"title": "s", "kind": "cub200", "size": 40})
    plan = make(change(values, "experiments.fig4a.dataset", ["cub200", "small", "imagenette", "imagenet30"]))
    assert fetched_of(plan.config, "cub200") == fetched_of(plan.config, "small") == ["data/.cub200.fetched"]
    assert fetched_of(plan.config, "imagenet30") == []
    assert fetch_options(plan.config)["data/.imagenette-full.fetched"]["name"] == "imagenette-full"
    jobs = plan.jobs(plan.file("pack", "train", dataset=name) for name in ("cub200", "small", "imagenet30"))
    assert [job.stage.name for job in jobs] == ["fetch", "pack", "pack", "pack"]


def test_a_mirror_packs_nothing_anew_and_another_folder_does(paper, change):
    before = options_of(make(paper), "pack", dataset="cub200")
    for key, value in (("mirror", "http://127.0.0.1/"), ("checksum", "md5:" + 32 * "0")):
        assert options_of(make(change(paper, f"datasets.cub200.{key}", value)), "pack", dataset="cub200") == before
    for key, value in (("root", "/elsewhere"), ("on_bad", "skip"), ("storage", "streamed"), ("max_pixels", 9)):
        assert options_of(make(change(paper, f"datasets.cub200.{key}", value)), "pack", dataset="cub200") != before
    other = options_of(make(change(paper, "datasets.imagenette.variant", 160)), "pack", dataset="imagenette")
    assert other["folder"] == "data/imagenette2-160"


def test_every_published_kind_has_an_archive(paper):
    config = load_config(paper)
    assert {block.archive for block in config.datasets.values() if hasattr(block, "archive")} <= set(ARCHIVES)
    assert set(KINDS) >= {"digits", "image_folder", "table", "imagenet", "imagenet30", "cifar10", "tiny_imagenet"}


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("datasets.cub200.mirrror", "x", ["datasets.cub200.mirrror", "Did you mean mirror?"]),
        ("datasets.cub200.checksum", "123", ["datasets.cub200.checksum = '123'"]),
        ("datasets.cifar10.storage", "streamed", ["datasets.cifar10.storage = 'streamed'", "'packed'"]),
        ("datasets.imagenette.variant", "640", ["datasets.imagenette.variant = '640'", "'320'"]),
        ("datasets.x", {"title": "x", "kind": "mnist", "size": 9}, ["datasets.x", "mnist", "tiny_imagenet"]),
        ("selectors.random.manifest", "x", ["selectors.random", "by the kind published"]),
        ("selectors.x", {"kind": "published", "manifest": "x"}, ["selectors.x", "sha256"]),
        ("experiments.fig4a.export", {"image": "links"}, ["experiments.fig4a.export.image", "Did you mean images?"]),
        ("experiments.fig4a.overlap", True, ["experiments.fig4a", "own_minus_others"]),
    ],
)
def test_faults_are_named(paper, change, path, value, parts):
    with pytest.raises(ConfigError) as error:
        load_config(change(paper, path, value))
    for part in parts:
        assert part in str(error.value)


def test_a_coreset_for_each_dataset_method_keep_ratio_and_seed(demo, change):
    block = {"method": ["random", "dq_v2"], "keep_ratio": [0.1, 0.2], "export": {"images": "packed"}}
    plan = make(change(change(demo, "experiments.mine", block), "targets", ["mine"]))
    assert len(plan.exports()) == 2 * 2 * len(demo["seeds"])
    assert plan.targets() == plan.exports(), "they are what comes of the experiment"
    assert "train" not in stages_behind(plan)
    assert "results/demo/digits/coreset/o100/random/keep-0.2/seed-3/export-packed-png" in plan.exports()
    both = make(change(change(demo, "experiments.mine", block), "targets", ["mine", "fig4a"]))
    assert "train" in stages_behind(both)
    assert sum(path.endswith("export-ids") for path in both.exports()) == 4 * len(demo["seeds"])


def test_a_redrawn_coreset_is_exported_with_its_pixels_and_its_ids_without(demo, change):
    block = {"method": ["control_dq", "control_bins"], "export": {"images": "copies"}}
    mine = change(change(demo, "experiments.mine", block), "targets", ["mine"])
    folder = "results/demo/digits/coreset/o100/backbone-early/bins/keep-0.1"
    exported, plain = make(mine), make(change(mine, "experiments.mine.export.images", "none"))
    assert f"{folder}/pixels-mae_self/seed-0/export-copies-png" in exported.targets()
    assert f"{folder}/seed-0/export-copies-png" in exported.targets()
    assert set(plain.targets()) == {f"{folder}/seed-{seed}/export-ids" for seed in demo["seeds"]}
    count = [stages_behind(plan) for plan in (exported, plain)]
    assert count[0] - count[1] == {"autoencoder", "pixels"}
    assert "sample" in count[1]
    assert not count[0] & {"train", "evaluate"}
    read = [exported.reads(exported.job_making(f"{folder}/{step}seed-0/export-copies-png"))["pixels"]
            for step in ("pixels-mae_self/", "")]  # fmt: skip
    assert read == [["results/demo/digits/pixels/o100/backbone-early/bins/keep-0.1/mae_self/seed-0/pixels.npz"], []]


def test_an_export_counts_what_its_images_are_made_of(demo, change):
    """A random selector reads no features, so the export alone asks for the recipes of its Tobias images."""
    block = {"method": ["dq_v2"], "selector": ["random"], "export": {"images": "links"}}
    mine = change(change(demo, "experiments.mine", block), "targets", ["mine"])
    with_images, without = make(mine), make(change(mine, "experiments.mine.export.images", "none"))
    assert stages_behind(without) == (ids := {"pack", "bin", "sample", "export"})
    assert stages_behind(with_images) == ids | {"early_train", "saliency", "augment"}


def test_behind_a_coreset_by_scores_are_the_scores(demo, change):
    """Its manifest names what stands behind it, by the records of these jobs."""
    block = {"method": ["grand", "control_gc"], "export": {}}
    plan = make(change(change(demo, "experiments.mine", block), "targets", ["mine"]))
    grand, gc = ({job.stage.name for job in plan.jobs([file])} for file in plan.exports() if "/seed-0/" in file)
    assert grand - gc == {"score"}
    assert gc - grand == {"early_train", "saliency"}


def test_two_labels_fit_into_no_folder_of_a_class(demo, change):
    block = {"method": ["dq_cutmix"], "export": {"images": "packed"}}
    mine = change(change(demo, "experiments.mine", block), "targets", ["mine"])
    with pytest.raises(ConfigError, match=r"experiments\.mine\.export: pixels cutmix gives each image two labels"):
        make(mine)
    assert make(change(mine, "experiments.mine.export.images", "none")).exports()


def test_an_overlap_trains_nothing(demo, change):
    block = {"method": ["dq_v2"], "mask": ["object", "early"], "overlap": True, "table": {"y": "iou", "column": "mask"}}
    plan = make(change(change(demo, "experiments.mine", block), "targets", ["mine"]))
    assert stages_behind(plan) == {"pack", "early_train", "saliency", "augment"}


def test_an_overlap_needs_masks_and_objects(demo, change):
    table = {"row": "mask", "column": "tobias_size", "y": "iou"}
    block = {"method": "dq_v2", "mask": ["early", "centre"], "tobias_size": [4, 8], "overlap": True, "table": table}
    values = change(change(demo, "experiments.mine", block), "targets", ["mine"])
    plan = make(values)
    cells = plan.kind("mine", "overlap").cells()
    assert len(cells) == 2 * 2 * len(demo["seeds"]) == plan.planned("mine")
    assert "train" not in stages_behind(plan)
    assert cells[0].recipe == "results/demo/digits/tobias/mask-early/size-4/seed-0/recipe.npz"
    with pytest.raises(ConfigError, match="an overlap needs masks, and mixture o100 has none"):
        make(change(values, "experiments.mine.method", "random"))
    with pytest.raises(ConfigError, match="imagenette has no known objects"):
        make(change(values, "experiments.mine.dataset", "imagenette"))


def test_a_published_coreset_needs_originals_and_no_bins(demo, change):
    selector = {"kind": "published", "manifest": "ids.csv", "sha256": "0" * 64}
    values = change(change(demo, "selectors.theirs", selector), "experiments.fig4a.selector", "theirs")
    values = change(change(values, "experiments.fig4a.method", "random"), "targets", ["fig4a"])
    plan = make(values)
    chain = chain_of(plan, plan.runs[0])
    (fetched,) = (job for job in chain if job.stage.name == "fetch_coreset")
    assert fetched.w.selector == "theirs"
    assert plan.options(fetched) == {"manifest": "ids.csv", "sha256": "0" * 64, "version": 1}
    assert "bin" not in {job.stage.name for job in chain}
    assert not any("/bins/" in file for *_, file in plan.kind("fig4a", "runs").rows_with_files[0]["records"])
    with pytest.raises(ConfigError, match="theirs is a list of originals"):
        make(change(values, "experiments.fig4a.mixture", "o100_t50"))


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
    assert re.search(rf"datasets\.own\.unlabelled = true, and .*{why}.*: ask for coresets alone", found[0])
    with pytest.raises(ConfigError, match="labels are missing"):
        check_jobs(plan, jobs)


def test_a_share_of_unlabelled_images_is_no_test_split(tmp_path, change):
    own = {"title": "own", "kind": "image_folder", "path": str(tmp_path), "size": 32, "unlabelled": True, "test": 0.5}
    plan = make(change(change(merged("own_images.yaml"), "datasets.own", own), "trainers.small", TRAINER))
    with pytest.raises(ConfigError, match="needs classes: ask for coresets alone"):
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
    with pytest.raises(ConfigError, match=r"all training images are of one class, 'a'.*: add images of others"):
        check_jobs(plan, [TRAIN])
    meta.write_text('{"classes": ["a", "b"]}')
    check_jobs(plan, [TRAIN])
    # Of a published set its key, and not a pack that is made anew
    meta.write_text('{"classes": ["a"]}')
    values = change(merged("demo.yaml"), "datasets.own", {"title": "o", "kind": "cifar10", "size": 32, "classes": 1})
    check_jobs(make(change(change(values, "trainers.small", TRAINER), "datasets.own.classes", 2)), [PACK, TRAIN])
    meta.unlink()
    with pytest.raises(ConfigError, match=r"choose more by datasets\.own\.classes"):
        check_jobs(make(change(values, "trainers.small", TRAINER)), [TRAIN])


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


def test_a_published_set_that_is_replaced_in_place_is_told_so(tmp_path, change, demo):
    imagenette(tmp_path)
    values = change(demo, "datasets.nette", {"title": "n", "kind": "imagenette", "variant": 160, "size": 32})
    config = load_config(change(values, "datasets.nette.root", str(tmp_path)))
    root, options = tmp_path / "imagenette2-160", tmp_path / "data/options.json"
    files = [path.relative_to(root).as_posix() for path in root.rglob("*.JPEG")]
    note_files(states_of(root, files), tmp_path / "data/files.csv")
    options.write_text("{}")
    (root / ".ipynb_checkpoints").mkdir()
    os.utime(root, (1, 1))
    assert changed_folders(config, {"nette": str(options)}) == []
    save(root / files[0], seed=99)
    (sentence,) = changed_folders(config, {"nette": str(options)})
    assert f"1 file changed after packing, the first is {root / files[0]}" in sentence


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


def test_a_persons_home_is_found(demo, change):
    values = change(demo, "datasets.cub", {"title": "c", "kind": "cub200", "size": 32, "root": "~/sets"})
    (file,) = fetched_of(make(change(values, "experiments.fig4a.dataset", "cub")).config, "cub")
    assert file == str(Path.home() / "sets/.cub200.fetched")


def test_a_set_in_a_folder_that_may_only_be_read_is_used_as_it_lies(demo, change, tmp_path, monkeypatch):
    values = change(demo, "datasets.cub", {"title": "c", "kind": "cub200", "size": 32, "root": str(tmp_path)})
    plan = make(change(values, "experiments.fig4a.dataset", "cub"))
    note = str(tmp_path / ".cub200.fetched")
    pack = next(job for job in plan.jobs([plan.file("pack", "train", dataset="cub")]) if job.stage.name == "pack")
    monkeypatch.setattr("dqv2.data.places.os.access", lambda folder, how: folder != tmp_path)
    with pytest.raises(ConfigError, match=r"datasets\.cub\.root = .* may only be read, .*: set root to a folder of"):
        check_jobs(plan, [pack])
    (tmp_path / "CUB_200_2011").mkdir()
    plan = make(change(values, "experiments.fig4a.dataset", "cub"))
    assert fetched_of(plan.config, "cub") == plan.reads(pack)["fetched"] == []
    assert note not in fetch_options(plan.config)
    check_jobs(plan, [pack])
    Path(note).touch()
    assert fetched_of(plan.config, "cub") == [note], "what was packed with it is not packed anew"


def test_the_archives_are_known_without_torch():
    code = "import sys, dqv2.data.places, dqv2.data.published; print({'torch', 'PIL', 'requests'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
