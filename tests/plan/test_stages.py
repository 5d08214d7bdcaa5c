"""What stages declare: a rule and a script each, and a version that holds their sources."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dqv2.cli import main
from dqv2.cli import stages as lock
from dqv2.stages import all_stages
from tests.conftest import ROOT

# Rules that ask for files and make none
ASKING = {"all", "coresets"}


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def rules():
    """Name -> text of every rule of the workflow."""
    found = {}
    for file in [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]:
        parts = re.split(r"^(?:rule|checkpoint) (\w+):\n", file.read_text(), flags=re.M)
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            assert name not in found, f"two rules are called {name}"
            found[name] = text
    return found


def test_the_table_of_stages_is_that_of_the_sources():
    changed = lock.changed()
    assert not changed, (
        f"the sources of {', '.join(changed)} changed. If results change: python -m dqv2 stages raise "
        f"{' '.join(changed)}. If they do not: python -m dqv2 stages accept"
    )
    table = (ROOT / "docs/stages.md").read_text()
    assert table == lock.page(), "docs/stages.md is out of date: python -m dqv2 stages accept"


def test_every_stage_has_a_rule_and_a_script_of_its_name(rules):
    names = set(all_stages())
    assert set(rules) - ASKING == names
    assert {file.stem for file in (ROOT / "workflow/scripts").iterdir() if file.is_file()} == names
    for file in (ROOT / "workflow/scripts").glob("*.py"):
        assert file.read_text() == "from dqv2.runtime.script import run\n\nrun(snakemake, __file__)\n"
    for name in names:
        assert f'"../scripts/{name}.py"' in rules[name]
        assert rules[name].count("script:") == 1


def test_the_names_of_rules_are_fixed_words(rules):
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in rules)
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        assert not re.search(r"^\s+name:|^checkpoint |^\s+run:", file.read_text(), re.M), (
            "no rule is named when it is read"
        )


def asked(text, function):
    """The second words of reads("bin", "features") and the like, after a look at the first; and the names they are
    given in the rule."""
    return re.findall(rf'(\w+)=(?:directory\(|report\(\s*)?{function}\("(\w+)", "(\w+)"\)', text)


def test_each_rule_has_the_inputs_and_outputs_that_its_stage_declares(rules, demo_plan):
    for name, each in all_stages().items():
        outputs = asked(rules[name], "writes")
        assert all(stage == name and given == output for given, stage, output in outputs), name
        assert {output for *_, output in outputs} == set(each.writes), name
        assert len(outputs) == rules[name].count("writes(")
        inputs = asked(rules[name], "reads")
        assert all(stage == name and given == file for given, stage, file in inputs), name
        assert len(inputs) == rules[name].count("reads(")
        jobs = [job for job in demo_plan if job.stage.name == name]
        for job in jobs[:3]:
            assert set(demo_plan[job]) == {file for *_, file in inputs}, name
        for function in ("log_of", "options"):
            assert rules[name].count(f'{function}("{name}")') == 1
            assert rules[name].count(f"{function}(") == 1


@pytest.fixture(scope="module")
def demo_plan():
    """Every job of the demo and of its exports -> what it reads by name."""
    from tests.conftest import make, merged

    plan = make(merged("demo.yaml"))
    return {job: plan.reads(job) for job in plan.jobs(plan.targets() + plan.exports())}


def test_only_jobs_that_run_a_network_ask_for_a_gpu_and_only_those_that_compute_for_cores(rules):
    for name, each in all_stages().items():
        assert ("gpu=" in rules[name]) == each.model, name
        assert (f'threads: cores("{name}")' in rules[name]) == (each.cores != 1), name


# -- versions and hashes, tried on a copy ------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.pyc.*", "*.egg-info"))
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs/stages.md", tmp_path / "docs")
    return tmp_path


def stages(copy, *arguments):
    """`dqv2 stages`, of the copy's own library."""
    command = [sys.executable, "-m", "dqv2", "stages", *arguments]
    return subprocess.run(command, cwd=copy, env={"PYTHONPATH": str(copy / "src")}, capture_output=True, text=True)


@pytest.fixture
def changed(monkeypatch):
    """The stages of a copy that differ from what is recorded."""

    def look(copy):
        monkeypatch.setattr(lock, "LIBRARY", copy / "src/dqv2")
        monkeypatch.chdir(copy)
        return lock.changed()

    return look


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_comments_and_docstrings_are_no_change_and_code_is(copy, changed):
    module = copy / "src/dqv2/stages/sample.py"
    edit(module, '"""The coreset as a list of ids."""', '# a comment\n    """Newly worded: ids."""\n')
    assert changed(copy) == []
    edit(module, "max(1,", "max(2,")
    assert changed(copy) == ["sample"]


def test_library_modules_count_for_the_stages_that_import_them(copy, changed):
    edit(copy / "src/dqv2/train/evaluation.py", "import torch\n", "import torch\n\nDIFFERENT = 1\n")
    found = changed(copy)
    assert "evaluate" in found
    assert not {"bin", "sample", "pack", "collect"} & set(found)


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("select/kinds.py", {"bin", "sample"}),
        ("select/baselines/geometry.py", {"bin", "sample"}),
        ("semantic/sources.py", {"augment"}),
        ("data/sources/cub200.py", {"pack", "train"}),
        ("paper/figures.py", {"figure"}),
    ],
)
def test_what_a_table_names_by_a_string_counts_too(copy, changed, module, stages):
    """`f"{_HERE}:graphcut"` is no import, and is followed as if it were one."""
    path = copy / "src/dqv2" / module
    path.write_text(path.read_text() + "\nDIFFERENT = 1\n")
    assert set(changed(copy)) == stages


def test_raise_and_accept(copy):
    before = dict(re.findall(r"^\| (\w+) \| (\d+) \|", (copy / "docs/stages.md").read_text(), re.M))
    done = stages(copy, "raise", "bin", "figure", "page")
    assert done.returncode == 0, done.stderr
    assert f"bin: version {int(before['bin']) + 1}" in done.stdout
    table = (copy / "docs/stages.md").read_text()
    after = dict(re.findall(r"^\| (\w+) \| (\d+) \|", table, re.M))
    raised = {name for name in before if after[name] != before[name]}
    assert raised == {"bin", "figure", "page"}, "page had no line of its own: it was at version 1"
    assert f"    version = {after['bin']}\n" in (copy / "src/dqv2/stages/bin.py").read_text()
    assert f"    version = {after['page']}\n" in (copy / "src/dqv2/stages/page.py").read_text()
    assert stages(copy, "accept").returncode == 0
    assert (copy / "docs/stages.md").read_text() == table
    assert stages(copy).stdout.strip() in table
    edit(copy / "src/dqv2/stages/sample.py", "max(1,", "max(2,")
    assert stages(copy, "accept").returncode == 0
    lines = [set(text.splitlines()) for text in (table, (copy / "docs/stages.md").read_text())]
    (line,) = lines[1] - lines[0]
    assert line.startswith("| sample | ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["raise", "bni"], "there is no stage bni; there are: augment, "),
        (["raise"], "raise needs names of stages, and only raise takes them: dqv2 stages raise train"),
        (["accept", "bin"], "raise needs names of stages"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(arguments, sentence, capsys, tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["stages", *arguments]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert list(Path("docs").iterdir()) == []


def test_the_slurm_profile_asks_for_a_gpu_for_every_stage_that_runs_a_model():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    given, model = profile["set-resources"], profile["set-resources"]["early_train"]
    assert {name for name, each in all_stages().items() if each.model} == {
        name for name, each in given.items() if each is model
    }
