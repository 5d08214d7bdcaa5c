"""What a job leaves of itself: `record.json`, with what it depended on, the checksums of what it read and wrote, and
what it cost. Whoever wants to know any of it later reads it here."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xxhash

from dqv2.runtime.files import load_json, require_regular, write_json
from dqv2.stages import record_of

LIBRARIES = ("dqv2", "torch", "torchvision", "timm", "numpy", "pandas")
NEEDED = {"stage", "options", "wildcards", "inputs", "outputs"}  # by those who read a record
# Of a job, where others tell what they were made from
SAID = ("stage", "wildcards", "options", "inputs", "device", "cpu", "versions", "commit", "ended")


def checksum(path: str | Path) -> str:
    """XXH3 (128 bits) of a file, or of a folder's files and their names: against damage, not against forgery.

    Raises ValueError for what is neither: a pipe would block for ever, a device never end.
    """
    if Path(path).is_dir():
        return _of_folder(checksums_in(path))
    require_regular(path)
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def checksums_in(folder: str | Path) -> dict[str, str]:
    """The checksum of each file of a folder, by its path in it."""
    folder = Path(folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): checksum(file) for file in files}


def _of_folder(files: dict[str, str]) -> str:
    digest = xxhash.xxh3_128()
    for name, found in files.items():
        digest.update(f"{name}\0{found}\n".encode())
    return digest.hexdigest()


def _of_record(facts: dict[str, Any]) -> str:
    """The checksum that a record carries: of all else in it."""
    rest = {key: value for key, value in facts.items() if key != "checksum"}
    return xxhash.xxh3_128(json.dumps(rest, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write(path: str | Path, facts: dict[str, Any]) -> None:
    """Write a record, with a checksum of its own."""
    facts = json.loads(json.dumps(facts))  # as it will be read
    write_json(path, facts | {"checksum": _of_record(facts)})


@cache
def record_beside(path: str) -> Path | None:
    """Where the record is of the job that made a file of a run's; None for what no job makes."""
    top, *parts = Path(path).parts or ("",)
    if top == "paper_figures":
        run, parts = ("paper", parts) if len(parts) == 1 else (parts[0], parts[1:])
        below = record_of("/".join([top, *parts]))
    elif top == "results" and len(parts) > 1:
        run, below = parts[0], record_of("/".join(parts[1:]))
    else:
        return None
    return Path("results", run, below) if below else None


def read(path: str | Path) -> dict[str, Any]:
    """A record.

    Raises:
        ValueError: it cannot be read, or is not as it was written; the message names it.
        PermissionError: nobody may look.
    """
    try:
        found = load_json(path)
        if not isinstance(found, dict) or not found.keys() >= NEEDED:
            raise ValueError("no record of a job's")
        if found.get("checksum") != _of_record(found):
            raise ValueError("it has changed since it was written")
    except PermissionError:  # it may be sound
        raise
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}): remove it, and its stage runs again") from None
    return found


def checksums_of(files: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Name -> for each file its path, its checksum, and the digest of the record of the job that made it.

    What a job made is compared with what its record says; of a pack the arrays are left out, which are compared image
    by image as they are read. Only of files that no job makes is a checksum taken as it comes.

    Raises:
        ValueError: a file is not the one that its job wrote; the message says what to remove.
    """
    return {
        name: [_known(file) for file in ([found] if isinstance(found, str) else found)] for name, found in files.items()
    }


def _known(file: str) -> dict[str, Any]:
    beside = record_beside(file)
    if beside is None:
        return {"file": file, "checksum": checksum(file)}
    if beside == Path(file):  # what it says of itself is all that is known of it
        if any(record_beside(each) != beside for each in read(file)["outputs"]):
            raise ValueError(f"{file} is the record of other files than those beside it. {remedy(str(beside.parent))}")
        return {"file": file, "checksum": checksum(file)}
    if not beside.exists():
        raise ValueError(f"{file} has no record ({beside}), so nobody knows what it is. {remedy(file)}")
    try:
        kept = read(beside)
    except ValueError as error:
        raise ValueError(f"{str(error).rpartition(': ')[0]}: without it nobody knows {file}. {remedy(file)}") from None
    expected = compare(file, kept)
    return {"file": file, "checksum": expected, "record": checksum(beside)}


def compare(file: str, kept: dict[str, Any], *, whole: bool = False) -> str:
    """The checksum of a file by the record of its job, once the file was compared with it.

    kept: the record. whole: compare the arrays of a folder too.

    Raises:
        ValueError: the record is of other files, or the file is not as it was written.
    """
    if file not in kept["outputs"]:
        axes = " ".join(filter(None, kept.get("wildcards", {}).values()))
        raise ValueError(f"{file} is not what the record beside it is of ({kept['stage']} {axes}). {remedy(file)}")
    expected, parts = kept["outputs"][file], kept.get("files", {}).get(file)
    if parts is None:
        _require(file, expected, remedy(file))
        return expected
    if _of_folder(parts) != expected:
        raise ValueError(f"the record of {file} contradicts itself. {remedy(file)}")
    for name, known in parts.items():
        _require(f"{file}/{name}", known if whole or not name.endswith(".npy") else None, remedy(file))
    return expected


def _require(file: str, expected: str | None, what_to_do: str) -> None:
    """Raise ValueError where a file is not there, is no file or folder, or has another checksum than is expected."""
    if not Path(file).exists():
        raise ValueError(f"{file} is gone. {what_to_do}")
    if not Path(file).is_dir() and not Path(file).is_file():
        raise ValueError(f"{file} is damaged: it is no regular file. {what_to_do}")
    if expected and (found := checksum(file)) != expected:
        raise ValueError(f"{file} is damaged: its checksum was {expected} and is {found}. {what_to_do}")


def remedy(file: str) -> str:
    """What to do with a file that is not what its job wrote."""
    return f"Remove it (rm -r {shlex.quote(file)}) and run again: its job makes it anew."


def behind(files: dict[str, Any]) -> list[dict[str, Any]]:
    """The jobs behind files, by their records, each after those that it read; of each what `SAID` names."""
    found: dict[Path, dict[str, Any]] = {}

    def visit(file: str) -> None:
        beside = record_beside(file)
        if beside is None or beside in found or not beside.exists():
            return
        kept = read(beside)
        for each in (each for inputs in kept["inputs"].values() for each in inputs):
            visit(each["file"])
        found[beside] = {key: kept.get(key) for key in SAID}

    for name in files.values():
        for file in [name] if isinstance(name, str) else name:
            visit(file)
    return list(found.values())


def written(outputs: dict[str, Any]) -> dict[str, Any]:
    """What a record says of its job's outputs but for itself: the checksum of each, and of each file of a folder."""
    files = [file for name, file in outputs.items() if name != "record"]
    folders = {file: checksums_in(file) for file in files if Path(file).is_dir()}
    found = {file: _of_folder(folders[file]) if file in folders else checksum(file) for file in files}
    return {"outputs": found} | ({"files": folders} if folders else {})


def used() -> dict[str, float]:
    """What this process and those that it started took: CPU seconds, and the largest memory of one in MB."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return {
        "cpu_seconds": round(sum(each.ru_utime + each.ru_stime for each in usage), 4),
        "memory_mb": round(max(each.ru_maxrss for each in usage) * unit / 1e6, 1),
    }


def summary(jobs: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """What jobs were done with, as `behind` gives them: each kind of fact with all that was the case, sorted."""
    found: dict[str, set[str]] = {name: set() for name in ("commit", "seed", "device", "cpu", *LIBRARIES, "python")}
    for job in jobs:
        facts = {name: job.get(name) for name in ("commit", "device", "cpu")} | (job.get("versions") or {})
        for name, value in (facts | {"seed": job["wildcards"].get("seed")}).items():
            found.setdefault(name, set()).update([value] if value else [])
    return {name: sorted(values, key=lambda text: (len(text), text)) for name, values in found.items()}


@cache
def cpu() -> str:
    """The processor's name, as Linux and macOS have it; elsewhere its architecture."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> set[str]:
    """The processor's features, as Linux names them: "avx2", "avx512_bf16"; none elsewhere."""
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def _cpuinfo(name: str) -> str:
    """What Linux says of the first processor under this name; empty elsewhere."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return ""


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
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # of a hook's repository
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=own)
    except (OSError, subprocess.TimeoutExpired):  # no git
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
