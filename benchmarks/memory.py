"""How much memory a call adds."""

import os
import threading
from pathlib import Path

import numpy as np


def added_memory(call, resident=None, pause=0.001):
    """The most that a call adds to the resident bytes of this process, sampled every `pause` seconds (Linux).

    resident: what counts instead, now: a number, or an array of several.
    """
    resident = resident or resident_bytes
    before, done = resident(), threading.Event()
    peak = before

    def watch():
        nonlocal peak
        while not done.wait(pause):
            peak = np.maximum(peak, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return np.maximum(peak, resident()) - before


def resident_bytes():
    """All that lies in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def own_and_with_files():
    """What is the process's own, and with the pages of files: int64[2] bytes."""
    names = ("RssAnon", "RssFile", "RssShmem")
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    kib = {line.partition(":")[0]: int(line.split()[1]) for line in lines if line.startswith(names)}
    return np.array([kib["RssAnon"], sum(kib.values())]) * 1024
