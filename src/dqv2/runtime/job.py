"""What every script does around its work: the log, its device, one clear sentence when it fails, a seed's output."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from dqv2.runtime import lease
from dqv2.runtime.files import write_json
from dqv2.runtime.logging import log_to, logger, say
from dqv2.runtime.stop import Stopped, stop_signals


def run_job(main: Callable[[Any], None], snakemake: Any) -> None:
    """Run a script's `main(snakemake)` on the devices that its rule asks for (resource `gpu`).

    When it fails, the traceback goes to the log and one sentence to the terminal, and the exit code is 1. When it is
    asked to stop, it is 128 + the signal's number, as the shell has it: what was reached is kept, and the job goes on
    from there when it is started again.
    """
    log = snakemake.log[0]
    log_to(log)
    try:
        with stop_signals(), _device(snakemake):
            main(snakemake)
        _note_job(snakemake)
    except Stopped as stopped:
        logger.info("stopped", exc_info=True)
        print(f"\n{snakemake.rule} was {stopped}; started again it goes on from what it kept\n", file=sys.stderr)
        sys.exit(128 + stopped.signum)
    except Exception as error:
        logger.info("failed", exc_info=True)
        print(f"\nError in {snakemake.rule}: {error}\n(the whole story: {log})\n", file=sys.stderr)
        sys.exit(1)


def _note_job(snakemake: Any) -> None:
    """In each cost file: Snakemake's measurements of the job it was made in, and how many were made there."""
    costs = [Path(file) for file in snakemake.output if Path(file).name == "cost.json"]
    for file in costs:
        _, run, *place = Path(snakemake.log[0]).with_suffix("").parts
        about = {"benchmark": f"results/{run}/benchmarks/{'/'.join(place)}.tsv", "made": len(costs)}
        write_json(file, json.loads(file.read_text()) | about)


@contextmanager
def _device(snakemake: Any) -> Iterator[None]:
    """Hold the job's devices; what it got, when and for how long stands in its log."""
    resources = snakemake.resources
    job = " ".join([snakemake.rule, *map(str, snakemake.wildcards)])
    wanted, shared = (int(resources.get(name, default)) for name, default in (("gpu", 0), ("jobs_per_gpu", 1)))
    with lease.take(wanted, jobs_per_device=shared, job=job, waiting=say) as held:
        if held.devices:
            logger.info("took %s: process %d, %s", held, os.getpid(), _now())
        try:
            yield
        finally:
            if held.devices:
                logger.info("gave back %s: process %d, %s", held, os.getpid(), _now())


def _now() -> str:
    return datetime.now().isoformat(timespec="milliseconds")


def seed_of(path: str | Path) -> int:
    """The seed that a path carries: ".../seed-3/..." -> 3."""
    return int(re.search(r"/seed-(\d+)/", str(path))[1])


def resume_folder(output: str | Path) -> Path:
    """Where the resume state of the training that makes `output` is kept: beside the outputs, not among them.

    results/demo/digits/train/.../metrics.json -> results/demo/resume/digits/train/...
    """
    parts = Path(output).parts
    cut = parts.index("results") + 2
    return Path(*parts[:cut], "resume", *parts[cut:-1])
