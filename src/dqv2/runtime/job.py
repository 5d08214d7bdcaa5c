"""What every script does around its work: the log, one clear sentence when it fails, the seed of an output."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dqv2.runtime.logging import log_to, logger


def run_job(main: Callable[[Any], None], snakemake: Any) -> None:
    """Run a script's `main(snakemake)`: the traceback goes to the log, one sentence to the terminal, exit code 1."""
    log = snakemake.log[0]
    log_to(log)
    try:
        main(snakemake)
    except Exception as error:
        logger.info("failed", exc_info=True)
        print(f"\nError in {snakemake.rule}: {error}\n(the whole story: {log})\n", file=sys.stderr)
        sys.exit(1)


def seed_of(path: str) -> int:
    """The seed that a path carries: ".../seed-3/..." -> 3."""
    return int(re.search(r"/seed-(\d+)/", path)[1])


def resume_folder(output: str) -> Path:
    """Where the resume state of the training that makes `output` is kept: beside the outputs, not among them.

    results/demo/digits/train/.../metrics.json -> results/demo/resume/digits/train/...
    """
    parts = Path(output).parts
    cut = parts.index("results") + 2
    return Path(*parts[:cut], "resume", *parts[cut:-1])
