"""Claims, numbers, costs and the page of a run that really ran; what Snakemake's own report says."""

import csv
import json
import re
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from dqv2.config import load_config
from dqv2.plan import Plan
from dqv2.plan.count import jobs_behind
from tests.conftest import merged
from tests.unit.test_paper_page import Page

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def plan():
    return Plan(load_config(merged("smoke.yaml")))


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_plan_counts_what_snakemake_counts(listed, plan):
    waiting = Counter(job.rule for job in listed if job.rule != "all")
    assert waiting == Counter(job.stage.name for job in plan.jobs(plan.targets()))
    behind = Counter(job.stage.name for job in jobs_behind(plan)[0])
    assert behind == {name: waiting[name] for name in behind}


def test_the_diagram_has_the_arrows_of_snakemakes_own_graph(project, plan):
    run = next(run for run, _, method in plan.rows["fig4b"] if method == "dq")
    text = project.snakemake(plan.metrics_of(run), "--rulegraph").stdout
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', text))
    theirs = {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", text)}
    jobs = plan.jobs([plan.metrics_of(run)])
    ours = {(read.stage.name, job.stage.name) for job, reads in jobs.items() for read in reads}
    # Snakemake leaves out an arrow that a longer way implies, or not; the stages and the ways are the same
    assert {stage for arrow in ours for stage in arrow} == {stage for arrow in theirs for stage in arrow}
    assert theirs <= ours
    assert ours - theirs <= {(a, b) for a, b in ours if _way(a, b, ours - {(a, b)})}


def _way(start, end, arrows):
    reached, new = {start}, {start}
    while new:
        new = {b for a, b in arrows if a in new} - reached
        reached |= new
    return end in reached


def test_every_claim_has_a_verdict_and_says_that_this_is_a_test(smoke):
    rows = rows_of(smoke.folder / "results/smoke/claims.csv")
    assert {row["claim"] for row in rows} == {str(i) for i in range(1, 11)}
    assert {row["scale"] for row in rows} == {"smoke test"}
    assert {row["paper_data"] for row in rows if row["verdict"] != "not tested"} == {"False"}
    assert "not tested" in {row["verdict"] for row in rows if "CIFAR" in row["says"]}
    costs = [row for row in rows if row["experiment"] == "cost"]
    assert [row["minus"] for row in costs] == ["", "early_seconds"]
    assert float(costs[0]["value_against"]) > 0
    text = (smoke.folder / "results/smoke/claims.md").read_text()
    assert text.count("\n## ") == 10
    assert "smoke test" in text


def test_the_costs_are_those_of_the_stages(smoke):
    rows = rows_of(smoke.folder / "results/smoke/experiments/costs/cost.csv")
    runs = rows_of(smoke.folder / "results/smoke/experiments/cost.csv")
    for method in ("dq", "dq_v2"):
        for run in (run for run in runs if run["method"] == method):
            jobs = [row for row in rows if (row["method"], row["seed"]) == (method, run["seed"])]
            mine = {row["stage"]: row for row in jobs}
            whole = float(mine["whole selection"]["seconds"])
            selects = [float(row["seconds"]) for row in jobs if row["selects"] == "True"]
            assert whole == pytest.approx(sum(selects))
            assert whole == pytest.approx(float(run["selection_seconds"]), abs=1e-2)
            assert float(mine["train"]["seconds"]) > 0
            assert float(mine["early_train"]["memory"]) > 50, "MB"


def test_masks_are_held_against_the_true_ones(smoke):
    rows = rows_of(smoke.folder / "results/smoke/experiments/mask_overlap.csv")
    assert len({row["mask"] for row in rows}) > 3
    assert all(0 < float(row["iou"]) <= 1 for row in rows)
    for seed in {row["seed"] for row in rows}:  # its cells are coarser than the objects: no mask's IoU is 1
        iou = {row["mask"]: float(row["iou"]) for row in rows if row["seed"] == seed}
        assert max(iou, key=iou.get) == "object"


def test_numbers_are_those_of_the_tables(smoke):
    text = (smoke.folder / "paper_figures/smoke/numbers.tex").read_text()
    macros = dict(re.findall(r"\\newcommand\{\\dqv(\w+)\}\{([^}]*)\}", text))
    rows = [row for row in rows_of(smoke.folder / "results/smoke/experiments/fig4b.csv") if row["method"] == "dq_v2"]
    mean = sum(float(row["test_accuracy"]) for row in rows) / len(rows)
    assert float(macros["FigFourBDigitsDqVTwoMean"]) == pytest.approx(mean, abs=0.006)
    assert macros["FigFourBDigitsDqVTwoN"] == "2"
    assert macros["PaperTableTwoTinyImagenetDqVTwoZeroPointOneMean"] == "53.12"


def test_the_page_links_only_what_is_there(smoke, plan):
    path = smoke.folder / "results/smoke/report/index.html"
    page = Page(path.read_text())
    for link in page.links:
        if not link.startswith("#"):
            assert (path.parent / link.replace("%20", " ")).exists(), link
    linked = {(path.parent / link).resolve() for link in page.links if link.endswith("metrics.json")}
    assert linked == {(smoke.folder / plan.metrics_of(run)).resolve() for run in plan.runs}
    assert set(plan.config.targets) <= set(page.ids)
    assert "smoke test" in " ".join(page.texts)


def test_snakemakes_report_holds_everything_with_captions(smoke, tmp_path):
    smoke.snakemake("--report", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        names = archive.namelist()
        text = "".join(
            archive.read(name).decode("utf-8", "replace") for name in names if name.endswith((".html", ".js"))
        )
    for name in (
        "fig1.pdf",
        "fig2.pdf",
        "fig4b.pdf",
        "cost.pdf",
        "table2_table.csv",
        "claims.csv",
        "claims.md",
        "numbers.tex",
        "index.html",
    ):
        assert name in text, name
    caption = next(line for line in text.splitlines() if "experiment fig4b" in line and "DQ against DQ_V2" in line)
    for fact in ("n = 2 seeds", "Scale: smoke test", "CPU", "experiment fig4b"):
        assert fact in caption, fact

    assert "system-message" not in text, "docutils finds a caption faulty"


def test_nothing_that_people_read_has_a_missing_value_in_words(smoke):
    pages = [path for end in ("md", "tex", "rst", "html") for path in smoke.folder.glob(f"results/smoke/**/*.{end}")]
    pages += [*smoke.folder.glob("paper_figures/smoke/*.md"), *smoke.folder.glob("paper_figures/smoke/*.tex")]
    assert {path.suffix for path in pages} == {".md", ".tex", ".rst", ".html"}
    for path in pages:
        text = re.sub(r"base64,[^\"]*", "", path.read_text())
        assert not re.findall(r".*(?<![\w-])(?:nan|NaN|None|inf|NaT|<NA>)(?![\w-]).*", text), path
    for path in smoke.folder.glob("results/smoke/**/*.csv"):
        assert not re.findall(r"(?:^|,)(?:nan|NaN|None|inf|NaT|<NA>)(?=,|$)", path.read_text(), re.M), path


def test_a_new_look_or_caption_draws_anew_and_trains_nothing(smoke):
    of_one = ["fig2: {figure: {title: restyled}}", "table3: {table: {caption: anew}}", "fig1: {about: anew}"]
    waiting = smoke.waiting("--config", f"experiments={{{', '.join(of_one)}}}")
    assert waiting == {"figure": 1, "table": 1, "page": 1}, "of fig2, of table3, and what shows all, with fig1's text"


def test_an_incomplete_experiment_is_refused_by_name_and_a_partial_one_says_so(project, smoke):
    """On a copy of one experiment's results, as though a run had failed for good."""
    name = "experiments/fig2.csv"
    rows = rows_of(smoke.folder / "results/smoke" / name)
    for row in rows:
        target = project.folder / row["metrics"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((smoke.folder / row["metrics"]).read_text())
    for path in smoke.folder.glob("results/smoke/digits/**/record.json"):
        target = project.folder / path.relative_to(smoke.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text())
    lost = project.folder / rows[-1]["metrics"]
    lost.unlink()
    only = ["--allowed-rules", "collect", "figure", "--config", "targets=[fig2]"]
    done = project.snakemake("results/smoke/experiments/fig2.csv", *only, check=False)
    assert done.returncode != 0
    assert rows[-1]["metrics"] in done.stdout + done.stderr
    project.snakemake("paper_figures/smoke/fig2.png", *only, "partial=true")
    assert len(rows_of(project.folder / "results/smoke" / name)) == len(rows) - 1
    caption = (project.folder / "results/smoke/captions/fig2_figure.rst").read_text()
    assert f"PARTIAL\\: 1 of {len(rows)} runs are missing" in caption
    assert json.loads(Path(project.folder / rows[0]["metrics"]).read_text(encoding="utf-8"))
    # The whole partial report starts no stage either
    drawn = set(project.waiting("--config", "partial=true"))
    assert {"collect", "figure", "diagram", "page"} <= drawn
    assert drawn <= {"collect", "figure", "table", "cost", "diagram", "claims", "numbers", "page"}
