"""The cores that this process may use. Imports nothing of a network."""

import os


def cores() -> int:
    """How many: those that the system, or a cluster's job, gives this process; at least 1."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
