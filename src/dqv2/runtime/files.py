"""Files that are either whole or absent: atomic writes, strict JSON, arrays, checksums."""

import csv
import glob
import hashlib
import io
import json
import math
import os
import platform
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import psutil
from numpy.typing import ArrayLike


class _LineFeeds:
    """Takes rows that end in CR LF, writes them with LF."""

    def __init__(self, file: TextIO):
        self.file = file

    def write(self, row: str) -> int:
        return self.file.write(row.removesuffix("\r\n") + "\n")


def csv_writer(file: TextIO) -> Any:
    """A writer of CSV whose lines end in LF, and whose fields survive line feeds and carriage returns in them.

    Before Python 3.13 `csv` quotes a carriage return only where lines end in one.
    """
    return csv.writer(_LineFeeds(file), lineterminator="\r\n")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed onto `path`.

    The temporary name ends in the target's own name, so writers that go by the suffix (`np.save`, matplotlib)
    behave. When the block raises, the temporary file and any parent folder made for it are removed and an
    older `path` stays as it was. A process killed outright leaves at most a hidden `.tmp-*` sibling.

    Raises:
        FileNotFoundError: the block ended without having written the temporary file.
    """
    with _staged(path) as (target, temporary):
        yield temporary
        if not temporary.is_file():
            raise FileNotFoundError(f"nothing was written for {target}: its temporary file does not exist")
        _fsync(temporary)
        os.replace(temporary, target)  # noqa: PTH105 (replaces atomically on every system)


@contextmanager
def atomic_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new, empty folder beside `path`; on success it takes the place of `path`, whole.

    A folder that stood at `path` is replaced with everything in it: first moved aside, and moved back should
    the rename fail. What a process that was killed left of the same folder is removed. When the block raises, the
    new folder is removed and the old one stays.

    Raises:
        NotADirectoryError: `path` is an existing file.
    """
    with _staged(path) as (target, temporary):
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(f"{target} is a file, but a folder is to be written there: remove it")
        for left in target.parent.glob(f".tmp-*-{glob.escape(target.name)}"):
            if _abandoned(left, 3600):
                remove(left, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        for folder, _, names in os.walk(temporary):
            for name in [*names, "."]:
                _fsync(Path(folder, name))
        old = temporary.with_name(temporary.name + ".old")
        if target.exists():
            target.rename(old)
        try:
            temporary.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)


def recover_dirs(parent: str | os.PathLike[str]) -> None:
    """Put back folders in `parent` that a killed `atomic_dir` had moved aside, and clear what else it left."""
    for old in Path(parent).glob(".tmp-*.old"):
        target = old.with_name("-".join(old.name.removesuffix(".old").split("-")[4:]))
        if _abandoned(old, 3600) and not target.exists():
            old.rename(target)
    clear_temporaries(parent, older_than=3600)


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as JSON, atomically: UTF-8, keys sorted, two spaces of indent, a final newline.

    Raises ValueError for a number that is NaN or infinite (JSON has neither), and says where it stands; TypeError for
    what is no JSON type (tensors and NumPy scalars included: convert them first).
    """
    if (bad := _not_finite(obj, "")) is not None:
        raise ValueError(f"{path} was not written: the value at {bad or 'the top'} is not a finite number")
    text = json.dumps(obj, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def require_regular(path: str | os.PathLike[str]) -> None:
    """Raise ValueError for what is there and is no file: a pipe would block for ever, a device never end."""
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(f"{path} is no regular file")


def load_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds. Raises ValueError for what is no JSON, or no regular file, and OSError."""
    require_regular(path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds; None where it is gone or damaged: for those who can do without it."""
    try:
        return load_json(path)
    except (OSError, ValueError):
        return None


def write_npz(path: str | os.PathLike[str], **arrays: ArrayLike) -> None:
    """Write arrays under their names as .npz, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def save_weights(path: str | os.PathLike[str], about: dict[str, Any], model: Any) -> None:
    """Write `about` and the model's `state`, atomically; by `torch.save` without the file's own name: same weights,
    same bytes."""
    import torch

    buffer = io.BytesIO()
    torch.save(about | {"state": {key: value.cpu() for key, value in model.state_dict().items()}}, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def sha256(source: str | os.PathLike[str] | bytes | memoryview) -> str:
    """Return the SHA-256 of a file (`str` or path) or of bytes, as 64 hex digits."""
    if not isinstance(source, str | os.PathLike):
        return hashlib.sha256(source).hexdigest()
    with Path(source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _staged(path: str | os.PathLike[str]) -> Iterator[tuple[Path, Path]]:
    """Yield (target, temporary sibling); afterwards flush the parent, or on failure remove what was made."""
    target = Path(path).resolve()  # a symbolic link stays one: what it points to is replaced
    made = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not the tempfile module: its files are private (0600), and outputs follow the user's umask.
    temporary = target.with_name(f".tmp-{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}-{target.name}")
    try:
        yield target, temporary
        _fsync(target.parent)
    except BaseException:
        remove(temporary, ignore_errors=True)
        with suppress(OSError):  # another process has put something into it meanwhile: it stays
            for parent in made:
                parent.rmdir()
        raise


def remove(path: Path, *, ignore_errors: bool = False) -> None:
    """Remove a file or a whole folder, if it is there; of a link the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=ignore_errors)
    else:
        path.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_finite(obj: Any, where: str) -> str | None:
    """Return the place of the first float that is NaN or infinite, or None."""
    if isinstance(obj, float):
        return None if math.isfinite(obj) else where
    if isinstance(obj, dict):
        children = [(f"{where}.{key}" if where else str(key), value) for key, value in obj.items()]
    elif isinstance(obj, list | tuple):
        children = [(f"{where}[{i}]", value) for i, value in enumerate(obj)]
    else:
        return None
    return next((bad for at, value in children if (bad := _not_finite(value, at)) is not None), None)


def _written(path: Path) -> float:
    """When anything of a file or folder was written last; a folder says nothing of a file that grows in it."""
    times = [time.time()]  # of what is gone meanwhile
    with suppress(FileNotFoundError):
        times = [each.stat().st_mtime for each in (path, *path.rglob("*"))]
    return max(times)


@cache
def _machine() -> str:
    """Stands for this machine as it is running now: where a process's number means that process."""
    known = [platform.node()]
    with suppress(OSError):  # of Linux
        known += [
            Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    return hashlib.sha256(" ".join(known).encode()).hexdigest()[:8]


def _abandoned(path: Path, older_than: float) -> bool:
    """Whether nobody writes to a temporary any more."""
    machine, number = [*path.name.split("-"), "", ""][1:3]
    if machine == _machine() and number.isdigit():
        return not psutil.pid_exists(int(number))
    return time.time() - _written(path) > older_than


def clear_temporaries(*folders: str | os.PathLike[str], older_than: float) -> int:
    """Remove what processes that were killed outright left below `folders`; how many.

    Of another machine's processes nobody here knows whether they live: theirs are removed when nothing was written to
    them for `older_than` seconds.
    """
    stale = [path for folder in folders for path in Path(folder).rglob(".tmp-*") if _abandoned(path, older_than)]
    for path in stale:
        remove(path, ignore_errors=True)
    return len(stale)
