"""From a set's site, or from one's own folder, to tables and coresets, by Snakemake."""

import csv
import hashlib
import json
import os
import shutil

import pytest
import yaml

from dqv2.select.export import coreset_files
from tests.miniatures import HubServer, Server, archive, save
from tests.unit.messy import messy

pytestmark = pytest.mark.workflow

SMALL = {
    "seeds": [0],
    "backbones": {"early": {"title": "small", "model": "resnet8", "epochs": 1, "batch_size": 16}},
}


def overlay(project, name, **values):
    """A configuration of a few keys on top of the shipped one, as a file of its own."""
    path = project.folder / f"config/{name}.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True))
    return f"config/{name}.yaml"


def run(project, config, *options, check=True):
    return project.snakemake(*options, "--configfile", *config, config=None, check=check)


@pytest.fixture
def site(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("site")).running() as server:
        yield server


def test_a_set_from_its_site_to_the_overlap_of_its_masks_and_boxes(project, site):
    """One command: fetch, unpack, pack, masks, table."""
    _, checksum, _ = archive("tiny_imagenet", site.folder)
    dataset = {"mirror": site.url, "checksum": checksum, "size": 32, "per_class": {"train": 4}}
    mine = overlay(project, "mine", datasets={"tiny_imagenet": dataset}, **SMALL)
    run(project, ["config/boxes.yaml", mine])
    with (project.folder / "paper_figures/boxes/mask_overlap_table.csv").open() as file:
        rows = list(csv.DictReader(file))
    masks = {row["mask_title"] for row in rows}
    assert {"centre mask", "random cells", "another image's mask", "true mask"} < masks
    assert len(rows) == 6 * 2
    iou = {(row["mask_title"], row["tobias_size"]): float(row["mean"]) for row in rows}
    assert iou["true mask", "8"] == max(value for (_, size), value in iou.items() if size == "8")
    assert not list(project.folder.glob("results/boxes/*/train"))
    assert (project.folder / "data/tiny-imagenet-200/wnids.txt").exists()
    # What is there is not fetched again, wherever it came from, also when the archive and the results are gone
    asked = len(site.asked)
    (project.folder / "data/tiny-imagenet-200.zip").unlink()
    shutil.rmtree(project.folder / "results/boxes/tiny_imagenet/data")
    nobody = overlay(project, "nobody", datasets={"tiny_imagenet": {"mirror": "http://127.0.0.1:9"}})
    run(project, ["config/boxes.yaml", mine, nobody], "results/boxes/tiny_imagenet/data/options.json")
    assert len(site.asked) == asked


@pytest.mark.parametrize("fault", ["cut off", "wrong checksum", "not there"])
def test_a_set_that_cannot_be_had_leaves_nothing_that_is_trusted(project, site, fault):
    _, checksum, _ = archive("tiny_imagenet", site.folder)
    dataset = {"mirror": site.url, "checksum": checksum, "size": 32}
    if fault == "cut off":
        site.cuts, site.after = 99, 0
        downloads = project.folder / "src/dqv2/data/download.py"
        text, quick = "pause: float = 2.0", "pause: float = 0.1"  # in place of half a minute
        assert text in downloads.read_text()
        downloads.write_text(downloads.read_text().replace(text, quick))
    elif fault == "wrong checksum":
        dataset["checksum"] = "md5:" + "0" * 32
    else:
        site.status = 404
    mine = overlay(project, "mine", datasets={"tiny_imagenet": dataset}, **SMALL)
    done = run(project, ["config/boxes.yaml", mine], "--until", "fetch", check=False)
    assert done.returncode != 0
    messages = {"cut off": "the connection broke 5 times", "wrong checksum": "expected is md5:0", "not there": "404"}
    assert messages[fault] in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in (project.folder / "data").iterdir()} <= {
        ".tiny-imagenet-200.lock",
        "tiny-imagenet-200.zip.part",
    }
    site.cuts, site.status = 0, None
    mine = overlay(project, "mine", datasets={"tiny_imagenet": dataset | {"checksum": checksum}}, **SMALL)
    run(project, ["config/boxes.yaml", mine], "--until", "fetch")
    assert (project.folder / "data/tiny-imagenet-200/wnids.txt").exists()


@pytest.fixture
def own(project):
    """The messy folder, where config/own_images.yaml looks for it, and a configuration on top that makes it quick."""
    bad, _ = messy(project.folder / "data/own")
    mine = {"datasets": {"own": {"size": 16, "max_pixels": 1_000_000}}, "experiments": {"coreset": {"keep_ratio": 0.5}}}
    return ["config/own_images.yaml", overlay(project, "mine", **mine, **SMALL)], bad


def test_a_coreset_of_ones_own_messy_folder(project, own):
    """No test split, no training: one command to a folder that torchvision reads, of ids that resolve."""
    from torchvision.datasets import ImageFolder

    config, bad = own
    done = run(project, config, "coresets")
    assert "5 files were left out" in done.stderr
    meta = json.loads((project.folder / "results/own/own/data/train/meta.json").read_text())
    assert {entry["name"] for entry in meta["left_out"]} == bad
    (folder,) = project.folder.glob("results/own/own/coreset/**/export-links-png")
    with (folder / "ids.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == ["id", "path", "class", "index", "bin", "kind"]
    assert len(rows) == 13
    assert {row["kind"] for row in rows} == {"original", "tobias"}
    images = ImageFolder(folder / "images")
    assert {os.path.relpath(path, folder) for path, _ in images.samples} == {row["image"] for row in rows}
    assert all(image.size for image, _ in images)
    originals = [row["path"] for row in rows if row["kind"] == "original"]
    assert len(coreset_files(folder / "ids.csv", project.folder / "data/own")) == len(rows)
    found = coreset_files(folder / "ids.csv", project.folder / "data/own", originals_only=True)
    assert [str(path.relative_to(project.folder / "data/own")) for path, _ in found] == originals
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["sha256"]["ids.csv"] == hashlib.sha256((folder / "ids.csv").read_bytes()).hexdigest()
    assert manifest["provenance"]["keep_ratio"] == 0.5
    stages = {each["stage"]: each["options"] for each in manifest["provenance"]["stages"]}
    assert stages["bin"]["selector"]["kind"] == "graphcut_bins"
    assert project.waiting("coresets", "--configfile", *config, config=None) == {}

    # A folder that has changed is said, not packed in silence: nor is its coreset
    (picture,) = sorted((project.folder / "data/own").rglob("*.png"))[:1]
    shutil.copy(picture, picture.with_name("another.png"))
    said = run(project, config, "coresets").stderr
    assert f"{picture.parent.relative_to(project.folder)} has changed since its images were packed" in said
    again = "--forcerun", "results/own/own/data/options.json"
    assert " ".join(again) in said
    run(project, config, "coresets", *again)
    assert "has changed" not in run(project, config, "coresets").stderr
    assert "/another.png" in (project.folder / "results/own/own/data/train/manifest.csv").read_text()


def test_only_the_images_that_are_needed_have_to_be_there(project):
    """One figure can be had without the sets of the others."""
    own = {"title": "mine", "kind": "image_folder", "path": "data/own", "size": 32}
    more = {"datasets": {"own": own}, "experiments": {"fig6": {"dataset": "own"}}}
    config = ["config/smoke.yaml", overlay(project, "more", **more)]
    run(project, config, "results/smoke/digits/data/options.json")
    done = run(project, config, "paper_figures/smoke/fig6.pdf", check=False)
    assert done.returncode != 0
    assert "datasets.own.path = 'data/own': there is no such folder" in done.stdout + done.stderr


def test_training_without_a_test_split_is_refused_before_it_starts(project, own):
    config, _ = own
    accuracy = {"coreset": {"table": {"column": "keep_ratio"}}}
    trains = overlay(project, "trains", experiments=accuracy)
    done = run(project, [*config, trains], check=False)
    assert done.returncode != 0
    assert "holds no test images to evaluate on" in done.stdout + done.stderr
    assert not list(project.folder.glob("results/own/own/data/*"))
    # The coreset alone can be had all the same
    assert "export" in project.waiting("coresets", "--configfile", *config, trains, config=None)
    done = run(project, [*config, trains], "coresets", check=False)
    assert done.returncode == 0, done.stderr


PRETRAINED = "results/smoke/digits/train/o100/backbone-pretrained/bins/keep-0.1/resnet8/seed-0/metrics.json"


def test_published_weights_are_fetched_by_one_rule_and_jobs_ask_no_hub(project, tmp_path_factory):
    import timm
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("hub")
    weights = folder / "timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
    weights.parent.mkdir(parents=True)
    save_file(timm.create_model("test_resnet", num_classes=1000).state_dict(), weights)
    block = {"model": "test_resnet", "weights": "test_resnet.r160_in1k", "layers": "by_name", "sha256": None}
    mine = ["config/smoke.yaml", overlay(project, "mine", backbones={"pretrained": block})]
    with HubServer(folder).running() as hub:
        hub.cuts, hub.after = 1, 2**18
        fetched = project.snakemake(
            PRETRAINED, "--until", "weights", "--configfile", *mine, config=None, env={"HF_ENDPOINT": hub.url}
        )
    assert "rule weights" in fetched.stdout + fetched.stderr
    note = json.loads((project.folder / "results/smoke/weights/backbones/pretrained.json").read_text())
    assert note["path"] == "data/weights/test_resnet.r160_in1k.safetensors"
    assert note["classes"] == 1000
    assert (project.folder / note["path"]).read_bytes() == weights.read_bytes()
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    project.snakemake(PRETRAINED, "--configfile", *mine, config=None, env=nobody)
    assert (project.folder / PRETRAINED).exists()
    assert project.waiting(PRETRAINED, "--configfile", *mine, config=None) == {}
    # Weights that are damaged afterwards are never used, which is said before any job
    shutil.rmtree(project.folder / "results/smoke/digits")
    with (project.folder / note["path"]).open("r+b") as file:
        file.truncate(100_000)
    damaged = project.snakemake(PRETRAINED, "--configfile", *mine, config=None, check=False)
    said = damaged.stdout + damaged.stderr
    assert damaged.returncode
    assert "backbones.pretrained.weights" in said
    assert "has changed since it was checked" in said
    assert "Traceback" not in said


def test_a_package_of_weights_that_is_not_installed_is_named_and_never_replaced(project):
    missing = {"weights": "package:nobody_has_this/w.pth", "sha256": None}
    mine = ["config/smoke.yaml", overlay(project, "mine", backbones={"pretrained": missing})]
    refused = project.snakemake(PRETRAINED, "--configfile", *mine, config=None, check=False)
    said = refused.stdout + refused.stderr
    assert refused.returncode
    assert "backbones.pretrained.weights" in said
    assert "nobody-has-this is not installed" in said
    assert not (project.folder / "results/smoke/digits").exists()
    other = PRETRAINED.replace("backbone-pretrained/bins", "random")
    project.snakemake(other, "--configfile", *mine, config=None)
    assert (project.folder / other).exists(), "arms that want no such weights are made"


@pytest.mark.parametrize("where", ["file", "address"])
def test_a_published_coreset_in_place_of_a_selection(project, site, where):
    root = project.folder / "data/own"
    for split, count in (("train", 10), ("test", 4)):
        for k, name in enumerate(("ant", "bee")):
            for i in range(count):
                save(root / split / name / f"{i}.png", seed=100 * k + i + (50 if split == "test" else 0), size=(16, 16))
    listed = site.folder / "ids.csv"
    ids = [f"train/{name}/{i}.png" for name in ("ant", "bee") for i in (1, 4, 7, 8, 9)]
    listed.write_text("id,class\n" + "".join(f"{i},{i.split('/')[1]}\n" for i in ids))
    manifest = str(listed) if where == "file" else f"{site.url}/ids.csv"
    selector = {"kind": "published", "manifest": manifest, "sha256": hashlib.sha256(listed.read_bytes()).hexdigest()}
    mine = overlay(
        project,
        "mine",
        selectors={"theirs": selector},
        methods={"theirs": {"title": "Published", "selector": "theirs", "mixture": "o100"}},
        defaults={"keep_ratio": 0.5},
        datasets={"own": {"size": 16, "validation": 0.0}},
        trainers={"small": {"epochs": 1, "batch_size": 4}},
        experiments={"own": {"method": ["random", "theirs"]}},
        **SMALL,
    )
    run(project, ["config/folder.yaml", mine])
    (coreset,) = project.folder.glob("results/folder/own/coreset/o100/theirs/keep-0.5/seed-0/coreset.csv")
    with coreset.open() as file:
        assert sorted(row["id"] for row in csv.DictReader(file)) == sorted(ids)
    with (project.folder / "results/folder/experiments/own.csv").open() as file:
        rows = {row["label"]: row for row in csv.DictReader(file)}
    assert rows["Published"]["coreset_size"] == rows["Random"]["coreset_size"] == "10"
    wrong = overlay(project, "wrong", selectors={"theirs": selector | {"sha256": "0" * 64}})
    done = run(project, ["config/folder.yaml", mine, wrong], check=False)
    assert done.returncode != 0
    assert "checksum" in done.stderr


def test_a_streamed_set_gives_the_results_of_a_packed_one(project):
    root = project.folder / "data/own"
    for split, count in (("train", 12), ("test", 4)):
        for k, name in enumerate(("ant", "bee")):
            for i in range(count):
                save(root / split / name / f"{i}.png", seed=100 * k + i + (50 if split == "test" else 0), size=(20, 16))
    common = {
        "trainers": {"small": {"epochs": 1, "batch_size": 4}},
        "defaults": {"keep_ratio": 0.5},
        "experiments": {"own": {"method": ["dq_v2"]}},
    }
    found = {}
    for storage in ("packed", "streamed"):
        dataset = {"size": 16, "per_class": {}, "storage": storage}
        mine = overlay(project, "mine", run=storage, datasets={"own": dataset}, **common, **SMALL)
        run(project, ["config/folder.yaml", mine])
        coreset, metrics = (
            next(project.folder.glob(f"results/{storage}/own/{path}")).read_text()
            for path in ("coreset/**/coreset.csv", "train/**/metrics.json")
        )
        found[storage] = coreset, metrics
    assert found["packed"] == found["streamed"]
    assert not list(project.folder.glob("results/streamed/own/data/*/images.npy"))
