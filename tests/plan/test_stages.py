"""A stage whose sources change must have its version raised, or be accepted as the same."""

import shutil

import pytest
import yaml

from dqv2 import stages
from tests.conftest import ROOT


def test_recorded_hashes_are_those_of_the_sources():
    changed = stages.changed(ROOT / "workflow")
    assert not changed, (
        f"the sources of {', '.join(changed)} changed. If results change: python -m dqv2.stages raise "
        f"{' '.join(changed)}. If they do not: python -m dqv2.stages accept"
    )


def test_every_script_is_a_stage():
    assert {path.name for path in (ROOT / "workflow/scripts").glob("*.py")} == set(stages.STAGES.values())


@pytest.fixture
def workflow(tmp_path):
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    return tmp_path / "workflow"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_comments_and_docstrings_are_no_change_and_code_is(workflow):
    script = workflow / "scripts/sample.py"
    edit(script, '"""Draw', '# a comment\n"""Newly worded: draw')
    assert stages.changed(workflow) == []
    edit(script, "max(1,", "max(2,")
    assert stages.changed(workflow) == ["sample"]


def test_library_modules_count_for_the_stages_that_import_them():
    library = ROOT / "src/dqv2"
    uses = {stage: stages._closure(ROOT / "workflow/scripts" / script) for stage, script in stages.STAGES.items()}
    graphcut = library / "select/graphcut.py"
    assert {stage for stage, files in uses.items() if graphcut in files} == {"bin"}
    assert library / "train/fit.py" in uses["train"]


def test_raise_and_accept(workflow, capsys):
    before = yaml.safe_load((workflow / "stages.yaml").read_text())
    assert stages.main(["raise", "bin"], workflow) == 0
    after = yaml.safe_load((workflow / "stages.yaml").read_text())
    assert after["bin"]["version"] == before["bin"]["version"] + 1
    assert {k: v for k, v in after.items() if k != "bin"} == {k: v for k, v in before.items() if k != "bin"}
    assert stages.main(["accept"], workflow) == 0
    assert yaml.safe_load((workflow / "stages.yaml").read_text()) == after
    assert stages.main(["raise", "bni"], workflow) == 2
    assert "bin" in capsys.readouterr().err
