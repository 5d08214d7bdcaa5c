"""A clone wherever a person puts it: its jobs run also where the path has what a shell reads in its own way."""

import site
import subprocess
import sys

import pytest

pytestmark = pytest.mark.workflow


@pytest.mark.parametrize("name", ["a b", 'it\'s $HOME & é "#1"'])
def test_jobs_run_in_a_clone_whose_path_has_spaces_and_quotes(copies, tmp_path, name):
    project = copies(tmp_path / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project.folder / ".venv"], check=True)
    (packages,) = (project.folder / ".venv").glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text("\n".join(site.getsitepackages()))
    pack = "results/smoke/digits/data/splits.json"
    command = [project.folder / ".venv/bin/python", *project.command("--", pack)[1:]]
    done = subprocess.run(command, cwd=project.folder, env=project.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.folder / pack).exists()


def test_a_clone_whose_path_has_braces_is_refused_in_a_sentence(copies, tmp_path):
    project = copies(tmp_path / "a{b}")
    done = project.snakemake("-n", check=False)
    assert done.returncode == 1
    assert "a{b} for a wildcard: move the clone, or rename it." in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
