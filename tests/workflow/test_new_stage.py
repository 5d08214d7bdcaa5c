"""The example of docs/stage.md, done as the page says it: its blocks make a stage that runs."""

import re

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.workflow
PAGE = (ROOT / "docs/stage.md").read_text(encoding="utf-8")


def put(project, file, before, block):
    """Put a block of the page into a file, in front of a place that is there once."""
    path = project.folder / file
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{before!r} in {file}"
    path.write_text(text.replace(before, block + before), encoding="utf-8")


def test_the_example_of_a_new_stage_runs_as_it_is_written(project):
    example = PAGE.partition("## A key of the configuration")[0]
    blocks = re.findall(r"```(?:python|text)\n(.*?)```", example, re.S)
    stage, script, rule, asked, reads, imported, used, _ = blocks
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
    command, table = re.search(r"\$ snakemake (\S+) .*?\n((?:    \w+ +\d+\n)+)", example).groups()
    expected = dict(line.split() for line in table.splitlines())
    assert {rule: str(n) for rule, n in project.waiting(command).items()} | {"total": "6"} == expected
    project.snakemake(command)
    (log,) = project.folder.glob("logs/smoke/digits/dedupe/**/seed-0.log")
    found = re.search(r"(\d+) of 200 images are left out", log.read_text(encoding="utf-8"))
    assert int(found[1]) > 0
    (bins,) = project.folder.glob("results/smoke/digits/bins/o100/**/bins.csv")
    assert len(bins.read_text(encoding="utf-8").splitlines()) == 1 + 200 - int(found[1])
