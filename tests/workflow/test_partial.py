"""A partial report: of the runs that there are, without starting one."""

import csv
import json

import pytest

from dqv2.config import load_config
from dqv2.plan import Plan
from dqv2.runtime import record
from tests.conftest import merged

pytestmark = pytest.mark.workflow
TARGETS = ["fig1", "fig2", "fig3", "tableC", "cost"]


@pytest.fixture
def begun(project):
    """A project in which the runs of figure 2 have finished, and no other experiment has one."""
    values = merged("smoke.yaml")
    values["targets"] = TARGETS
    values["experiments"]["cost"]["method"] = ["dq_v2"]
    plan = Plan(load_config(values))
    for i, (run, *_) in enumerate(plan.rows["fig2"]):
        file = project.folder / plan.metrics_of(run)
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"test_accuracy": 50.0 + i, "device": "CPU"}))
        job = plan.job_making(plan.metrics_of(run))
        beside = project.folder / plan.file_of(job, "record")
        beside.parent.mkdir(parents=True)
        done = {"stage": "evaluate", "options": plan.options(job), "wildcards": dict(job.wildcards), "inputs": {}}
        record.write(beside, done | {"outputs": {plan.metrics_of(run): record.checksum(file)}})
    return project


def partial(project, *options):
    config = [f"targets=[{','.join(TARGETS)}]", "experiments={cost: {method: [dq_v2]}}", "partial=true"]
    return project.snakemake(*options, "--config", *config)


def test_the_page_needs_one_finished_run_alone(begun):
    page = "results/smoke/report/index.html"
    partial(begun, page)
    text = (begun.folder / page).read_text()
    assert 'id="fig2"' in text
    assert 'id="tableC"' in text
    assert text.count("PARTIAL: no run has finished") == 2, "tableC and cost"
    assert text.count("PARTIAL: not made yet") == 1, "fig3, whose images are not there"
    assert text.count('src="data:image/png') == 2, "the diagram and figure 2"
    with (begun.folder / "results/smoke/claims.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["verdict"] for row in rows if row["experiment"] == "tableC"} == {"not tested"}
    seeds = {float(row["n"]) for row in rows if row["experiment"] == "fig2" and row["n"]}
    assert seeds == {2.0}, "both seeds were compared, even where they are too few for a verdict"
    assert not list(begun.folder.glob("results/smoke/digits/**/coreset*")), "nothing was selected"


def test_what_has_no_run_yet_is_drawn_as_such(begun):
    made = ["paper_figures/smoke/cost.png", "paper_figures/smoke/tableC_table.md"]
    partial(begun, *made)
    assert all((begun.folder / file).exists() for file in made)
    caption = (begun.folder / "results/smoke/captions/cost_cost.rst").read_text()
    assert "PARTIAL" in caption
