"""What the benchmarks share: the machine in a line, clocks, Markdown tables."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import date
from functools import partial
from typing import TypeVar

import torch

from dqv2.runtime.record import cpu

Found = TypeVar("Found")


def machine(device: torch.device) -> str:
    """Device, threads, versions and date."""
    where = f"{cpu()}, {torch.get_num_threads()} of {os.cpu_count()} CPUs"
    if device.type == "cuda":
        where = f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}; {where}"
    return f"{where}; Python {platform.python_version()}, torch {torch.__version__}; {date.today()}"


def clock(call: Callable[[], object], device: torch.device | None = None) -> float:
    """Seconds that a call takes, of the wall clock; a GPU is waited for, before with earlier work and after."""
    wait = partial(torch.cuda.synchronize, device) if device is not None and device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - began


def timed(call: Callable[[], Found]) -> tuple[float, float, Found]:
    """Seconds by the clock, seconds that this process computed, in which other load does not count, and the result."""
    began, computed = time.perf_counter(), time.process_time()
    found = call()
    return time.perf_counter() - began, time.process_time() - computed, found


def work(call: Callable[[], object], device: torch.device) -> float:
    """Seconds that a call would take on a machine of its own.

    On the CPU: seconds that this process and the processes it started computed, a thread, so that other load on the
    machine does not count; on a GPU the wall clock.
    """
    if device.type == "cuda":
        return clock(call, device)
    began = cpu_seconds()
    call()
    return (cpu_seconds() - began) / torch.get_num_threads()


def cpu_seconds() -> float:
    """Seconds that this process and those that it started and that ended have computed."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def median_work(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The median of `work` over so many repeats, after one that is not counted."""
    call()
    return statistics.median(work(call, device) for _ in range(repeats))


def spread(values: Iterable[float], decimals: int = 0) -> str:
    """Median and range: "812 (790 to 830)"."""
    found = sorted(values)
    low, middle, high = (f"{value:,.{decimals}f}" for value in (found[0], statistics.median(found), found[-1]))
    return middle if len(found) == 1 else f"{middle} ({low} to {high})"


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    header = list(header)
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])
