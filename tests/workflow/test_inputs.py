"""A person's own images by Snakemake: without labels, with a pipe among them, replaced in place."""

import json
import os

import pytest
import yaml
from PIL import Image

from tests.inputs import pets
from tests.miniatures import save

pytestmark = pytest.mark.workflow


def coreset(project, *, method="random", **dataset):
    """Configuration files of a coreset of data/own."""
    own = {"size": 32, "path": "data/own", "on_bad": "error", **dataset}
    network = {"untrained": {"model": "resnet8"}}
    mine = {"datasets": {"own": own}, "backbones": network}
    mine |= {"experiments": {"coreset": {"method": method, "keep_ratio": 0.5}}}
    (project.folder / "config/mine.yaml").write_text(yaml.safe_dump(mine))
    return ["coresets", "--configfile", "config/own_images.yaml", "config/mine.yaml"]


def test_a_coreset_of_images_without_labels(project):
    for i in range(24):
        save(project.folder / f"data/own/{'deep/' * (i % 2)}{i}.png", seed=i, size=(40, 32))
    done = project.snakemake(*coreset(project), config=None, check=False)
    assert "set unlabelled: true" in done.stderr
    done = project.snakemake(*coreset(project, unlabelled=True, method="dq_v2"), config=None, check=False)
    assert "datasets.own.unlabelled = true, and backbone early trains on classes" in done.stdout + done.stderr
    assert not list(project.folder.glob("results/own/own/early"))
    done = project.snakemake(*coreset(project, unlabelled=True, method="dq_v2_untrained"), config=None)
    assert "own: . -> train: 1 class (all), 24 images" in done.stderr
    (manifest,) = project.folder.glob("results/own/own/coreset/**/export-links-png/manifest.json")
    assert json.loads(manifest.read_text())["classes"] == ["all"]
    assert len(list(manifest.parent.glob("images/all/*"))) == 12


def test_images_replaced_in_place_are_told_at_the_next_start(project):
    root = project.folder / "data/own"
    for seed, path in enumerate(pets("Training", "testing")):
        save(root / path, seed=seed, size=(40, 32))
    os.mkfifo(root / "Training/cat/pipe.png")
    command = coreset(project)
    done = project.snakemake(*command, config=None, check=False, timeout=200)
    assert "Training/cat/pipe.png: cannot be read (it is a named pipe)" in done.stderr
    (root / "Training/cat/pipe.png").unlink()
    done = project.snakemake(*command, config=None)
    assert "own: Training -> train: 2 classes (cat, dog), 6 images" in done.stderr
    assert "own: testing -> test: 2 classes (cat, dog), 6 images" in done.stderr
    assert "changed after packing" not in done.stderr
    with Image.open(root / "Training/cat/1.png") as image:
        turned = image.rotate(90)
    turned.save(root / "Training/cat/1.png")
    done = project.snakemake(*command, config=None)
    assert "1 file changed after packing, the first is" in done.stderr
    project.snakemake(*command, "--forcerun", "results/own/own/data/options.json", config=None)
    assert "changed after packing" not in project.snakemake(*command, config=None).stderr
