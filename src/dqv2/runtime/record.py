"""What a job leaves of itself: `record.json`, with what it depended on, the checksums of what it read and wrote, and
what it cost. Whoever wants to know any of it later reads it here."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import xxhash

from dqv2.stages import record_of

LIBRARIES = ("dqv2", "torch", "torchvision", "timm", "numpy", "pandas")
BLOCK = 2**22


def checksum(path: str | Path) -> str:
    """XXH3 (128 bits) of a file, or of a folder's files and their names: against damage, not against forgery."""
    path, digest = Path(path), xxhash.xxh3_128()
    if path.is_dir():
        for file in sorted(each for each in path.rglob("*") if each.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{checksum(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def record_beside(path: str) -> Path | None:
    """The record of the job that made a file below results/<run>/, where there is one."""
    parts = Path(path).parts
    below = record_of("/".join(parts[2:])) if parts[:1] == ("results",) else None
    found = Path(*parts[:2], below) if below else None
    return found if found and found.exists() else None


def read(path: str | Path) -> dict[str, Any]:
    """A record.

    Raises:
        ValueError: it cannot be read; the message names it.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(found, dict) or "stage" not in found:
            raise ValueError("no record of a job's")
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}): remove it, and its stage runs again") from None
    return found


def checksums_of(files: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Name -> for each file its path, its checksum, and the digest of the record of the job that made it.

    The checksum is what the record says; of a file that no record knows, or that is newer than its record, it is
    computed.
    """
    return {
        name: [_known(file) for file in ([found] if isinstance(found, str) else found)] for name, found in files.items()
    }


def _known(file: str) -> dict[str, Any]:
    beside = record_beside(file)
    if beside is None:
        return {"file": file, "checksum": checksum(file)}
    kept = read(beside)["outputs"].get(file)
    if Path(file).stat().st_mtime > beside.stat().st_mtime:  # somebody's hand was on it
        kept = None
    return {"file": file, "checksum": kept or checksum(file), "record": checksum(beside)}


def behind(files: dict[str, Any]) -> list[dict[str, Any]]:
    """The jobs behind files, by their records, each after those that it read: stage, wildcards, options, versions."""
    found: dict[Path, dict[str, Any]] = {}

    def visit(file: str) -> None:
        beside = record_beside(file)
        if beside is None or beside in found:
            return
        kept = read(beside)
        for each in (each for inputs in kept["inputs"].values() for each in inputs):
            visit(each["file"])
        found[beside] = {key: kept[key] for key in ("stage", "wildcards", "options", "device", "versions", "commit")}

    for name in files.values():
        for file in [name] if isinstance(name, str) else name:
            visit(file)
    return list(found.values())


def written(outputs: dict[str, Any]) -> dict[str, str]:
    """The checksum of each output, by its path; but for the record's own."""
    return {file: checksum(file) for name, file in outputs.items() if name != "record"}


def memory_now() -> float:
    """The memory of this process, in MB: of a job that is about to begin it is libraries, which others may share."""
    return round(psutil.Process().memory_info().rss / 1e6, 1)


def used() -> dict[str, float]:
    """What this process and those that it started took: CPU seconds, and the largest memory of one in MB."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return {
        "cpu_seconds": round(sum(each.ru_utime + each.ru_stime for each in usage), 4),
        "memory_mb": round(max(each.ru_maxrss for each in usage) * unit / 1e6, 1),
    }


@cache
def versions() -> dict[str, str]:
    """Of Python and the libraries that results may depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def note_commit() -> None:
    """Ask git once for all jobs that this process starts."""
    os.environ["DQV2_COMMIT"] = commit() or ""


@cache
def commit() -> str | None:
    """The commit of the library's sources, with "+" where they were changed since; None outside a checkout.

    Asked once a run: jobs find it in their environment.
    """
    if "DQV2_COMMIT" in os.environ:
        return os.environ["DQV2_COMMIT"] or None
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--abbrev=40",
        "--dirty=+",
        "--exclude=*",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):  # no git
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
