"""From a script of Snakemake's to its stage: in a child of the run's warm server, else in this process.

Imports nothing heavy: where the server does the work, this is all that a job's own process does.
"""

from __future__ import annotations

import sys
from typing import Any

from dqv2.runtime import warm


def run(snakemake: Any) -> None:
    """Run the stage of the rule's name on the job, and end the process with its exit code."""
    request = request_of(snakemake)
    code = warm.run(request)
    if code is None:
        from dqv2.runtime.job import run_job

        code = run_job(request)
    sys.exit(code)


def request_of(snakemake: Any) -> dict[str, Any]:
    """What a job is, in builtins."""
    return {
        "stage": snakemake.rule,
        "input": _files(snakemake.input),
        "output": _files(snakemake.output),
        "options": snakemake.params.get("options", {}),
        "wildcards": {name: str(value) for name, value in snakemake.wildcards.items()},
        "threads": snakemake.threads,
        "resources": {name: value for name, value in snakemake.resources.items() if isinstance(value, int | str)},
        "log": str(snakemake.log[0]),
        "config": snakemake.config,
    }


def _files(named: Any) -> dict[str, str | list[str]]:
    return {name: str(files) if isinstance(files, str) else [*map(str, files)] for name, files in named.items()}
