"""What a job leaves of itself, and what is done around its work: exit code, log, record, resume state."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from dqv2.runtime import record
from dqv2.runtime.files import write_json
from dqv2.runtime.job import run_job
from dqv2.runtime.logging import logger
from dqv2.stages import stage
from tests.conftest import make, merged

AXES = {"dataset": "digits", "selection": "o100/random", "keep": "0.1", "seed": "0"}


def request_of(plan, job, **more):
    """What a script hands over."""
    return {
        "stage": job.stage.name,
        "input": plan.reads(job),
        "output": {name: plan.file_of(job, name) for name in job.stage.writes},
        "options": plan.options(job),
        "wildcards": dict(job.wildcards),
        "threads": 1,
        "resources": {},
        "log": f"logs/{job.stage.name}.log",
        "config": {},
    } | more


@pytest.fixture(scope="module")
def small():
    """The demo on 140 digits."""
    values = merged("demo.yaml")
    values["datasets"]["digits"] |= {"train": 100, "validation": 20, "test": 20}
    return make(values)


@pytest.fixture(scope="module")
def run(tmp_path_factory, small):
    """A folder in which a coreset and all behind it was made: pack, bin, sample."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch, _as_before():
        patch.chdir(folder)
        for job in small.jobs([small.file("sample", "coreset", AXES)]):
            assert run_job(request_of(small, job)) == 0
    return folder


class _as_before:
    """A job limits the threads of its process and takes its log: not those of the tests."""

    def __enter__(self):
        self.threads, self.env = torch.get_num_threads(), dict(os.environ)

    def __exit__(self, *_):
        torch.set_num_threads(self.threads)
        os.environ.clear()
        os.environ.update(self.env)
        logger.handlers.clear()
        logger.propagate = True


@pytest.fixture
def here(run, tmp_path, monkeypatch):
    """A copy of that folder to break."""
    shutil.copytree(run, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    with _as_before():
        yield Path()


CORESET = "results/demo/digits/coreset/o100/random/keep-0.1/seed-0/coreset.csv"
BINS = "results/demo/digits/bins/o100/random/seed-0/bins.csv"


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


def test_checksums_come_from_records_and_are_computed_where_there_is_none(here):
    Path("mine.txt").write_text("mine", encoding="utf-8")
    was = record.checksum(BINS)
    Path(BINS).write_text("damaged", encoding="utf-8")
    os.utime(BINS, (0, 0))  # a newer one is not taken for what its record says
    found = record.checksums_of({"bins": BINS, "others": ["mine.txt"], "none": []})
    assert found["bins"][0]["checksum"] == was, "nobody reads a large file again to know it"
    assert found["others"] == [{"file": "mine.txt", "checksum": record.checksum("mine.txt")}]
    assert found["none"] == []
    Path(BINS).with_name("record.json").unlink()
    assert record.checksums_of({"bins": BINS})["bins"] == [{"file": BINS, "checksum": record.checksum(BINS)}]


def test_behind_a_file_are_the_jobs_of_its_chain_in_their_order(here):
    found = record.behind({"coreset": CORESET, "train": ["results/demo/digits/data/train"]})
    assert [each["stage"] for each in found] == ["pack", "bin", "sample"]
    assert found[1]["options"]["selector"] == {"kind": "random"}
    assert all({"wildcards", "options", "versions", "commit", "device"} <= each.keys() for each in found)
    assert record.behind({"other": "mine.txt"}) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"seconds": 1}'])
def test_a_damaged_record_is_named_with_what_to_do(here, text):
    beside = Path(BINS).with_name("record.json")
    beside.write_text(text)
    for use in (record.read, lambda _: record.checksums_of({"bins": BINS}), lambda _: record.behind({"c": CORESET})):
        with pytest.raises(
            ValueError, match=r"bins/.*/record\.json cannot be read .*remove it, and its stage runs again"
        ):
            use(beside)


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


def test_a_job_that_is_stopped_ends_with_the_signal(here, small, capfd, monkeypatch):
    monkeypatch.setattr(stage("sample"), "run", lambda job: os.kill(os.getpid(), signal.SIGTERM), raising=False)
    assert run_job(request_of(small, small.job_making(CORESET))) == 128 + signal.SIGTERM
    assert "started again it goes on from what it kept" in capfd.readouterr().err


@pytest.fixture
def training(here, small, monkeypatch):
    """A training that only counts: its request, and how often it ran."""
    axes = AXES | {"step": "", "draw": "", "trainer": "resnet8"}
    request = request_of(small, small.job_making(small.file("train", "model", axes)))
    ran = []

    def train(job):
        ran.append(job.seed)
        for name in ("model", "training"):
            Path(job.output[name]).parent.mkdir(parents=True, exist_ok=True)
            Path(job.output[name]).write_text(f"{name} {len(ran)}", encoding="utf-8")
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
    beside = Path(CORESET).with_name("record.json")
    kept = json.loads(beside.read_text())
    kept["outputs"][CORESET] = "0" * 32
    beside.write_text(json.dumps(kept))
    assert run_job(request) == 0
    assert len(ran) == 3
    assert run_job(request | {"wildcards": request["wildcards"] | {"seed": "1"}}) == 0
    assert ran == [0, 0, 0, 1]


def test_a_record_that_changed_without_its_results_trains_nothing_anew(training):
    """Seconds differ each time that a stage runs."""
    request, ran = training
    assert run_job(request) == 0
    beside = Path(CORESET).with_name("record.json")
    beside.write_text(json.dumps(json.loads(beside.read_text()) | {"seconds": 99}))
    assert run_job(request) == 0
    assert len(ran) == 1


def test_an_input_that_was_changed_by_hand_is_not_taken_for_what_its_record_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/try/digits/bins/o100/random/seed-0"
    folder.mkdir(parents=True)
    file = "results/try/digits/bins/o100/random/seed-0/bins.csv"
    (tmp_path / file).write_text("as it was made\n")
    made = record.checksum(file)
    write_json(folder / "record.json", {"stage": "bin", "outputs": {file: made}})
    os.utime(file, (0, 0))
    (found,) = record.checksums_of({"bins": file})["bins"]
    assert (found["checksum"], found["record"]) == (made, record.checksum(folder / "record.json"))
    (tmp_path / file).write_text("changed since\n")
    os.utime(folder / "record.json", (0, 0))
    (found,) = record.checksums_of({"bins": file})["bins"]
    assert found["checksum"] == record.checksum(file) != made
