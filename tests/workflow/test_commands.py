"""Snakemake's own commands do what its manual says, and what changes runs again with what follows it, and no more."""

import csv
import os
import re
import shutil
import textwrap
import time
from collections import Counter

import pytest

from dqv2.config import load_config, read_files
from dqv2.plan import Plan
from dqv2.stages import all_stages
from tests.conftest import ROOT, merged
from tests.workflow.conftest import give

pytestmark = pytest.mark.workflow

GATHERS = {"all", "coresets"}  # the rules that make nothing themselves
CORESETS = "results/smoke/digits/coreset"
TOBIAS = "mask-early/tobias-4"


@pytest.fixture(scope="module")
def plan():
    return Plan(load_config(merged("smoke.yaml")))


@pytest.fixture(scope="module")
def jobs(plan):
    """Every job of the smoke configuration, each with those that it reads."""
    return plan.jobs(plan.targets())


def following(jobs, begin):
    """These jobs, and all that read what they make."""
    found = set(begin)
    for job, reads in jobs.items():  # in an order in which they can run
        if found & set(reads):
            found.add(job)
    return found


def behind(jobs, end):
    """These jobs, and all whose files they read."""
    found = set(end)
    for job, reads in reversed(jobs.items()):
        if job in found:
            found |= set(reads)
    return found


def of(jobs, *stages):
    return [job for job in jobs if job.stage.name in stages]


def counted(jobs):
    return Counter(job.stage.name for job in jobs)


# -- which rules there are --------------------------------------------------------------------------------------------


def test_rules_are_fixed_words_whatever_is_configured_and_whatever_is_there(smoke, project):
    """A rule for each stage, in every configuration; no number, no hash, and none that depends on the disk."""
    expected = set(all_stages()) | GATHERS
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in expected)
    for where, config in ((smoke, "smoke"), (project, "smoke"), (project, "demo"), (project, "own_images")):
        listed = where.snakemake("--list-rules", config=config).stdout.split()
        assert set(listed) == expected, config


def test_a_dry_run_shows_each_jobs_files_and_why_it_runs(listed, plan, jobs):
    listed = [job for job in listed if job.rule != "all"]
    assert len(listed) == len(jobs)
    for job in listed:
        assert {"output", "log", "reason"} <= job.says.keys(), job
        assert job.says["reason"].startswith("Missing output files: "), job
    bins = next(job for job in listed if job.rule == "bin" and "logits" in job.says["input"])
    assert f"input: {plan.root}/digits/data/train, {plan.root}/digits/saliency/" in f"input: {bins.says['input']}"
    assert bins.named("wildcards")["dataset"] == "digits"
    assert bins.seed in "01"


# -- a part of the jobs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["train", "bin"])
def test_until(project, jobs, stage):
    assert project.waiting("--until", stage) == counted(behind(jobs, of(jobs, stage)))


@pytest.mark.parametrize(("option", "stages"), [("--forcerun", ["bin"]), ("-R", ["features", "score"])])
def test_forcerun(smoke, jobs, option, stages):
    waiting = smoke.waiting(option, *stages)
    assert waiting == counted(following(jobs, of(jobs, *stages)))
    assert not waiting.keys() & {"pack", "early_train", "saliency", "augment"}


def test_omit_from(project, jobs):
    waiting = project.waiting("--omit-from", "features")
    assert waiting == counted(jobs.keys() - following(jobs, of(jobs, "features")))
    assert {"train", "early_train"} <= waiting.keys()


@pytest.mark.parametrize(
    ("coreset", "stages"),
    [
        ("o100/random", ["pack", "bin", "sample"]),
        ("o100/backbone-early/ccs", ["pack", "score", "bin", "sample"]),
        ("o100/backbone-early/bins", ["pack", "early_train", "saliency", "bin", "sample"]),
        (
            f"o100_t50/{TOBIAS}/backbone-early/bins",
            ["pack", "early_train", "saliency", "augment", "features", "bin", "sample"],
        ),
    ],
)
def test_a_file_asked_for_by_its_path_makes_its_own_chain_alone(project, coreset, stages):
    listed = project.jobs(f"{CORESETS}/{coreset}/keep-0.1/seed-0/coreset.csv")
    assert [job.rule for job in listed] == stages
    assert {job.seed for job in listed} == {None, "0"}


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("coreset/o100/odd/keep-0.1/seed-0/coreset.csv", "no experiment among the targets selects 'o100/odd'"),
        ("early/nonsense/seed-0/model.pt", "the configuration has no backbone 'nonsense'"),
        ("coreset/o100/random/keep-1e-1/seed-0/coreset.csv", "the keep ratio '1e-1' is spelt 0.1 in paths"),
        ("../weights/backbones/nonsense.json", "the configuration has no network 'nonsense'"),
        ("../weights/nonsense/random.json", "No rule to produce results/smoke/weights/nonsense/random.json"),
        ("../../../data/.nonsense.fetched", "No rule to produce data/.nonsense.fetched"),
    ],
)
def test_a_file_of_nothing_that_is_configured_is_refused_in_a_sentence(project, path, sentence):
    done = project.snakemake("-n", os.path.normpath(f"results/smoke/digits/{path}"), check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert sentence in said
    assert "Traceback" not in said


# -- what Snakemake prints of a run -----------------------------------------------------------------------------------


def nodes(text):
    return re.findall(r'^\s*\d+\s*\[\s*label = "(.*?)"', text, re.M)


def test_graphs(project, jobs):
    rules = set(counted(jobs)) | {"all"}
    assert sorted(nodes(project.snakemake("--rulegraph").stdout)) == sorted(rules)
    each = nodes(project.snakemake("--dag").stdout)
    assert Counter(label.partition("\\n")[0] for label in each) == counted(jobs) | {"all": 1}
    files = project.snakemake("--filegraph").stdout
    assert re.search(r"results/smoke/\{dataset\S*\}/bins/\{selection\S*\}/seed-\{seed\S*\}/bins.csv", files)
    assert set(re.findall(r'<font point-size="18">(\w+)<', files)) == rules


def test_summaries(smoke, summary, plan, jobs):
    short = list(csv.DictReader(smoke.snakemake("--summary").stdout.splitlines(), delimiter="\t"))
    for rows in (short, summary):
        assert {row["output_file"] for row in rows} >= {plan.file_of(job, "record") for job in jobs}
        assert {row["status"] for row in rows} == {"ok"}
        assert {row["plan"] for row in rows} == {"no update"}


def test_resources_and_threads_are_changed_where_snakemakes_users_change_them(project):
    listed = project.jobs("--set-resources", "train:mem_mb=123", "train:runtime=7", "--set-threads", "bin=2")
    for rule, mem_mb, runtime in (("train", "123", "7"), ("evaluate", "8000", "60")):
        found = [job.named("resources") for job in listed if job.rule == rule]
        assert {(each["mem_mb"], each["runtime"]) for each in found} == {(mem_mb, runtime)}
    assert {job.says["threads"] for job in listed if job.rule == "bin"} == {"2"}
    assert not any("threads" in job.says for job in listed if job.rule == "train")


def test_a_report_of_one_file(smoke, tmp_path):
    smoke.snakemake("--report", str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text()
    assert "fig4b.pdf" in text
    assert "Scale: smoke test" in text


def test_delete_all_output_would_delete_what_the_run_made(smoke, plan):
    text = smoke.snakemake("--delete-all-output", "-n").stdout
    for run in plan.runs:
        assert f"Would delete {plan.metrics_of(run)}" in text


# -- what the disk says -----------------------------------------------------------------------------------------------


def test_touch_and_the_trigger_of_times(smoke, plan, jobs):
    """A file that is newer and another makes what reads it run again; `--touch` says that all is well as it is."""
    bins = next(file for job in of(jobs, "bin") for file in [plan.file_of(job, "bins")] if "o100/random" in file)
    text = (smoke.folder / bins).read_text()
    (smoke.folder / bins).write_text(text + "\n")
    after = following(jobs, [job for job in of(jobs, "sample") if bins in plan.reads(job)["bins"]])
    assert smoke.waiting("--rerun-triggers", "mtime") == counted(after)
    smoke.snakemake("--touch")
    assert smoke.waiting() == {}
    (smoke.folder / bins).write_text(text)
    smoke.snakemake("--touch")


def test_a_time_to_come_is_set_to_now(smoke, plan):
    """Snakemake refuses what is older than what it was made of, at each run again."""
    table, tomorrow = plan.table("fig6"), time.time() + 86400
    os.utime(smoke.folder / table, (tomorrow, tomorrow))
    said = smoke.snakemake("--force", "paper_figures/smoke/fig6.pdf").stderr
    assert re.search(rf"1 result dated in the future.*The first is {table}", said)
    assert smoke.waiting() == {}


def test_metadata_in_a_database_is_not_taken_for_none(project):
    """A key that changed is Snakemake's to see; the same results without any metadata are warned of."""
    pack, other = ["--until", "pack"], ["--config", "datasets={digits: {train: 210}}"]
    project.snakemake(*pack, "--persistence-backend", "db")
    done = project.snakemake("-n", *pack, *other, "--persistence-backend", "db")
    assert "Rules with provenance triggered jobs: pack" in done.stdout + done.stderr
    assert "stale" not in done.stdout + done.stderr
    done = project.snakemake("-n", *pack, *other)
    assert "1 possibly stale result below results/smoke" in done.stdout + done.stderr


def test_params_are_no_reason_where_times_alone_are_asked(smoke):
    change = ["--config", "trainers={resnet8: {iterations: 5}}"]
    assert smoke.waiting("--rerun-triggers", "mtime", *change) == {}
    assert "train" in smoke.waiting(*change)


def test_unlock(smoke):
    """A run that was killed leaves its lock; Snakemake says what to do, and does it."""
    lock = smoke.folder / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("results/smoke/claims.csv\n")
    try:
        done = smoke.snakemake("--forcerun", "claims", "--until", "claims", check=False)
        assert done.returncode != 0
        assert "--unlock" in done.stdout + done.stderr
        smoke.snakemake("--unlock")
        assert not lock.exists()
    finally:
        lock.unlink(missing_ok=True)


CHANGES = {
    "a seed more": ["seeds=[0,1,2]"],
    "an arm more": ["experiments={fig6: {mixture: [o100, o100_t50, t100, o50_t50]}}"],
    "an arm less": ["experiments={fig6: {mixture: [o100, t100]}}"],
    "another figure": ["experiments={fig5b: {figure: {title: restyled}}}"],
    "another trainer": ["trainers={vit: {iterations: 5}}"],
    "another backbone": ["backbones={early_vit: {epochs: 2}}"],
    "other bins": ["selectors={early_train_bins: {n_bins: 5}}"],
    "more cores": ["threads=2"],
}
RULES = {  # of those whose jobs are worth a word of their own
    "an arm more": {"bin": 2, "sample": 2, "train": 2, "evaluate": 2, "collect": 1, "figure": 1}
    | {"claims": 1, "numbers": 1, "page": 1},
    "another figure": {"figure": 1, "page": 1},
    "more cores": {},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_reruns_what_it_changes_and_what_follows_and_no_more(smoke, plan, jobs, change, tmp_path):
    (tmp_path / "change.yaml").write_text("\n".join(entry.replace("=", ": ", 1) for entry in CHANGES[change]))
    values = read_files([ROOT / "config/smoke.yaml", tmp_path / "change.yaml"], ROOT / "config.yaml")
    new = Plan(load_config(values))
    wanted = new.jobs(new.targets())
    other = [j for j in wanted if j not in jobs or new.options(j) != plan.options(j) or new.reads(j) != plan.reads(j)]
    expected = counted(following(wanted, other))
    assert smoke.waiting("--config", *CHANGES[change]) == expected
    assert expected == RULES.get(change, expected)


# -- from another workflow --------------------------------------------------------------------------------------------

MODULE = """
module sets:
    snakefile: "{clone}/Snakefile"
{more}

use rule * from sets as sets_*
"""


def from_a_module(project, tmp_path, more=""):
    """One coreset, asked for in another folder by a workflow that uses the clone's: what was said, and its file."""
    where = tmp_path / "elsewhere"
    where.mkdir()
    (where / "Snakefile").write_text(MODULE.format(clone=project.folder, more=more))
    file = f"{CORESETS}/o100/random/keep-0.1/seed-0/coreset.csv"
    options = ["--directory", str(where), "--snakefile", str(where / "Snakefile")]
    done = project.snakemake(*options, file, check=False)
    return done.stdout + done.stderr, where / file


def test_a_module_of_another_workflow(project, smoke, tmp_path):
    """Rules by other names: the same bytes, with the clone's own configuration, and no false warning."""
    said, made = from_a_module(project, tmp_path)
    assert made.is_file(), said
    assert made.read_bytes() == (smoke.folder / made.relative_to(tmp_path / "elsewhere")).read_bytes()
    assert "the library dqv2 is that of" not in said


@pytest.mark.parametrize("first", [["config.yaml"], []])
def test_an_overlay_of_another_workflow_follows_config_yaml(project, tmp_path, first):
    where = tmp_path / "elsewhere"
    where.mkdir()
    shutil.copy(ROOT / "config/own_images.yaml", where / "mine.yaml")
    files = [*(project.folder / name for name in first), "mine.yaml"]
    text = "".join(f'configfile: "{file}"\n' for file in files) + MODULE
    (where / "Snakefile").write_text(text.format(clone=project.folder, more="    config: config"))
    options = ["--directory", str(where), "--snakefile", str(where / "Snakefile")]
    done = project.snakemake("-n", "sets_coresets", *options, config=None, check=False)
    said = done.stdout + done.stderr
    if first:
        assert done.returncode == 0, said
        assert "rule sets_export:" in said
        assert "localrules directive specifies rules that are not present" not in said
    else:
        assert done.returncode == 1
        assert "methods: this key is missing" in said


def test_a_module_whose_hooks_are_called_is_checked_and_leaves_its_configuration(project, tmp_path):
    """Its renamed rules are known by their files; the hooks are those of docs/code.md."""
    text = (ROOT / "docs/code.md").read_text()
    hooks = textwrap.dedent(re.search(r"\n    onstart:\n(?:.*\n)*?(?=\n\S)", text)[0])
    where = tmp_path / "elsewhere"
    where.mkdir()
    (where / "Snakefile").write_text(MODULE.format(clone=project.folder, more="") + hooks)
    options = ["--directory", str(where), "--snakefile", str(where / "Snakefile")]
    done = project.snakemake("sets_coresets", *options, config="own_images", check=False)
    assert done.returncode == 1
    assert "datasets.own.path = 'data/own': there is no such folder" in done.stdout + done.stderr
    assert not list(where.glob("results/own/own"))
    assert (where / "results/own/config.json").is_file()


@pytest.mark.parametrize("more", ['    prefix: "sub"', '    replace_prefix: {"results/": "made/"}'])
def test_a_module_whose_paths_are_moved_is_refused(project, tmp_path, more):
    said, _ = from_a_module(project, tmp_path, more)
    assert "of a module cannot move results/smoke" in said
    assert "name another folder by the key `run`" in said
    assert "Traceback" not in said


# -- one arm that is wrong --------------------------------------------------------------------------------------------


def test_one_bad_arm_stops_no_other(project, smoke):
    """A wrong id in one coreset: all other metrics are made, and a sentence names the file."""
    options = ["--config", "targets=[fig4a]", "seeds=[0]"]
    plan = Plan(load_config(merged("smoke.yaml") | {"targets": ["fig4a"], "seeds": [0]}))
    give(project, smoke, plan, [plan.file_of(job, "coreset") for job in of(plan.jobs(plan.targets()), "sample")])
    bad = f"{CORESETS}/o100/random/keep-0.1/seed-0/coreset.csv"
    lines = (project.folder / bad).read_text().splitlines()
    lines[3] = "digits:999999," + lines[3].partition(",")[2]
    (project.folder / bad).write_text("\n".join(lines) + "\n")
    for _ in range(2):  # so does the next run
        done = project.snakemake(*options, check=False)
        assert done.returncode != 0
        errors = re.findall(r"^Error in (\w+): (.*)$", done.stdout + done.stderr, re.M)
        assert [stage for stage, _ in errors if stage in all_stages()] == ["train"]
        assert bad in errors[0][1]
        assert "Traceback" not in done.stdout + done.stderr
        mine, theirs = project.metrics(), smoke.metrics()
        assert len(mine) == 4
        assert not any("o100/random" in path for path in mine)
        assert mine == {path: theirs[path] for path in mine}


# -- traps of Snakemake's command line -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["--configfile=config/smoke.yaml", "FILE"],
        ["FILE", "--configfile", "config/smoke.yaml"],
        ["--configfile", "config/smoke.yaml", "--", "FILE"],
    ],
)
def test_a_file_and_a_configuration_on_one_line(project, words):
    file = f"{CORESETS}/o100/random/keep-0.1/seed-0/coreset.csv"
    words = [file if word == "FILE" else word for word in words]
    assert project.waiting(*words, config=None) == {"pack": 1, "bin": 1, "sample": 1}


def test_no_cores_end_in_a_sentence(project):
    """Snakemake alone waits for ever."""
    done = project.snakemake(
        "--cores", "0", f"{CORESETS}/o100/random/keep-0.1/seed-0/coreset.csv", check=False, timeout=100
    )
    assert done.returncode != 0
    assert "--cores 0 runs nothing: give 1 or more, or all." in done.stdout + done.stderr
