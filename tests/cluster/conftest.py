"""A SLURM on loopback, the commands of docs/cluster.md, and one run of the pipeline through them."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.cluster.slurm import Slurm, missing
from tests.conftest import ROOT


def pytest_collection_modifyitems(items):
    """Left out where there can be no SLURM, and said so; `.ci/run` wants it and fails."""
    reason = missing()
    if reason and not os.environ.get("REQUIRE_CLUSTER"):
        for item in items:
            if item.get_closest_marker("cluster"):
                item.add_marker(pytest.mark.skip(reason=f"the cluster test is left out: {reason}"))


@pytest.fixture(scope="session")
def slurm():
    if reason := missing():
        pytest.fail(f"the cluster test is required here (REQUIRE_CLUSTER), but {reason}")
    # Not pytest's own folder, which munge's user may not enter
    folder = Path(tempfile.mkdtemp(prefix="dqv2-slurm-"))
    folder.chmod(0o755)
    partition = re.search(r"slurm_partition=(\w+)", (ROOT / "profiles/slurm/config.yaml").read_text())[1]
    cluster = Slurm(folder, partition)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Docs:
    """The commands of docs/cluster.md: a test runs them by their words, and sees that each one there was run."""

    def __init__(self):
        self.text = (ROOT / "docs/cluster.md").read_text()
        self.commands = [line.strip() for line in self.text.splitlines() if re.match(r"^( {4}| {6})\S", line)]
        self.used = set()

    def command(self, text, **values):
        """A line of the page, letter for letter, with its placeholders filled in."""
        assert text in self.commands, f"docs/cluster.md has no command {text!r}; it has: {self.commands}"
        self.used.add(text)
        for name, value in values.items():
            text = text.replace(name, value)
        return text


@pytest.fixture(scope="session")
def docs():
    return Docs()
