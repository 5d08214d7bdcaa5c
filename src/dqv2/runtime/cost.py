"""What a stage cost: seconds of its own work, by its own clock, without Python's start-up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dqv2.runtime.device import describe
from dqv2.runtime.files import write_json


def write_cost(path: str | Path, seconds: float, device: torch.device, **about: Any) -> None:
    """Write `seconds`, the device, the CPU threads and whatever `about` holds, as JSON."""
    facts = {"seconds": round(seconds, 4), "device": describe(device), "threads": torch.get_num_threads()}
    write_json(path, facts | about)


@contextmanager
def measured(path: str | Path, device: torch.device | None = None) -> Iterator[None]:
    """Write what the work in the block cost, when it succeeds.

    Args:
        path: the file.
        device: where the work is done, the CPU unless given; a GPU is waited for before the clock is read.
    """
    device = device or torch.device("cpu")
    began = time.perf_counter()
    yield
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    write_cost(path, time.perf_counter() - began, device)
