"""The cores and the memory that this process may use. Imports nothing of a network."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

# Version of control groups -> limit, use, and what of the use is cache that gives way
FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def cores() -> int:
    """How many cores the system, or a cluster's job, gives this process; at least 1."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory(groups: str | Path = "/proc/self/cgroup", root: str | Path = "/sys/fs/cgroup") -> int:
    """Bytes that are free: those of the machine, or fewer where a control group (a container's, a job's) sets a limit.

    groups: the file that says which control groups this process is in; there is none but on Linux. root: where these
    lie.
    """
    return min([psutil.virtual_memory().available, *_rooms(Path(groups), Path(root))])


def _rooms(groups: Path, root: Path) -> Iterator[int]:
    """What each group of this process, and each group above it, has left; groups without a limit say nothing."""
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
