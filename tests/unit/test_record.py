"""What a job leaves of itself, and what is done around its work: exit code, log, record, resume state."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dqv2.plan.verify import verify
from dqv2.runtime import record
from dqv2.runtime.job import run_job
from dqv2.stages import stage
from tests.conftest import ROOT
from tests.damage import DAMAGE
from tests.jobs import AXES, BINS, CORESET, request_of


def test_a_checksum_is_of_the_bytes_and_of_a_folder_of_names_and_bytes(tmp_path):
    def folder(name, **files):
        (tmp_path / name / "inner").mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / name / "inner" / file).write_text(text)
        return record.checksum(tmp_path / name)

    first = folder("first", a="1", b="2")
    assert first == folder("second", b="2", a="1"), (
        "neither the order in which they were made nor the name above counts"
    )
    assert len({first, folder("third", a="2", b="1"), folder("fourth", a="1", c="2"), folder("fifth", a="1")}) == 4
    a, b = (tmp_path / "first/inner/a", tmp_path / "first/inner/b")
    assert record.checksum(a) == record.checksum(tmp_path / "third/inner/b") != record.checksum(b)
    assert len(record.checksum(a)) == 32


def test_a_record_says_what_a_job_depended_on_and_cost(here):
    kept = record.read(Path(CORESET).with_name("record.json"))
    assert (kept["stage"], kept["version"], kept["wildcards"]) == ("sample", stage("sample").version, AXES)
    assert kept["options"] == {"budget": "originals", "sampler": "bins", "version": stage("sample").version}
    assert kept["outputs"] == {CORESET: record.checksum(CORESET)}
    (bins,) = kept["inputs"]["bins"]
    beside = Path(BINS).with_name("record.json")
    assert bins == {"file": BINS, "checksum": record.checksum(BINS), "record": record.checksum(beside)}
    assert kept["inputs"]["published"] == []
    pack = json.loads(Path("results/demo/digits/data/record.json").read_text(encoding="utf-8"))
    (train,) = kept["inputs"]["train"]
    assert train["checksum"] == pack["outputs"]["results/demo/digits/data/train"] == record.checksum(train["file"])
    assert 0 < kept["seconds"] <= kept["wall_seconds"]
    assert kept["cpu_seconds"] > 0
    assert kept["memory_mb"] > 50
    assert (kept["device"], kept["device_memory_mb"], kept["threads"]) == ("CPU", None, 1)
    assert {"python", "torch", "dqv2"} <= set(kept["versions"])
    assert "commit" in kept


@pytest.mark.parametrize(("flags", "used"), [({"amx_bf16"}, "bfloat16"), ({"avx2"}, "float32")])
def test_a_record_says_which_precision_auto_was(here, small, monkeypatch, flags, used):
    """Of an early training too, of which there is no other account."""
    monkeypatch.setattr("dqv2.runtime.device.cpu_flags", lambda: flags)
    model = small.file("early_train", "model", dataset="digits", backbone="early", seed=0)
    request = request_of(small, small.job_making(model))
    request["options"] |= {"precision": "auto", "epochs": 1}
    assert run_job(request) == 0
    assert record.read(Path(model).with_name("record.json"))["precision"] == used
    request["options"] |= {"precision": used}
    assert run_job(request) == 0
    assert "precision" not in record.read(Path(model).with_name("record.json")), "the options say it"


def test_the_commit_is_of_a_repository_that_has_the_library(tmp_path, monkeypatch):
    """An environment lies in many a project's folder."""

    def git(*words):
        names = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
        done = subprocess.run(["git", "-C", tmp_path, *names, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def found():
        record.commit.cache_clear()
        return record.commit()

    monkeypatch.delenv("DQV2_COMMIT", raising=False)
    monkeypatch.setattr(record, "__file__", str(tmp_path / ".venv/lib/record.py"))
    (tmp_path / ".venv/lib").mkdir(parents=True)
    (tmp_path / ".venv/lib/record.py").write_text("")
    assert found() is None
    git("init")
    git("commit", "--allow-empty", "-m", "of something else")
    assert found() is None
    git("add", ".")
    git("commit", "-m", "with the library")
    assert found() == git("rev-parse", "HEAD")
    (tmp_path / ".venv/lib/record.py").write_text("changed")
    assert found() == git("rev-parse", "HEAD") + "+"
    monkeypatch.undo()
    record.commit.cache_clear()


def test_the_commit_of_a_clone_that_somebody_else_made_is_known(tmp_path, monkeypatch):
    """Such as one for a group, which git by itself refuses. Here a variable of git's own tests stands for that."""
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", tmp_path / "clone"], check=True)
    head = subprocess.check_output(["git", "-C", ROOT, "rev-parse", "HEAD"], text=True).strip()
    (tmp_path / "git").write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {shutil.which("git")} "$@"\n')
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("DQV2_COMMIT", raising=False)
    monkeypatch.setattr(record, "__file__", str(tmp_path / "clone/src/dqv2/runtime/record.py"))
    record.commit.cache_clear()
    found = record.commit()
    record.commit.cache_clear()
    assert found == head


def by_hand(file, text):
    """Another content, and a record that says so."""
    Path(file).write_text(text, encoding="utf-8")
    beside = Path(file).with_name("record.json")
    kept = record.read(beside)
    kept["outputs"][file] = record.checksum(file)
    record.write(beside, kept)


def test_inputs_are_compared_with_the_records_of_their_jobs(here):
    Path("mine.txt").write_text("mine", encoding="utf-8")
    was = record.checksum(BINS)
    os.utime(BINS)  # to touch it changes nothing
    found = record.checksums_of({"bins": BINS, "others": ["mine.txt"], "none": []})
    assert found["bins"][0]["checksum"] == was
    assert found["others"] == [{"file": "mine.txt", "checksum": record.checksum("mine.txt")}]
    assert found["none"] == []


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_input_is_named_and_never_used(here, small, capfd, how):
    times = Path(BINS).stat()
    DAMAGE[how](Path(BINS))
    os.utime(BINS, ns=(times.st_atime_ns, times.st_mtime_ns))
    Path(CORESET).unlink()
    assert run_job(request_of(small, small.job_making(CORESET))) == 1
    error = capfd.readouterr().err
    assert f"{BINS} is damaged: its checksum was " in error
    assert f"Remove it (rm -r {BINS}) and run again: its job makes it again." in error
    assert not Path(CORESET).exists()


@pytest.mark.parametrize("name", ["meta.json", "manifest.csv"])
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_pack_is_named_and_never_used(here, small, capfd, name, how):
    pack = "results/demo/digits/data/train"
    DAMAGE[how](Path(pack, name))
    assert run_job(request_of(small, small.job_making(CORESET))) == 1
    assert f"{pack}/{name} is damaged: its checksum was " in capfd.readouterr().err


def test_what_lies_in_anothers_place_is_named(here, small):
    other = CORESET.replace("seed-0", "seed-1")
    for job in small.jobs([other]):
        assert run_job(request_of(small, job)) == 0
    shutil.copy(other, CORESET)
    with pytest.raises(ValueError, match=r"seed-0/coreset\.csv is damaged"):
        record.checksums_of({"coreset": CORESET})
    shutil.copy(Path(other).with_name("record.json"), Path(CORESET).parent)
    with pytest.raises(
        ValueError, match=r"coreset\.csv is not what the record next to it describes \(sample digits 0\.1 1"
    ):
        record.checksums_of({"coreset": CORESET})


def test_what_has_no_record_is_not_used(here):
    Path(BINS).with_name("record.json").unlink()
    with pytest.raises(ValueError, match=r"bins\.csv has no record \(.*record\.json\).*Remove it \(rm -r "):
        record.checksums_of({"bins": BINS})


def test_behind_a_file_are_the_jobs_of_its_chain_in_their_order(here):
    found = record.behind({"coreset": CORESET, "train": ["results/demo/digits/data/train"]})
    assert [each["stage"] for each in found] == ["pack", "bin", "sample"]
    assert found[1]["options"]["selector"] == {"kind": "random"}
    assert all({"wildcards", "options", "inputs", "versions", "commit", "device"} <= each.keys() for each in found)
    assert record.behind({"other": "mine.txt"}) == []
    made = record.summary(found)
    assert (made["seed"], made["device"], made["cpu"]) == (["0"], ["CPU"], [record.cpu()])
    assert made["torch"] == [record.versions()["torch"]]
    assert made["python"] == [platform.python_version()]


def a_digit_changed(text):
    return text.replace('"seconds": 0', '"seconds": 9')


def of_other_kinds(text):
    """By an editor, with nothing that says how it was."""
    return json.dumps({key: None for key in json.loads(text) if key != "checksum"})


@pytest.mark.parametrize(
    "change",
    [
        *(lambda _, new=new: new for new in ("", "{", "[]", '{"seconds": 1}', "[" * 10**5)),
        a_digit_changed,
        of_other_kinds,
    ],
)
def test_a_damaged_record_is_named_with_what_to_do(here, change):
    beside = Path(BINS).with_name("record.json")
    beside.write_text(change(beside.read_text()))
    for use in (record.read, lambda _: record.behind({"c": CORESET})):
        with pytest.raises(
            ValueError, match=r"bins/.*/record\.json cannot be read .*remove it, and its stage runs again"
        ):
            use(beside)
    with pytest.raises(ValueError, match=rf"record\.json cannot be read.*Remove it \(rm -r {BINS}\) and run again"):
        record.checksums_of({"bins": BINS})


def test_a_job_ends_with_0_and_a_log_and_the_same_bytes_again(here, small, capfd):
    job = small.job_making(CORESET)
    before = Path(CORESET).read_bytes()
    assert run_job(request_of(small, job)) == 0
    assert Path(CORESET).read_bytes() == before
    assert "10 of 100 images, 0 of them Tobias" in Path("logs/sample.log").read_text(encoding="utf-8")
    assert capfd.readouterr().err == "", "what only the log is told"


def test_a_job_that_fails_ends_with_1_and_one_sentence(here, small, capfd):
    shutil.rmtree("results/demo/digits/data/train")
    Path(CORESET).with_name("record.json").unlink()
    job = small.job_making(CORESET)
    assert run_job(request_of(small, job)) == 1
    error = capfd.readouterr().err
    assert error.strip().startswith("Error in sample: ")
    assert "(the whole story: logs/sample.log)" in error
    assert "Traceback" not in error
    assert "Traceback" in Path("logs/sample.log").read_text(encoding="utf-8")
    assert not Path(CORESET).with_name("record.json").exists(), "it has not ended"


def test_more_bins_than_images_is_a_sentence(here, small, capfd):
    job = small.job_making(small.file("bin", "bins", AXES))
    options = {"version": 1, "mixture": {"originals": 1.0, "tobias": 0.0}}
    asked = options | {"selector": {"kind": "uniform_bins", "n_bins": 101}}
    assert run_job(request_of(small, job, options=asked)) == 1
    assert "Error in bin: n_bins = 101 is more than the 100 training images: lower it" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda job: sys.exit(3), "its code ended the process with sys.exit(3)"),
        (lambda job: None, f"sample did not write coreset ({CORESET})"),
    ],
    ids=["ends", "idle"],
)
def test_a_job_that_ends_early_or_writes_nothing_is_told_in_a_sentence(here, small, capfd, monkeypatch, act, said):
    Path(CORESET).unlink()
    monkeypatch.setattr(stage("sample"), "run", act, raising=False)
    assert run_job(request_of(small, small.job_making(CORESET))) == 1
    assert f"Error in sample: {said}\n" in capfd.readouterr().err


@pytest.mark.parametrize(("resumes", "said"), [(True, "resumes from what it saved"), (False, "begins from the start")])
def test_a_job_that_is_stopped_ends_with_the_signal(here, small, capfd, monkeypatch, resumes, said):
    monkeypatch.setattr(stage("sample"), "run", lambda job: os.kill(os.getpid(), signal.SIGTERM), raising=False)
    monkeypatch.setattr(stage("sample"), "resumes", resumes, raising=False)
    assert run_job(request_of(small, small.job_making(CORESET))) == 128 + signal.SIGTERM
    assert f"started again, it {said}" in capfd.readouterr().err


@pytest.fixture
def training(here, small, monkeypatch):
    """A training that only counts: its request, and how often it ran."""
    axes = AXES | {"step": "", "draw": "", "trainer": "resnet8"}
    request = request_of(small, small.job_making(small.file("train", "model", axes)))
    ran = []

    def train(job):
        ran.append(job.seed)
        for name in ("model", "training"):
            Path(job.outputs[name]).parent.mkdir(parents=True, exist_ok=True)
            Path(job.outputs[name]).write_text(f"{name} {len(ran)}", encoding="utf-8")
        job.seconds = 7.0

    monkeypatch.setattr(stage("train"), "run", train, raising=False)
    return request, ran


def test_what_was_finished_is_found_again_with_its_record(training, capfd):
    request, ran = training
    assert run_job(request) == 0
    assert record.read(request["output"]["record"])["seconds"] == 7.0
    kept = {name: Path(file).read_text(encoding="utf-8") for name, file in request["output"].items()}
    for file in request["output"].values():  # as Snakemake does before it runs a job again
        Path(file).unlink()
    assert run_job(request) == 0
    assert ran == [0]
    assert {name: Path(file).read_text(encoding="utf-8") for name, file in request["output"].items()} == kept
    assert capfd.readouterr().err == "  train digits 0.1 0 o100/random resnet8: was finished before\n"


def test_another_input_option_or_seed_is_trained_anew(training):
    request, ran = training
    assert run_job(request) == 0
    assert run_job(request | {"log": "logs/other.log", "resources": {"mem_mb": 9}}) == 0
    assert len(ran) == 1, "what a job asks of the machine changes nothing"
    assert run_job(request | {"options": request["options"] | {"batch_size": 3}}) == 0
    assert len(ran) == 2
    by_hand(CORESET, Path(CORESET).read_text(encoding="utf-8") + "\n")
    assert run_job(request) == 0
    assert len(ran) == 3
    assert run_job(request | {"wildcards": request["wildcards"] | {"seed": "1"}}) == 0
    assert ran == [0, 0, 0, 1]


def test_a_record_that_changed_without_its_results_trains_nothing_anew(training):
    """Seconds differ each time that a stage runs."""
    request, ran = training
    assert run_job(request) == 0
    beside = Path(CORESET).with_name("record.json")
    record.write(beside, record.read(beside) | {"seconds": 99})
    assert run_job(request) == 0
    assert len(ran) == 1


def test_a_pipe_in_a_files_place_blocks_nobody(here, small, capfd):
    for file in (BINS, str(Path(BINS).with_name("record.json")), "results/demo/digits/data/train/images.npy"):
        sound = Path(file).read_bytes()
        Path(file).unlink()
        os.mkfifo(file)
        assert run_job(request_of(small, small.job_making(CORESET))) == 1
        assert "not a regular file" in capfd.readouterr().err
        assert {each.kind for each in verify("results/demo", small)} == {"damaged"}
        Path(file).unlink()
        Path(file).write_bytes(sound)


def test_the_processor_and_its_features_are_what_linux_says(monkeypatch, tmp_path):
    record.cpu.cache_clear()
    said = "processor\t: 0\nmodel name\t: A Processor\nflags\t\t: fpu avx2 avx512_bf16\n"
    monkeypatch.setattr(record.Path, "read_text", lambda *_, **__: said)
    assert (record.cpu(), record.cpu_flags()) == ("A Processor", {"fpu", "avx2", "avx512_bf16"})
    monkeypatch.setattr(record.Path, "read_text", lambda *_, **__: "processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert record.cpu_flags() == {"fp", "asimd", "bf16"}
    record.cpu.cache_clear()
