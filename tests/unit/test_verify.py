"""Results are told to be damaged, stale, foreign or orphaned by their records alone."""

import io
import json
import os
import shutil
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import numpy as np
import pytest

from dqv2.cli import main
from dqv2.config import ConfigError
from dqv2.plan.before import require_fresh
from dqv2.plan.verify import asked_of, remove, unnoticed, verify, why_stale
from dqv2.runtime import record
from dqv2.runtime.files import remove as remove_path
from dqv2.runtime.job import run_job
from dqv2.stages import stage
from tests.conftest import make, merged
from tests.damage import BYTES
from tests.jobs import BINS, CORESET, request_of

ROOT = "results/demo"


def kinds(plan=None):
    return {(each.kind, each.file) for each in verify(ROOT, plan)}


def test_sound_results_are_sound(here, small):
    assert kinds() == kinds(small) == set()
    Path(ROOT, "digits/.tmp-1-x").mkdir()
    Path(ROOT, "resume/digits").mkdir(parents=True)
    Path(ROOT, "resume/digits/done.json").write_text("{}", encoding="utf-8")
    assert kinds(small) == set(), "what a killed process left, and what trainings keep for themselves, is no result"


@pytest.mark.parametrize("how", BYTES)
@pytest.mark.parametrize("name", ["images.npy", "objects.npy", "manifest.csv", "meta.json"])
def test_each_file_of_a_pack_is_looked_at(here, small, name, how):
    pack = f"{ROOT}/digits/data/train"
    BYTES[how](Path(pack, name))
    ((kind, file, what, outputs),) = verify(ROOT, small)
    assert (kind, file) == ("damaged", pack)
    assert what.startswith(f"{pack}/{name} is damaged: its checksum was ")
    assert {pack, f"{ROOT}/digits/data/test", f"{ROOT}/digits/data/record.json"} < set(outputs)


def test_each_kind_is_found(here, small):
    Path(CORESET).unlink()
    Path(ROOT, "digits/mine.txt").write_text("mine", encoding="utf-8")
    beside = Path(BINS).with_name("record.json")
    beside.write_text(beside.read_text().replace('"bin"', '"bim"'))
    shutil.copytree(Path(CORESET).parent, Path(CORESET).parents[1] / "seed-1")
    copied, mine = CORESET.replace("seed-0/coreset.csv", "seed-1/record.json"), f"{ROOT}/digits/mine.txt"
    expected = {("gone", CORESET), ("damaged", str(beside)), ("foreign", mine)}
    assert kinds() == expected | {("foreign", BINS), ("foreign", copied)}
    assert kinds(small) == expected | {("damaged", copied)}, "there a job of the plan has its record"
    own = str(Path(CORESET).with_name("record.json"))
    assert remove(verify(ROOT, small), ROOT, small) == [BINS, str(beside), own, copied]
    assert kinds(small) == {("foreign", mine)}


def test_what_has_lost_its_record_is_made_anew(here, small):
    """Snakemake does not miss a record that nothing reads."""
    Path(CORESET).with_name("record.json").unlink()
    ((kind, file, what, outputs),) = verify(ROOT, small)
    assert (kind, file, what) == ("damaged", CORESET, "it has no record, so nobody knows what it is")
    assert CORESET in outputs


def other_plan(**digits):
    values = merged("demo.yaml")
    values["datasets"]["digits"] |= {"train": 100, "validation": 20, "test": 20} | digits
    return values


def test_only_what_differs_in_a_block_of_options_is_said(here, small):
    job = small.job_making(BINS)
    options = small.options(job)
    kept = {"outputs": [BINS], "options": options | {"selector": options["selector"] | {"kind": "gc", "n_bins": 10}}}
    changed = 'selector.kind was "gc" and is "random"; selector.n_bins was 10 and is not there'
    assert why_stale(small, kept) == f"it was made with other options: {changed}"


def test_what_was_made_with_other_options_or_of_something_else_is_stale(here, small):
    plan = make(other_plan(test=30))
    ((kind, file, what, outputs),) = verify(ROOT, plan)
    assert (kind, file) == ("stale", f"{ROOT}/digits/data/record.json")
    assert what == "it was made with other options: test was 20 and is 30"
    # The pack made anew, and nothing after it
    pixels = np.load(f"{ROOT}/digits/data/train/images.npy")
    plan = make(other_plan(size=40))
    for each in outputs:
        shutil.rmtree(each) if Path(each).is_dir() else Path(each).unlink()
    assert run_job(request_of(plan, plan.job_making(f"{ROOT}/digits/data/train"))) == 0
    assert pixels.shape != np.load(f"{ROOT}/digits/data/train/images.npy").shape
    beside = {name: str(Path(name).with_name("record.json")) for name in (BINS, CORESET)}
    assert kinds(plan) == {("stale", file) for file in beside.values()}
    assert {each.what for each in verify(ROOT, plan)} == {f"it was made from another {ROOT}/digits/data/train"}


def test_another_version_of_a_stage_is_stale_and_a_job_that_is_no_more_is_orphaned(here, small, monkeypatch):
    monkeypatch.setattr(small.job_making(BINS).stage, "version", 99)
    ((kind, file, what, _),) = verify(ROOT, small)
    assert (kind, file) == ("stale", str(Path(BINS).with_name("record.json")))
    assert what == f"it was made with other options: version was {record.read(file)['version']} and is 99"
    values = other_plan()
    values["targets"] = ["table1"]
    values["experiments"]["table1"] = {"method": ["gc"], "table": values["experiments"]["table1"]["table"]}
    found = {(each.kind, each.file) for each in verify(ROOT, make(values))}
    assert found == {("orphaned", str(Path(name).with_name("record.json"))) for name in (BINS, CORESET)}


def test_what_snakemake_has_no_notes_of_is_looked_at_before_a_run(here, small):
    plan = make(other_plan(test=30))
    notes = Path(".snakemake/metadata")
    assert unnoticed(small, notes) == []
    (found,) = unnoticed(plan, notes)
    assert found == f"{ROOT}/digits/data/record.json: it was made with other options: test was 20 and is 30"
    # Snakemake's names for them; the base64 of the paths
    notes.mkdir(parents=True)
    files = [file for file in Path(ROOT, "digits/data").iterdir() if file.is_file()]
    kept = [notes / urlsafe_b64encode(str(file).encode()).decode() for file in files]
    assert "cmVzdWx0cy9kZW1vL2RpZ2l0cy9kYXRhL3JlY29yZC5qc29u" in {note.name for note in kept}
    for note in kept:
        note.write_text('{"params": []}')
    assert unnoticed(plan, notes) == [], "then Snakemake sees to it"
    for note in kept:
        note.write_bytes(b"")  # as after a loss of power
        assert unnoticed(plan, notes) == [found]
        note.write_text('{"params": []}')


def test_what_was_made_from_what_is_gone_with_its_record_is_told_before_a_run(here, small):
    """A copy without the large files: the options of a pack that is not there cannot be compared."""
    shutil.rmtree(f"{ROOT}/digits/data")
    lost = f"{ROOT}/digits/data/record.json of what it was made from is gone"
    assert {each.partition(", so")[0] for each in unnoticed(small)} == {
        f"{Path(file).with_name('record.json')}: {lost}" for file in (BINS, CORESET)
    }
    note = Path(".snakemake/metadata", urlsafe_b64encode(f"{ROOT}/digits/data/record.json".encode()).decode())
    note.parent.mkdir(parents=True)
    note.write_text('{"params": []}', encoding="utf-8")
    assert unnoticed(small) == [], "then Snakemake compares them"


def test_a_run_that_was_copied_is_looked_at_before_it_is_taken_for_another(here, small):
    shutil.copytree(ROOT, "results/other")
    values = other_plan() | {"run": "other"}
    found = unnoticed(make(values))
    assert len(found) == 3
    assert all("as of a run that was copied" in each for each in found)
    Path("results/other/config.json").write_text(json.dumps(other_plan()), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"of the run 'demo', .* or make all of it again \(snakemake --forceall"):
        asked_of("results/other")


def test_results_behind_a_link_are_looked_at_and_not_taken_for_lost(here, small):
    Path("elsewhere").mkdir()
    Path(ROOT, "digits").rename("elsewhere/digits")
    Path(ROOT, "digits").symlink_to(Path("elsewhere/digits").absolute())
    Path("elsewhere/digits/round").symlink_to(Path("elsewhere/digits").absolute())
    assert kinds(small) == set()
    BYTES["flipped"](Path(BINS))
    assert kinds(small) == {("damaged", BINS)}


def test_what_lies_in_a_folder_beside_what_its_job_wrote_is_foreign(here, small):
    pack = Path(ROOT, "digits/data/train")
    (pack / "more").mkdir()
    (pack / "more/0001.png").write_bytes(b"an image that a reader of the folder would take")
    (pack / "again").symlink_to(".")
    os.mkfifo(pack / "pipe")
    (pack / ".snakemake_timestamp").touch()
    strange = {("foreign", f"{pack}/{name}") for name in ("more/0001.png", "again", "pipe")}
    assert kinds() == kinds(small) == strange
    assert remove(verify(ROOT, small), ROOT, small) == []


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_an_original_that_changed_behind_a_link_is_no_damage_of_the_coreset(tmp_path, monkeypatch, capsys, how):
    monkeypatch.chdir(tmp_path)
    axes = {"dataset": "own", "selection": "o100/random", "keep": "0.1", "step": "", "seed": "0", "form": "links-png"}
    folder, kept = (f"results/own/{stage('export').writes[name]}".format_map(axes) for name in ("folder", "record"))
    for name in ("a", "b"):
        image = tmp_path / f"set/{name}.png"
        image.parent.mkdir(exist_ok=True)
        image.write_bytes(name.encode())
        Path(folder, "images").mkdir(parents=True, exist_ok=True)
        Path(folder, f"images/{name}.png").symlink_to(image)
    Path(folder, "ids.csv").write_text("id", encoding="utf-8")
    Path(kept).parent.mkdir(parents=True)
    facts = {"stage": "export", "options": {}, "wildcards": axes, "inputs": {}}
    record.write(kept, facts | record.written({"folder": folder, "record": kept}))
    assert list(verify("results/own")) == []
    image = tmp_path / "set/b.png"
    image.write_bytes(b"another") if how == "changed" else image.unlink()
    (found,) = verify("results/own")
    assert found[:2] == ("changed", f"{folder}/images/b.png")
    assert f"1 image to which this coreset links changed or went after packing, the first is {image}: " in found.what
    assert "add --forcerun results/own/own/data/options.json to the command of the run" in found.what
    assert remove([found], "results/own") == []
    Path("config.yaml").write_text("run: other", encoding="utf-8")
    assert main(["verify", "results/own", "--remove"]) == 1
    assert "0 foreign, 1 changed, 0 gone" in capsys.readouterr().out
    assert Path(folder, "ids.csv").exists()
    Path(folder, "ids.csv").write_text("di", encoding="utf-8")
    assert {each.kind for each in verify("results/own")} == {"changed", "damaged"}, "its own files are looked at too"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_file_whose_name_is_in_no_encoding_is_named(here, monkeypatch, encoding):
    Path(ROOT, "config.json").write_text(json.dumps(other_plan()), encoding="utf-8")
    Path(ROOT, os.fsdecode(b"digits/\xff.txt")).touch()
    said = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", said)
    assert main(["verify", ROOT]) == 1
    assert b"foreign (1):\n  results/demo/digits/\\udcff.txt\n" in said.buffer.getvalue()


@pytest.mark.parametrize("place", [CORESET, BINS.replace("bins.csv", "record.json"), f"{ROOT}/digits/bins"])
def test_what_may_not_be_read_is_named_and_nothing_is_removed(here, small, capsys, monkeypatch, place):
    def denied(function):
        def asked(path, *more, **options):
            if str(path) == place:
                raise PermissionError(13, "Permission denied", place)
            return function(path, *more, **options)

        return asked

    Path(ROOT, "config.json").write_text(json.dumps(other_plan()), encoding="utf-8")
    before, scandir = sorted(Path(ROOT).rglob("*")), os.scandir
    monkeypatch.setattr(os, "scandir", denied(os.scandir))
    monkeypatch.setattr(record, "load_json", denied(record.load_json))
    monkeypatch.setattr(record, "checksum", denied(record.checksum))
    assert main(["verify", ROOT, "--remove"]) == 1
    assert capsys.readouterr().err.startswith(f"{place} cannot be read or written: change its permissions")
    with pytest.raises(PermissionError):
        list(verify(ROOT, small))
    monkeypatch.setattr(os, "scandir", scandir)
    assert sorted(Path(ROOT).rglob("*")) == before


def test_a_linked_output_is_removed_and_not_what_it_leads_to(here, small):
    Path(BINS).rename("elsewhere.csv")
    Path(BINS).symlink_to(Path("elsewhere.csv").absolute())
    BYTES["flipped"](Path(BINS))
    remove(verify(ROOT, small), ROOT, small)
    assert not Path(BINS).is_symlink()
    assert Path("elsewhere.csv").exists()


def test_what_was_made_from_what_is_removed_goes_with_it(here, small):
    """Snakemake makes nothing that is missing between two files that are there."""
    BYTES["flipped"](Path(BINS))
    assert set(remove(verify(ROOT, small), ROOT, small)) == {
        str(Path(file).with_name(name)) for file in (BINS, CORESET) for name in (Path(file).name, "record.json")
    }


def test_a_removal_that_is_cut_off_goes_on_where_it_was(here, small, monkeypatch, tmp_path):
    """Were what is stale gone, nothing would tell that what was made from it is."""
    monkeypatch.setattr(small.job_making(BINS).stage, "version", 99)
    kept, left = tmp_path / "kept", []

    def until_killed(path):
        if not left.pop():
            raise KeyboardInterrupt
        remove_path(path)

    shutil.copytree(ROOT, kept)
    everything = remove(verify(ROOT, small), ROOT, small)
    assert {BINS, CORESET} < set(everything)
    for moment in range(len(everything)):
        shutil.rmtree(ROOT)
        shutil.copytree(kept, ROOT)
        left[:] = [False, *[True] * moment]
        with monkeypatch.context() as patch:
            patch.setattr("dqv2.plan.verify.remove_path", until_killed)
            found = list(verify(ROOT, small))
            with pytest.raises(KeyboardInterrupt):
                remove(found, ROOT, small)
        remove(verify(ROOT, small), ROOT, small)
        assert not [file for file in everything if Path(file).exists()], moment


def test_what_somebody_removed_is_told_though_its_record_went_with_it(here, small):
    shutil.rmtree(Path(BINS).parent)
    ((kind, file, what, _),) = verify(ROOT, small)
    assert (kind, file, what) == ("gone", BINS, f"it is not there, and {Path(CORESET).parent} was made from it")


def test_a_record_of_another_job_is_no_input(here, small):
    """Costs are read from records alone."""
    beside = Path(BINS).with_name("record.json")
    shutil.copyfile(Path(CORESET).with_name("record.json"), beside)
    with pytest.raises(ValueError, match=r"is the record of other files than those next to it\. Remove it"):
        record.checksums_of({"records": [str(beside)]})


def test_what_jobs_are_about_to_read_must_not_be_stale(here, small):
    """An older backup with its record: the job itself would take it for sound."""
    sample, bins = small.job_making(CORESET), small.job_making(BINS)
    require_fresh(small, [sample])
    beside = Path(BINS).with_name("record.json")
    sound = record.read(beside)
    record.write(beside, sound | {"options": sound["options"] | {"version": 1}})
    with pytest.raises(ValueError, match=r"results that are read are stale .*dqv2 verify results/demo") as error:
        require_fresh(small, [sample])
    assert str(error.value).endswith(
        f"{BINS} is stale: it was made with other options: version was 1 and is {bins.stage.version}."
    )
    require_fresh(small, [bins, sample])  # they are made anew
    inputs = {name: [each | {"checksum": "0" * 32} for each in found] for name, found in sound["inputs"].items()}
    record.write(beside, sound | {"inputs": inputs})
    with pytest.raises(ValueError, match=r"bins\.csv is stale: it was made from another .*/data/train"):
        require_fresh(small, [sample])


def test_the_command_says_what_it_found_and_removes_what_is_to_be_made_anew(here, small, capsys, monkeypatch):
    values = other_plan()
    Path("config.yaml").write_text(json.dumps(values), encoding="utf-8")
    Path("config").mkdir()
    Path("config/other.yaml").write_text("run: other", encoding="utf-8")
    assert main(["verify", "results/demo/"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "there is no results/demo/config.json: name a configuration to see what is stale for its options, or orphaned",
        "results/demo: 3 records, all files as they were written",
    ]
    assert main(["verify", ROOT, "config.yaml"]) == 0
    assert "all files as they were written and as configured" in capsys.readouterr().out
    Path(ROOT, "config.json").write_text(json.dumps(other_plan(test=30)), encoding="utf-8")  # as --config had it
    assert main(["verify", ROOT]) == 1
    out = capsys.readouterr().out
    assert "compared with results/demo/config.json, the configuration of its last run" in out
    assert "test was 20 and is 30" in out
    Path(ROOT, "config.json").unlink()
    BYTES["flipped"](Path(BINS))
    assert main(["verify", ROOT]) == 1
    out = capsys.readouterr().out
    assert f"damaged (1):\n  {BINS}\n      {BINS} is damaged: its checksum was" in out
    assert "results/demo: 3 records; 1 damaged, 0 stale, 0 foreign, 0 changed, 0 gone, 0 orphaned" in out
    assert "what is gone" not in out
    Path(BINS).unlink()
    assert main(["verify", ROOT]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-2].endswith("1 gone, 0 orphaned")
    assert out[-1] == "what is gone is made again where a job needs it; to have it back now, give Snakemake its path"
    Path(BINS).write_bytes(b"damaged")
    lock = Path(".snakemake/locks/0.output.lock")
    lock.parent.mkdir(parents=True)
    lock.write_text(f"paper_figures/demo/a.pdf\n{BINS}\n", encoding="utf-8")
    assert main(["verify", ROOT, "--remove"]) == 1
    assert "a run is writing results/demo: wait until it ends; if it was killed, repeat" in capsys.readouterr().err
    lock.write_text(BINS.replace("/demo/", "/demo2/"), encoding="utf-8")
    assert main(["verify", ROOT, "--remove"]) == 0
    assert "removed 4 files and folders: of 1 job, and what was made from them" in capsys.readouterr().out
    assert not Path(BINS).exists()
    assert not Path(CORESET).exists()
    assert main(["verify", ROOT]) == 0
    assert main(["verify", ROOT, "--config", "datasets={digits: {test: 30}}"]) == 1
    assert "test was 20 and is 30" in capsys.readouterr().out
    assert main(["verify", ROOT, "config/other.yaml"]) == 1
    assert "config/other.yaml is of the run 'other', not of results/demo" in capsys.readouterr().err
    assert main(["verify", "results/nothing"]) == 1
    assert "no run is in results/nothing: name a folder results/<run>" in capsys.readouterr().err


def test_a_run_that_begins_while_checksums_are_computed_keeps_what_it_writes(here, monkeypatch, capsys):
    Path(BINS).write_bytes(b"half")

    def begun(*_):
        Path(".snakemake/locks").mkdir(parents=True)
        Path(".snakemake/locks/0.output.lock").write_text(f"{BINS}\n", encoding="utf-8")
        return verify(ROOT)

    monkeypatch.setattr("dqv2.plan.verify.verify", begun)
    assert main(["verify", ROOT, "--remove"]) == 1
    assert "a run is writing results/demo" in capsys.readouterr().err
    assert Path(BINS).exists()
