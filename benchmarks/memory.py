"""How much memory a call adds."""

import os
import threading
from pathlib import Path


def added_memory(call):
    """Peak resident bytes that a call adds to this process, sampled every millisecond from /proc (Linux)."""

    def resident():
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before, peak, done = resident(), [0], threading.Event()

    def watch():
        while not done.wait(0.001):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return peak[0] - before
