"""The example of docs/stage.md, done as the page says it: its blocks make a stage that runs."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.workflow
PAGE = (ROOT / "docs/stage.md").read_text(encoding="utf-8")
EXAMPLE, _, KEY = PAGE.partition("## A key of the configuration")


def put(project, file, before, block):
    """Put a block of the page into a file, in front of a place that is there once."""
    path = project.folder / file
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{before!r} in {file}"
    path.write_text(text.replace(before, block + before), encoding="utf-8")


def replace(project, file, old, block):
    put(project, file, old, block)
    path = project.folder / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, ""), encoding="utf-8")


def blocks_of(text):
    return re.findall(r"```(?:python|text|yaml)\n(.*?)```", text, re.S)


def follow_the_example(project):
    stage, script, rule, asked, reads, imported, used, _ = blocks_of(EXAMPLE)
    (project.folder / "src/dqv2/stages/dedupe.py").write_text(stage, encoding="utf-8")
    (project.folder / "workflow/scripts/dedupe.py").write_text(script, encoding="utf-8")
    select = project.folder / "workflow/rules/select.smk"
    text = select.read_text(encoding="utf-8")
    head, bin_, rest = text.partition("rule bin:\n")
    assert bin_
    rest = rest.replace("    output:\n", f"{asked}    output:\n", 1)
    select.write_text(f"{head}{bin_}{rest}\n\n{rule}", encoding="utf-8")
    put(project, "src/dqv2/stages/bin.py", '            "scores": [', reads)
    put(project, "src/dqv2/stages/bin.py", "        import numpy as np\n", imported)
    put(project, "src/dqv2/stages/bin.py", "            largest = None\n", used)


def test_the_example_of_a_new_stage_runs_as_it_is_written(project):
    follow_the_example(project)
    command, table = re.search(r"\$ snakemake (\S+) .*?\n((?:    \w+ +\d+\n)+)", EXAMPLE).groups()
    expected = dict(line.split() for line in table.splitlines())
    assert {rule: str(n) for rule, n in project.waiting(command).items()} | {"total": "6"} == expected
    project.snakemake(command)
    (log,) = project.folder.glob("logs/smoke/digits/dedupe/**/seed-0.log")
    found = re.search(r"(\d+) of 200 images are left out", log.read_text(encoding="utf-8"))
    assert int(found[1]) > 0
    (bins,) = project.folder.glob("results/smoke/digits/bins/o100/**/bins.csv")
    assert len(bins.read_text(encoding="utf-8").splitlines()) == 1 + 200 - int(found[1])


def test_its_key_of_the_configuration_makes_it_a_choice(project):
    follow_the_example(project)
    key, of_a_mixture, asked, used, mine = blocks_of(KEY)
    budget = '    budget: Literal["originals", "pool"] = "originals"\n'
    put(project, "src/dqv2/config/blocks.py", budget, key)
    writes, options = of_a_mixture.split("\n\n")
    stage = (project.folder / "src/dqv2/stages/dedupe.py").read_text(encoding="utf-8")
    replace(project, "src/dqv2/stages/dedupe.py", re.search(r"    writes = .*\n", stage)[0], writes + "\n")
    replace(project, "src/dqv2/stages/dedupe.py", re.search(r"    def options.*\n.*\n", stage)[0], options)
    before, _, reads = asked.partition("        return {\n            ...\n")
    *_, always, _, in_use, _ = blocks_of(EXAMPLE)
    replace(project, "src/dqv2/stages/bin.py", always, reads)
    replace(project, "src/dqv2/stages/bin.py", in_use, used)
    put(project, "src/dqv2/stages/bin.py", '        return {\n            "train"', before)
    (project.folder / "mine.yaml").write_text(mine, encoding="utf-8")
    coreset = "results/smoke/digits/coreset/{}/backbone-pretrained/bins/keep-0.1/seed-0/coreset.csv"
    both = ("--configfile", "config/smoke.yaml", "mine.yaml", "--")
    assert "dedupe" not in project.waiting(*both, coreset.format("o100"), config=None)
    assert project.waiting(*both, coreset.format("o100_apart"), config=None)["dedupe"] == 1


BIN, TABLE, SELECT = "src/dqv2/stages/bin.py", "src/dqv2/select/table.py", "workflow/rules/select.smk"


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            SELECT,
            'reads("bin", "features")',
            'reads("bin", "x")',
            "rule bin asks for 'x', and its stage reads train, f",
        ),
        (SELECT, 'writes("bin", "bins")', 'writes("bin", "x")', "the stage bin writes no 'x': it writes record, bins"),
        (SELECT, "rule bin:", "rule bim:", "the stage bin has no rule of its name; add one to workflow/rules/"),
        (BIN, "import Stage", "import Stag", "src/dqv2/stages/bin.py, line 3: cannot import name 'Stag'"),
        (
            BIN,
            'plan.file("pack", "train", w)',
            'plan.file("packs", "train", w)',
            "there is no stage 'packs': the stages",
        ),
        (TABLE, '"random", "', '"graphcut", "', "two entries are called 'graphcut': choose another name"),
        (TABLE, ':one_bin", "bins"', ':one_bin", smapler="bins"', "got an unexpected keyword argument 'smapler'"),
    ],
)
def test_a_slip_is_told_in_a_sentence(project, file, old, new, said):
    replace(project, file, old, new)
    done = project.snakemake("-n", check=False)
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if file != SELECT:
        command = [sys.executable, "-m", "dqv2", "plan", "config/smoke.yaml"]
        env = project.environment()
        done = subprocess.run(command, cwd=project.folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--set-threads=trian=2", "--set-resources=trian:mem_mb=2"])
def test_threads_and_resources_of_a_rule_that_there_is_not_are_refused(project, option):
    done = project.snakemake("-n", option, check=False)
    assert done.returncode == 1
    assert " names trian, and there is no such rule: there are all, augment, " in done.stdout + done.stderr


def test_a_forgotten_line_of_a_rule_is_told_before_the_first_job(project):
    replace(project, SELECT, '        scores=reads("bin", "scores"),\n', "")
    done = project.snakemake("results/smoke/digits/bins/o100/random/seed-0/bins.csv", check=False)
    assert (
        'rule bin has no input scores, which its stage reads: add the line scores=reads("bin", "scores"), under'
        in done.stderr
    )
    assert not list(project.folder.glob("results/smoke/digits/data/*"))
