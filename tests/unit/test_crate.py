"""A finished run as an RO-Crate that keeps to the profiles of workflow runs."""

import json
import shutil
from pathlib import Path

import pytest
import rocrate
from rocrate.rocrate import ROCrate
from rocrate_validator import models, services

from dqv2.cli import main
from dqv2.runtime import record
from dqv2.runtime.files import write_json
from dqv2.runtime.job import run_job
from tests.conftest import merged
from tests.damage import BYTES
from tests.jobs import BINS, request_of

# As RO-Crate 1.1 has them; the library ships the context of 1.3 alone
ONE_ONE = {
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
}


@pytest.fixture
def finished(here, small):
    """A run with a figure, in a folder without the checkout: Snakemake's --directory, or another workflow's."""
    job = small.job_making(f"{small.figures}/fig1.pdf")
    assert run_job(request_of(small, job)) == 0
    configure()


def configure():
    values = merged("demo.yaml")
    values["datasets"]["digits"] |= {"train": 100, "validation": 20, "test": 20}
    write_json("results/demo/config.json", values)


def validated(folder, severity):
    """What a validator says; without asking for the context in the net."""
    metadata = folder / "ro-crate-metadata.json"
    told = json.loads(metadata.read_text(encoding="utf-8"))
    shipped = json.loads(
        Path(rocrate.__file__).with_name("data").joinpath("ro-crate.jsonld").read_text(encoding="utf-8")
    )
    metadata.write_text(json.dumps(told | {"@context": shipped["@context"] | ONE_ONE}), encoding="utf-8")
    asked = {"profile_identifier": "workflow-run-crate", "requirement_severity": severity, "offline": True}
    result = services.validate(services.ValidationSettings(rocrate_uri=str(folder), **asked))
    return [f"{issue.check.identifier} {issue.message}" for issue in result.get_issues()]


def test_a_crate_has_workflow_configuration_results_and_records(finished, capsys):
    assert main(["crate", "results/demo", "crate"]) == 0
    assert capsys.readouterr().out == "crate: 4 jobs, described in crate/ro-crate-metadata.json\n"
    crate = ROCrate("crate")
    assert crate.mainEntity.id == "Snakefile"
    (action,) = [crate.get("#run")]
    assert action["instrument"] == crate.mainEntity
    assert action["object"].id == "config.json"
    results = {file.id for file in action["result"]}
    assert results == {"paper_figures/demo/fig1.pdf", "paper_figures/demo/fig1.png", "records.jsonl"}
    assert "CPU" in action["description"]
    assert record.cpu() in action["description"]
    for file in results | {"config.json", "LICENSE"}:
        assert Path("crate", file).stat().st_size == int(crate.get(file)["contentSize"])
    assert Path("crate/workflow/rules/select.smk").exists()
    told = [json.loads(line) for line in Path("crate/records.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(each["stage"] for each in told) == ["bin", "diagram", "pack", "sample"]
    ends = [each["ended"] for each in told]
    assert action["startTime"] <= min(ends) <= max(ends) == action["endTime"]
    versions = {each["name"]: each["softwareVersion"] for each in crate.mainEntity["softwareRequirements"]}
    assert versions["torch"] == told[0]["versions"]["torch"]


def test_a_crate_keeps_to_its_profiles(finished):
    assert main(["crate", "results/demo", "crate"]) == 0
    assert validated(Path("crate"), models.Severity.REQUIRED) == []


def test_what_is_not_sound_or_not_finished_is_refused(finished, small, capsys):
    def refused(words):
        assert main(["crate", "results/demo", "crate"]) == 1
        assert words in capsys.readouterr().err
        assert not Path("crate").exists()

    good = Path(BINS).read_bytes()
    BYTES["flipped"](Path(BINS))
    refused(f"1 result damaged or stale, the first is {BINS}: dqv2 verify results/demo")
    Path(BINS).write_bytes(good)
    Path("results/demo/config.json").write_text("", encoding="utf-8")
    refused("results/demo/config.json is gone or damaged: have any job of the run done again, which writes it")
    configure()
    Path("paper_figures/demo/fig1.pdf").unlink()
    refused("paper_figures/demo/fig1.pdf is gone: run Snakemake again, or remove what is left of it")
    shutil.rmtree("results/demo/figures")
    Path("paper_figures/demo/fig1.png").unlink()
    refused("nothing of the run demo is finished: no figure, table or list of claims")
    exported = "results/demo/digits/coreset/o100/random/keep-0.1/seed-0/export-ids"
    job = small.job_making(exported)
    kept = small.file_of(job, "record")
    Path(exported).mkdir(parents=True)
    Path(exported, "ids.csv").write_text("id", encoding="utf-8")
    facts = {"stage": "export", "options": small.options(job), "wildcards": dict(job.wildcards), "inputs": {}}
    record.write(kept, facts | record.written({"folder": exported, "record": kept}))
    refused("the run demo made coresets alone. Archive the exported folder itself: " + exported)
    Path("crate").mkdir()
    assert main(["crate", "results/demo", "crate"]) == 1
    assert "crate is there already" in capsys.readouterr().err
