"""`dqv2 plan`: jobs, what an experiment is, and one sentence where something is wrong."""

import os
import re
import subprocess
import sys
from collections import Counter

import pytest
from snakemake.cli import parse_config

from dqv2.cli import main
from dqv2.config.files import from_entries
from tests.conftest import ROOT, make, merged


@pytest.fixture
def plan(capsys, monkeypatch):
    """The command: its exit code, what it prints, what it says is wrong."""
    monkeypatch.chdir(ROOT)

    def run(*words):
        code = main(["plan", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_jobs_with_and_without_sharing(plan):
    code, out, _ = plan()
    assert code == 0
    lines = out.splitlines()
    assert "experiments ask for 1045 trainings, 740 of them different" in lines[0]
    assert lines[1].split() == ["stage", "jobs", "without", "sharing"]
    assert lines[-1].split() == ["all", "2,959", "9,690"]


def test_a_module_of_its_own():
    command = [sys.executable, "-m", "dqv2", "plan", "config/demo.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    shared, apart = (int(text.replace(",", "")) for text in done.stdout.splitlines()[-1].split()[1:])
    assert 0 < shared < apart


def test_an_arm_is_shown_with_its_backbone_and_what_the_paper_reports_with_its_source(plan):
    code, out, _ = plan("show", "table2")
    assert code == 0
    arms = {block.splitlines()[0]: block for block in out.split("\n\n")}
    for name in ("GraphCut (method gc)", "DQ (method dq)"):
        assert "backbone pre-trained ResNet-50 (resnet50.tv_in1k)" in arms[name]
    assert "importance by pre-trained ResNet-18 (resnet18.tv_in1k)" in arms["DQ (method dq)"]
    assert "the paper: 52.77 (table 2, which has it from Zhao et al. 2024)" in out
    assert "the paper: 53.12 (table 2)" in out
    assert "the paper: 57.67 ± 1.20 (section 4.2)" in plan("show", "vit")[1]
    assert "the paper: 72.136 ± 1.092 (section 4.3)" in plan("show", "table3_imagenette")[1]
    assert "backbone early-trained ResNet-50," not in arms["DQ (method dq)"]
    assert "backbone early-trained ResNet-50" in arms["DQ_V2 (method dq_v2)"]


def test_an_experiment_is_shown_with_its_arms_runs_paths_and_jobs(plan, demo):
    code, out, _ = plan("show", "fig5b", "config/demo.yaml")
    assert code == 0
    assert out.startswith("fig5b: ")
    assert "makes results/demo/experiments/fig5b.csv, paper_figures/demo/fig5b.pdf, paper_figures/demo/fig5b.png" in out
    assert "from results/demo/experiments/fig5b.csv (rule collect)" in out
    rows = make(demo).rows["fig5b"]
    for title in {row.title for row in rows}:
        assert re.search(rf"^{re.escape(title)}( \(method \w+\))?$", out, re.M)
    for run in {row.run for row in rows if row.run.seed == 0}:
        assert make(demo).metrics_of(run) in out
        if size := run.selection.tobias_size:
            assert f"mask early, Tobias size {size}, " in out
    assert re.search(r"^    sample +the same share of every bin: 10 % of .*<- .*bin", out, re.M)
    assert "one of them: snakemake --cores 1 results/demo/digits/train/" in out
    (total, parts) = re.search(r"^(\d+) jobs: (.*)$", out, re.M).groups()
    assert int(total) == sum(int(count) for count in re.findall(r"(\d+) \w+", parts))
    assert int(re.search(r"(\d+) train\b", parts)[1]) == len({row.run for row in rows})


@pytest.mark.parametrize("name", ["fig1", "fig3", "fig5a", "table1", "mask_overlap", "cost"])
def test_each_kind_of_experiment_can_be_shown(plan, name):
    code, out, error = plan("show", name, "config/demo.yaml")
    assert (code, error) == (0, "")
    assert out.startswith(f"{name}: ")


JOB_OF = re.compile(r"^    (\w+)", re.M)


@pytest.mark.parametrize("file", [None, "config/smoke.yaml", "config/folder.yaml", "config/own_images.yaml"])
def test_the_jobs_shown_are_those_that_snakemake_runs_for_it(plan, file):
    """`test_dag` compares the walk from the targets with Snakemake."""
    files = [file] if file else []
    planned = make(merged(*(each.removeprefix("config/") for each in files)))
    for name in planned.rows:
        code, out, _ = plan("show", name, *files)
        assert code == 0
        expected = Counter(job.stage.name for job in planned.jobs(planned.targets([name])))
        total, parts = re.search(r"^(\d+) jobs?: (.*)$", out, re.M).groups()
        counts = {stage: int(count) for count, stage in re.findall(r"(\d+) (\w+)", parts)}
        assert (int(total), counts) == (expected.total(), expected), name
        assert set(JOB_OF.findall(out)) == set(expected), f"{name}: every stage of the jobs is listed, and no other"
        assert ("trainer " in out.replace("trainer's", "")) == ("train" in expected or name == "fig1"), name


def test_what_the_page_on_debugging_shows_of_an_experiment_is_printed(plan):
    page = (ROOT / "docs/debug.md").read_text(encoding="utf-8")
    words, shown = re.search(r"\n    \$ dqv2 plan (show .*)\n((?:    .*\n|\n)+)", page).groups()
    _, out, _ = plan(*words.split())
    for line in filter(None, shown.splitlines()):
        assert f"\n{line[4:].removesuffix('...')}" in f"\n{out}", "the page shortens lines and leaves some out by ..."


def test_a_run_of_coresets_is_counted_with_its_exports(plan):
    code, out, _ = plan("config/own_images.yaml")
    assert code == 0
    assert re.search(r"^export +1 +1$", out, re.M)
    assert out.splitlines()[-1].split() == ["all", "8", "8"]
    _, out, _ = plan("show", "coreset", "config/own_images.yaml")
    arm = out.split("\n\n")[1]
    stages = ["pack", "early_train", "saliency", "augment", "features", "bin", "sample", "export"]
    assert JOB_OF.findall(arm) == stages
    assert "    export      a list of ids, and a folder of links to the images   <- pack, sample, augment" in arm
    assert "resnet50" not in out
    assert re.search(r"one of them: snakemake --cores 1 results/own/\S+/export-links-png ", out)


def test_values_are_read_as_those_of_snakemake(plan, tmp_path):
    entries = ["run=own2", "seeds=[0, 1]", "threads=2", "partial=True", "label=", "x1=1e-2", "x2='a b'", "x3=a: [b"]
    entries += ["datasets={own: {path: my images, size: 32}}", "datasets={own: {title: mine}}", "x4=1=2"]
    assert from_entries(entries) == parse_config(entries)
    code, out, _ = plan(
        "show", "coreset", "config/own_images.yaml", "--config", "run=own2", "defaults={tobias_size: 4}"
    )
    assert code == 0
    assert "makes results/own2/own/coreset/o100_t50/mask-early/tobias-4/" in out
    assert "--configfile config/own_images.yaml --config run=own2 'defaults={tobias_size: 4}'" in out
    for wrong in ("run", "=1", "1a=1"):
        code, _, error = plan("--config", wrong)
        assert (code, error.split(":")[0]) == (1, f"--config {wrong}")


def test_elsewhere_the_configuration_of_the_checkout_is_used(plan, tmp_path, monkeypatch):
    """As `snakemake -s CHECKOUT/Snakefile` uses it."""
    monkeypatch.chdir(tmp_path)
    code, out, said = plan("show", "coreset", str(ROOT / "config/own_images.yaml"))
    assert code == 0
    assert said == f"using {ROOT}/config.yaml, as there is no config.yaml here\n"
    assert re.search(rf"^one of them: snakemake --cores 1 results/own/\S+ -s {ROOT}/Snakefile --configfile", out, re.M)
    monkeypatch.setattr("dqv2.__file__", str(tmp_path / "lib/python3/dqv2/__init__.py"))  # a library without a checkout
    assert plan() == (1, "", "There is no config.yaml here: run dqv2 in the project's folder.\n")


def test_an_experiment_that_is_no_target_can_be_shown(plan, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("targets: [fig4b]\n")
    code, out, _ = plan("show", "fig5b", "config/demo.yaml", str(overlay))
    assert code == 0
    assert "paper_figures/demo/fig5b.pdf" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show", "fig5c"], "'fig5c' is not a block under experiments; there are: fig1, "),
        (["show"], "name an experiment: dqv2 plan show fig5b"),
        (["config/none.yaml"], "There is no config/none.yaml.\n"),
        (["config.yaml/none.yaml"], "There is no config.yaml/none.yaml.\n"),
    ],
)
def test_a_mistake_is_one_sentence(plan, words, sentence):
    code, out, error = plan(*words)
    assert (code, out) == (1, "")
    assert sentence in error
    assert len(error.strip().splitlines()) <= 2, "a heading, and what is wrong"
    assert "Traceback" not in error


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_has_seen_enough_is_no_error(buffered):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    env |= {"PYTHONPATH": str(ROOT / "src")} | ({} if buffered else {"PYTHONUNBUFFERED": "1"})
    command = [sys.executable, "-m", "dqv2", "stages"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        process.stdout.close()  # as `head` does
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_a_closed_output_is_no_error(plan, monkeypatch):
    """`dqv2 plan >&-`: Python then has no sys.stdout."""
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["plan", "config/smoke.yaml"]) == 0


@pytest.mark.parametrize("words", [["schema"], ["stages"], ["stages", "accept"]])
def test_descriptions_are_not_written_without_docstrings(tmp_path, words):
    """Else config/schema.json would lack them, and docs/stages.md be of others."""
    for file in ("config/schema.json", "docs/stages.md"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text("as before")
    command = [sys.executable, "-OO", "-B", "-m", "dqv2", *words]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().endswith("unset PYTHONOPTIMIZE, or drop -OO.")
    assert {file.read_text() for file in tmp_path.rglob("*.*")} == {"as before"}


def test_wall_time_is_for_the_cores_that_snakemake_takes_for_all(plan, monkeypatch):
    """Those of a cluster's job or of taskset, not the machine's."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    assert "wall time on 1 core (" in plan("config/smoke.yaml", "--cost", "--device", "cpu")[1]
