"""From a Snakemake script to its stage: in a child of the run's warm server, else in this process.

Imports nothing heavy: if the server does the work, this is all that a job's own process does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dqv2.runtime import warm
from dqv2.runtime.warm import THREADS
from dqv2.stages import stage


def run(snakemake: Any, script: str) -> None:
    """Run the stage named like the script on the job, and end the process with its exit code."""
    request = request_of(snakemake, script)
    # Snakemake's numbers may differ
    os.environ |= dict.fromkeys(THREADS, str(request["threads"]))
    try:
        code = warm.run(request)
        if code is None:
            threading.Thread(target=_stop_without, args=[_snakemake()], daemon=True).start()
    except RuntimeError as error:  # no thread can be started
        code = _failed(request, error)
    if code is not None:
        os._exit(code)  # no output waits to be flushed, and taking Snakemake's modules apart takes 5 to 20 ms
    sys.exit(do(request))


def _stop_without(snakemake: int | None) -> None:
    """In a thread: ask this job to stop when Snakemake is gone, as the warm server does. Else it would go on, and write
    its results over those of the next run."""
    while _snakemake() == snakemake:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _snakemake() -> int | None:
    """Snakemake's process: the parent, or that of the shell between them, which bash before 5.1 (as on macOS) keeps.
    None where they have just ended."""
    import psutil

    try:
        parent = psutil.Process(os.getppid())
        return parent.ppid() if parent.name() in ("bash", "sh") else parent.pid
    except psutil.Error:
        return None


def do(request: dict[str, Any]) -> int:
    """Run a job in this process; returns its exit code.

    Errors before it has a log (a library that cannot be loaded, a log that cannot be created) are also reported in one
    sentence.
    """
    try:
        from dqv2.runtime.job import run_job

        return run_job(request)
    except Exception as error:
        return _failed(request, error)


def _failed(request: dict[str, Any], error: Exception) -> int:
    from dqv2.runtime.sentences import sentence

    print(f"\nError in {request['stage']}: {sentence(error, [request['log']])}\n", file=sys.stderr, flush=True)
    return 1


def request_of(snakemake: Any, script: str) -> dict[str, Any]:
    """A job as builtins. The rule's name is not used, as it differs where another workflow imports this as a module."""
    name = Path(script).stem
    return {
        "stage": name,
        "input": _files(snakemake.input),
        "output": _files(snakemake.output),
        "options": snakemake.params.get("options", {}),
        "wildcards": {name: str(value) for name, value in snakemake.wildcards.items()},
        "threads": _threads(snakemake, name),
        "resources": {name: value for name, value in snakemake.resources.items() if isinstance(value, int | str)},
        "log": str(snakemake.log[0]),
        "config": snakemake.config,
    }


def _threads(snakemake: Any, name: str) -> int:
    """The number of threads. Weights computed on a CPU depend on it, so a stage that runs a network uses the
    configuration's number, whatever --cores and --set-threads are."""
    threads = snakemake.config.get("threads") if stage(name).model else None
    return int(threads or snakemake.threads)


def _files(named: Any) -> dict[str, str | list[str]]:
    return {name: str(files) if isinstance(files, str) else [*map(str, files)] for name, files in named.items()}
