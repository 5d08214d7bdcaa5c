"""The cores and the memory that this process may use. Does not import torch."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

# Version of control groups -> the files with the limit and the usage, and the key of reclaimable cache in memory.stat
FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def cores() -> int:
    """The number of cores available to this process, for example in a cluster's job; at least 1."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory(groups: str | Path = "/proc/self/cgroup", root: str | Path = "/sys/fs/cgroup") -> int:
    """Free memory in bytes: the machine's, or less where a control group (of a container or job) sets a limit.

    groups: the file that lists this process's control groups, on Linux. root: where control groups are mounted.
    """
    return min([psutil.virtual_memory().available, *_rooms(Path(groups), Path(root))])


def _rooms(groups: Path, root: Path) -> Iterator[int]:
    """Yield the memory left in each control group of this process and its ancestors that has a limit."""
    if not groups.exists():
        return
    for line in groups.read_text(encoding="utf-8").splitlines():
        _, controllers, place = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, files = (root / "memory", FILES[1]) if controllers else (root, FILES[2])
        group = base / place.lstrip("/")
        for folder in (group, *group.parents):
            if (room := _room(folder, *files)) is not None:
                yield room
            if folder == base:
                break


def _room(folder: Path, limit: str, used: str, cache: str) -> int | None:
    try:
        most, now, lines = ((folder / name).read_text(encoding="utf-8") for name in (limit, used, "memory.stat"))
    except OSError:  # the root has no limit, and a container does not see all groups
        return None
    stat = dict(line.split() for line in lines.splitlines())
    return None if most.strip() == "max" else max(int(most) - int(now) + int(stat.get(cache, 0)), 0)
