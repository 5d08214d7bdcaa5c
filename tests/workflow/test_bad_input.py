"""What is wrong, where and what to do: in one message, before any training, with nothing left behind."""

import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

pytestmark = pytest.mark.workflow


@pytest.fixture
def images(project):
    """A small, sound folder of images."""
    for split, count in (("train", 6), ("test", 2)):
        for i, name in enumerate(("ant", "bee")):
            folder = project.folder / "data/own" / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                Image.new("RGB", (40, 32), (100 * i, 20 * k, 0)).save(folder / f"{k}.png")
    return project.folder / "data/own"


def refused(project, *options, config="folder"):
    done = project.snakemake(*options, config=config, check=False)
    assert done.returncode != 0
    assert not list(project.folder.glob("results/*/*/train/**/*.json"))
    assert not list(project.folder.glob("results/*/*/data/*"))
    assert "early-train" not in done.stderr
    text = done.stdout + done.stderr
    assert not {"Traceback", "common.smk"} & set(text.replace("/", " ").replace('"', " ").split()), "no code lines"
    return text


def test_unknown_key(project):
    text = refused(project, "--config", "colour=blue", config="demo")
    assert "colour: there is no such key" in text
    assert "Traceback" not in text


def test_too_little_memory_for_the_graph_of_jobs(project):
    """Snakemake would fail anywhere in building it, and print errors about errors without end."""
    command = [sys.executable, "-m", "snakemake", "-n", "--configfile", "config/smoke.yaml"]
    limited = ["bash", "-c", f'ulimit -v {600 * 1024}; exec "$@"', "bash", *command]
    done = subprocess.run(limited, cwd=project.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "this process may have 600 MB of memory, and building the graph of jobs alone may need 1024 MB" in said
    assert "Traceback" not in said


def test_a_key_that_stands_twice_in_a_file(project):
    """Snakemake's own reader takes the last and says nothing."""
    file = project.folder / "config/demo.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "\nseeds: [7]\n", encoding="utf-8")
    text = refused(project, "-n", config="demo")
    assert "config/demo.yaml: line" in text
    assert "the key seeds appears already in line 5" in text


def test_a_place_for_logs_that_cannot_be_made(project):
    (project.folder / "logs").touch()
    text = refused(project, "--config", "targets=[fig1]", config="demo")
    assert "logs/demo/ cannot be made:" in text
    assert "Move it away" in text


def test_a_cache_that_does_not_know_seeds(project):
    """Both seeds of a random selection had the same bins: Snakemake's key for them is the same."""
    text = refused(project, "--until", "bin", "--cache", "bin", "sample", config="smoke")
    assert "--cache bin sample would take one seed's results for those of another" in text


def test_records_are_not_temporary(project):
    assert "--all-temp would remove the records" in refused(project, "--all-temp", config="smoke")


def test_keep_ratio_of_four(project):
    text = refused(project, "--config", "defaults={keep_ratio: 4}", config="demo")
    assert "defaults.keep_ratio = '4': input should be less than or equal to 1" in text
    assert "Traceback" not in text


def test_missing_folder(project):
    text = refused(project)
    assert "datasets.own.path = 'data/own': there is no such folder" in text
    assert "Traceback" not in text


def test_empty_class_folder(project, images):
    (images / "train/wasp").mkdir()
    text = refused(project)
    assert "images cannot be used as they are:" in text
    assert "wasp has no images: put images there, or remove it" in text
    assert "Error in pack" not in text


def test_a_name_in_another_encoding(project, images):
    """Snakemake's log is written in UTF-8, and it printed a traceback beside what was said."""
    (images / os.fsdecode(b"train/gu\xeape")).mkdir()
    assert r"train/gu\udceape has no images: put images there, or remove it" in refused(project)


def test_file_that_is_no_image(project, images):
    (images / "train/bee/broken.png").write_text("this is no image")
    text = refused(project, "--config", "defaults={keep_ratio: 0.5}")
    assert "train/bee/broken.png" in text
    assert "on_bad: skip" in text
    assert text.count("Error in pack") == 1


def test_no_test_images(project, images):
    shutil.rmtree(images / "test")
    text = refused(project, "--config", "datasets={own: {test: 0}}")
    assert "datasets.own.test" in text


def test_unknown_network(project):
    text = refused(project, "--config", "trainers={resnet8: {model: resnt18}}", config="demo")
    assert "model 'resnt18'" in text
    assert "resnet18" in text


def test_a_sound_folder_runs(project, images):
    options = [
        "trainers={small: {epochs: 1}}",
        "backbones={early: {epochs: 1}}",
        "defaults={keep_ratio: 0.5}",
    ]
    project.snakemake("--config", *options, config="folder")
    assert (project.folder / "paper_figures/folder/own.png").exists()
    assert len(project.metrics()) == 6  # three methods, two seeds
    # A wrong path now is named before anything starts, and what there is stays
    options.append("datasets={own: {path: data/elsewhere}}")
    done = project.snakemake("--config", *options, config="folder", check=False)
    assert done.returncode != 0
    assert "there is no such folder" in done.stdout + done.stderr
    assert (project.folder / "results/folder/own/data/train/meta.json").exists()
    # The images themselves are no longer needed once they are packed
    shutil.rmtree(images)
    assert project.waiting("--config", *options[:-1], config="folder") == {}
