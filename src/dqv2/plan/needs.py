"""What a job asks for, by its stage and attempt. No output's path or params hold any of it, so it reruns nothing."""

from __future__ import annotations

from dqv2.config import Config
from dqv2.config.needs import Needs

FALLBACK = Needs(mem_mb=8000, runtime=60, disk_mb=2000)


def needs(config: Config, stage: str, *, seeds: int = 1, attempt: int = 1) -> dict[str, int]:
    """`mem_mb`, `runtime` (minutes) and `disk_mb` of a job that does `seeds` seeds of `stage`.

    A job that ended for want of memory or time is tried again with `attempt` times as much.
    """
    found = {}
    for key in ("mem_mb", "runtime", "disk_mb"):
        blocks = (config.needs.get(stage), config.needs.get("default"), FALLBACK)
        value = next(getattr(block, key) for block in blocks if block and getattr(block, key) is not None)
        found[key] = value * attempt * (seeds if key == "runtime" else 1)
    return found


def threads(config: Config, stage: str) -> int:
    """CPU cores of a job of `stage`."""
    blocks = (config.needs.get(stage), config.needs.get("default"))
    return next((block.threads for block in blocks if block and block.threads), config.threads)
