"""A run in another folder than the clone, by a path through links, or with its files on another disk."""

import os
import subprocess

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.workflow

MODULE = """
import os, sys

module sets:
    snakefile: "../{clone}/Snakefile"

use rule * from sets as sets_*

print("the library for conda:", os.environ["DQV2_CLONE"], file=sys.stderr)
"""


def test_a_module_by_a_relative_path_through_a_link_is_known_as_the_clone(copies, tmp_path):
    """Its library is not called another one's, and a conda environment gets this one."""
    project = copies(tmp_path / "clone")
    (tmp_path / "link").symlink_to(project.folder)
    where = tmp_path / "mine"
    where.mkdir()
    (where / "Snakefile").write_text(MODULE.format(clone="link"))
    done = project.snakemake("-n", "--snakefile", str(where / "Snakefile"), "--directory", str(where), "sets_coresets")
    said = done.stdout + done.stderr
    assert "the library dqv2 is that of" not in said
    assert f"the library for conda: {project.folder.resolve()}\n" in said


def test_a_conda_environment_gets_the_library_of_the_clone_wherever_the_run_is(tmp_path):
    """Snakemake runs the script in the working folder, where another project may be, or none."""
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DQV2_CLONE": "/a clone"}
    script = ROOT / "envs/dqv2.post-deploy.sh"
    done = subprocess.run(["sh", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["--editable", "/a clone"]


PLUGIN = """
from snakemake_interface_storage_plugins.storage_object import StorageObjectRead, StorageObjectWrite
from snakemake_interface_storage_plugins.storage_provider import StorageProviderBase

class StorageObject(StorageObjectRead, StorageObjectWrite): ...
class StorageProvider(StorageProviderBase): ...

StorageProvider.__abstractmethods__ = frozenset()
"""


def test_a_storage_plugin_is_refused_in_a_sentence(project, tmp_path):
    """Tables are made from paths in params, which Snakemake does not move: after all trainings, this would fail."""
    plugin = tmp_path / "plugins/snakemake_storage_plugin_elsewhere/__init__.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(PLUGIN)
    options = ["-n", "--default-storage-provider", "elsewhere", "--default-storage-prefix", "elsewhere://bucket"]
    env = {"PYTHONPATH": f"{project.folder / 'src'}:{tmp_path / 'plugins'}"}
    done = project.snakemake(*options, check=False, env=env)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "--default-storage-provider elsewhere cannot move results/smoke" in said
    assert "run in a folder that all machines share (--directory)" in said
    assert "Traceback" not in said


def test_touch_needs_no_images(project):
    """It runs no job: images that are missing, for which a run is refused, are no reason to refuse it."""
    done = project.snakemake("--touch", "coresets", config="own_images", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "there is no such folder" not in done.stdout + done.stderr


def test_notes_that_cannot_be_written_are_a_sentence(project, tmp_path):
    """In a folder of somebody else, or, as here, on a disk that is not there; Snakemake would show a traceback."""
    (tmp_path / ".snakemake").symlink_to(tmp_path / "not there/notes")
    done = project.snakemake("-n", "--directory", str(tmp_path), check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert f"Snakemake keeps its notes in {tmp_path / 'not there/notes'}, which you cannot write" in said
    assert "Traceback" not in said


def test_a_user_without_a_name_runs_it(project, tmp_path):
    """As in a container that is run with a user's number."""
    (tmp_path / "sitecustomize.py").write_text("import pwd\n\npwd.getpwuid = {}.__getitem__\n")
    names = dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME"), "")
    env = names | {"PYTHONPATH": f"{tmp_path}:{project.folder / 'src'}"}
    project.snakemake("-n", "--directory", str(tmp_path), env=env)
