"""What datasets, exported coresets and overlaps put into the plan."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dqv2.config import ConfigError, load_config
from dqv2.config.data import KINDS
from dqv2.data.places import changed_folders, fetch_options, fetched_of, note_files, states_of
from dqv2.data.published import ARCHIVES
from dqv2.plan.before import check_jobs
from tests.conftest import make
from tests.miniatures import imagenette, save
from tests.plan.counted import chain_of, options_of, stages_behind


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
    rows = plan.kind("mine", "overlap").rows_with_files
    assert len(rows) == 2 * 2 * len(demo["seeds"]) == plan.planned("mine")
    assert "train" not in stages_behind(plan)
    assert rows[0]["recipe"] == "results/demo/digits/tobias/mask-early/size-4/seed-0/recipe.npz"
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
