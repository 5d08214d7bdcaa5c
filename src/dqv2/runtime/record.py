"""A job's `record.json`: what it depended on, the checksums of what it read and wrote, and its cost."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xxhash

from dqv2.runtime.files import load_json, require_regular, write_json
from dqv2.runtime.sentences import require_working
from dqv2.stages import record_of

LIBRARIES = ("dqv2", "torch", "torchvision", "timm", "numpy", "pandas")
NEEDED = {"stage", "options", "wildcards", "inputs", "outputs"}  # keys without which a record is invalid
# Keys that are passed on where results describe what they were made from
SAID = ("stage", "wildcards", "options", "inputs", "device", "cpu", "versions", "commit", "ended")


def checksum(path: str | Path) -> str:
    """XXH3 (128 bits) of a file, or of a folder's files and their names; detects damage, not forgery.

    Raises ValueError for an existing path that is neither, such as a pipe.
    """
    if Path(path).is_dir():
        return _of_folder(checksums_in(path))
    require_regular(path)
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def checksums_in(folder: str | Path) -> dict[str, str]:
    """The checksum of each file in a folder, by relative path."""
    folder = Path(folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): checksum(file) for file in files}


def _of_folder(files: dict[str, str]) -> str:
    digest = xxhash.xxh3_128()
    for name, found in files.items():
        digest.update(f"{name}\0{found}\n".encode())
    return digest.hexdigest()


def _of_record(facts: dict[str, Any]) -> str:
    """The checksum that a record contains, of everything else in it."""
    rest = {key: value for key, value in facts.items() if key != "checksum"}
    return xxhash.xxh3_128(json.dumps(rest, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write(path: str | Path, facts: dict[str, Any]) -> None:
    """Write a record, adding its own checksum."""
    facts = json.loads(json.dumps(facts))  # as it will be read back
    write_json(path, facts | {"checksum": _of_record(facts)})


@cache
def record_beside(path: str) -> Path | None:
    """The path of the record of the job that makes a file; None for a file that no job makes."""
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
    """Read a record.

    Raises:
        ValueError: it is missing, invalid, or has changed since it was written; the message names it.
        OSError: it may be sound, but cannot be read now.
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
        require_working(error, path)
        raise ValueError(f"{path} cannot be read ({error}): remove it, and its stage runs again") from None
    return found


def as_lines(records: Iterable[dict[str, Any]]) -> str:
    """Records as JSON, one on a line."""
    return "".join(json.dumps(kept, sort_keys=True, ensure_ascii=False) + "\n" for kept in records)


def inputs_of(kept: dict[str, Any]) -> list[dict[str, Any]]:
    """What a job read, by its record: for each file what `checksums_of` says of it."""
    return [each for found in kept["inputs"].values() for each in found]


def of_others(path: str | Path, kept: dict[str, Any]) -> bool:
    """Whether the record at a path is of files elsewhere than next to it, as in the folder of a run that was copied."""
    return any(record_beside(file) != Path(path) for file in kept["outputs"])


def checksums_of(files: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Name -> for each file its path, its checksum, and the checksum of the record of the job that made it.

    Files made by jobs are compared with their records; of a pack not the arrays, which are checked image by image when
    read. For files that no job makes, the checksum is simply computed.

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
    if beside == Path(file):  # a record vouches for itself
        if of_others(file, read(file)):
            raise ValueError(f"{file} is the record of other files than those next to it. {remedy(str(beside.parent))}")
        return {"file": file, "checksum": checksum(file)}
    if not beside.exists():
        raise ValueError(f"{file} has no record ({beside}), so nobody knows what it is. {remedy(file)}")
    try:
        kept = read(beside)
    except ValueError as error:
        raise ValueError(f"{str(error).rpartition(': ')[0]}: without it nobody knows {file}. {remedy(file)}") from None
    expected = compare(file, kept)
    return {"file": file, "checksum": expected, "record": checksum(beside)}


def compare(file: str, kept: dict[str, Any], *, whole: bool = False, without: Collection[str] = ()) -> str:
    """Compare a file with the record of its job; returns the recorded checksum.

    kept: the record. whole: also compare the arrays in a folder. without: files in a folder that are not compared.

    Raises:
        ValueError: the record is of other files, or the file has changed since it was written.
    """
    if file not in kept["outputs"]:
        axes = " ".join(filter(None, kept.get("wildcards", {}).values()))
        raise ValueError(f"{file} is not what the record next to it describes ({kept['stage']} {axes}). {remedy(file)}")
    expected, parts = kept["outputs"][file], kept.get("files", {}).get(file)
    if parts is None:
        _require(file, expected, remedy(file))
        return expected
    if _of_folder(parts) != expected:
        raise ValueError(f"the record of {file} contradicts itself. {remedy(file)}")
    for name, known in ((name, known) for name, known in parts.items() if name not in without):
        _require(f"{file}/{name}", known if whole or not name.endswith(".npy") else None, remedy(file))
    return expected


def as_recorded(content: bytes, file: str, kept: dict[str, Any]) -> bytes:
    """Return what was read of a job's file; raise ValueError where it is not what the record says, because a run
    rewrote it after the record was read."""
    if xxhash.xxh3_128(content).hexdigest() != kept["outputs"][file]:
        raise ValueError(f"{file} has changed meanwhile: a run is writing it; try again when Snakemake has ended")
    return content


def linked(file: str, kept: dict[str, Any]) -> dict[str, bool]:
    """For each link in an exported folder to an original image elsewhere, by its name in the folder: whether the image
    is there and is the one that the job linked to."""
    parts = kept.get("files", {}).get(file, {}) if kept["stage"] == "export" else {}
    links = {name: Path(file, name) for name in parts if Path(file, name).is_symlink()}
    inside = Path(file).resolve()
    links = {name: path for name, path in links.items() if not path.resolve().is_relative_to(inside)}
    return {name: path.is_file() and checksum(path) == parts[name] for name, path in links.items()}


def _require(file: str, expected: str | None, what_to_do: str) -> None:
    """Raise ValueError where a path is missing, is neither a file nor a folder, or has another checksum."""
    if not Path(file).exists():
        raise ValueError(f"{file} is gone. {what_to_do}")
    if not Path(file).is_dir() and not Path(file).is_file():
        raise ValueError(f"{file} is damaged: it is not a regular file. {what_to_do}")
    if expected and (found := checksum(file)) != expected:
        raise ValueError(f"{file} is damaged: its checksum was {expected} and is {found}. {what_to_do}")


def remedy(file: str) -> str:
    """The advice for a file that is not what its job wrote."""
    return f"Remove it (rm -r {shlex.quote(file)}) and run again: its job makes it again."


def behind(files: dict[str, Any]) -> list[dict[str, Any]]:
    """The jobs behind files, by their records, each after those whose outputs it read; with the keys of `SAID`."""
    found: dict[Path, dict[str, Any]] = {}

    def visit(file: str) -> None:
        beside = record_beside(file)
        if beside is None or beside in found or not beside.exists():
            return
        kept = read(beside)
        for each in inputs_of(kept):
            visit(each["file"])
        found[beside] = {key: kept.get(key) for key in SAID}

    for name in files.values():
        for file in [name] if isinstance(name, str) else name:
            visit(file)
    return list(found.values())


def written(outputs: dict[str, Any]) -> dict[str, Any]:
    """A record's entries for its job's other outputs: the checksum of each, and of each file in a folder."""
    files = [file for name, file in outputs.items() if name != "record"]
    folders = {file: checksums_in(file) for file in files if Path(file).is_dir()}
    found = {file: _of_folder(folders[file]) if file in folders else checksum(file) for file in files}
    return {"outputs": found} | ({"files": folders} if folders else {})


def used() -> dict[str, float]:
    """Resource usage of this process and its children: CPU seconds, and the peak memory of a single one in MB."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss
    return {
        "cpu_seconds": round(sum(each.ru_utime + each.ru_stime for each in usage), 4),
        "memory_mb": round(max(each.ru_maxrss for each in usage) * unit / 1e6, 1),
    }


def summary(jobs: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """What jobs, as from `behind` or records, were run with: for each fact all its values, sorted."""
    found: dict[str, set[str]] = {name: set() for name in ("commit", "seed", "device", "cpu", *LIBRARIES, "python")}
    for job in jobs:
        facts = {name: job.get(name) for name in ("commit", "device", "cpu")} | (job.get("versions") or {})
        for name, value in (facts | {"seed": job["wildcards"].get("seed")}).items():
            found.setdefault(name, set()).update([value] if value else [])
    return {name: sorted(values, key=lambda text: (len(text), text)) for name, values in found.items()}


@cache
def cpu() -> str:
    """The processor's name on Linux and macOS, elsewhere its architecture."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> set[str]:
    """The processor's features by Linux's names, such as "avx2" or "avx512_bf16"; empty on other systems."""
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def _cpuinfo(name: str) -> str:
    """Linux's entry of this name for the first processor; empty on other systems."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return ""


@cache
def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that results may depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def note_commit() -> None:
    """Store the commit in the environment, so that jobs started by this process need not ask git."""
    os.environ["DQV2_COMMIT"] = commit() or ""


@cache
def commit() -> str | None:
    """The commit of the library's sources, with "+" if they have uncommitted changes; None outside a checkout.

    Determined once per run: jobs find it in their environment (`note_commit`).
    """
    if "DQV2_COMMIT" in os.environ:
        return os.environ["DQV2_COMMIT"] or None
    file, found = Path(__file__), ""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # of a hook's repository
    # Git refuses a clone that somebody else made, but for this word; this process runs that clone's code anyway
    trusted = f"safe.directory={file.resolve().parents[3]}"
    # Installed into an environment, the library may lie within a repository that is of something else
    for words in (f"ls-files --error-unmatch {file.name}", "describe --always --abbrev=40 --dirty=+ --exclude=*"):
        command = ["git", "-c", trusted, "-C", str(file.parent), *words.split()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=own)
        except (OSError, subprocess.TimeoutExpired):  # no git
            return None
        if done.returncode != 0:
            return None
        found = done.stdout.strip()
    return found or None
