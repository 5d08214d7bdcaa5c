"""How a script of Snakemake's describes its job."""

import shlex
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from dqv2.runtime import script


class Named(dict):
    """Snakemake's named lists, as far as a job is described by them."""

    def __getattr__(self, name):
        return self[name]


def snakemake(threads, **resources):
    return SimpleNamespace(
        input={},
        output={},
        params={},
        wildcards={},
        threads=threads,
        resources=Named(resources),
        log=["x.log"],
        config={"threads": "2"},
    )


@pytest.mark.parametrize(
    ("stage", "given", "resources", "taken"),
    [
        ("train", 1, {"gpu": 1}, 2),
        ("train", 8, {"gpu": 0}, 2),
        ("train", 8, {"mem_mb": 1}, 2),  # as where a module's user replaces the rule's resources
        ("bin", 1, {}, 1),
        ("bin", 8, {"gpu": 0}, 8),  # as --default-resources may say
    ],
)
def test_a_network_runs_with_the_threads_of_the_configuration(stage, given, resources, taken):
    assert script.request_of(snakemake(given, **resources), f"{stage}.py")["threads"] == taken


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """What a script sets in its own process, which these tests share with others: put back at the end."""
    for name in script.THREADS:
        monkeypatch.setenv(name, "7")


def test_libraries_find_the_number_as_they_are_loaded(monkeypatch):
    monkeypatch.setattr(script.warm, "run", lambda request: 0)
    monkeypatch.setattr(script.os, "_exit", sys.exit)
    with pytest.raises(SystemExit):
        script.run(snakemake(1, gpu=1), "train.py")
    assert {script.os.environ[name] for name in script.THREADS} == {"2"}


ORPHAN = """
import os, sys, time
from dqv2.runtime import script
script.warm.run = lambda request: None
script.request_of = lambda snakemake, name: {"threads": 1}
script.do = lambda request: (print(os.getpid(), flush=True), time.sleep(60))[0] or 0
script.run(None, "train.py")
"""
COLD = [sys.executable, "-c", ORPHAN]


@pytest.mark.parametrize("command", [COLD, ["bash", "-c", f"{shlex.join(COLD)}; true"]], ids=["itself", "by a shell"])
def test_a_cold_job_does_not_outlive_snakemake(command):
    snakemake = [sys.executable, "-c", f"import subprocess; subprocess.run({command!r})"]
    with subprocess.Popen(snakemake, stdout=subprocess.PIPE, text=True) as parent:
        job = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        job.wait(20)  # raises if it goes on: it would write its results over those of the next run


@pytest.mark.parametrize("cold", [True, False])
def test_without_a_thread_to_be_had_a_job_ends_in_a_sentence(monkeypatch, capsys, cold):
    """Where the number of processes is limited, as by a cgroup or ulimit -u, a traceback was all that a person saw."""

    def refused(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(script.warm, "run", (lambda request: None) if cold else refused)
    monkeypatch.setattr(script.threading.Thread, "start", refused)
    monkeypatch.setattr(script.os, "_exit", sys.exit)
    with pytest.raises(SystemExit) as ended:
        script.run(snakemake(1), "pack.py")
    assert ended.value.code == 1
    assert (
        "Error in pack: this process ran out of memory or threads (can't start new thread)" in capsys.readouterr().err
    )
