"""Files that are either whole or absent: atomic writes, strict JSON, arrays, checksums."""

import csv
import errno
import hashlib
import io
import json
import math
import os
import platform
import re
import shutil
import tempfile
import time
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import psutil
from numpy.typing import ArrayLike

from dqv2.runtime.sentences import require_working

MARK = r"\.tmp(?:-[^-]*){3}-"  # begins a temporary name (`_temporary`)
ASIDE = ".aside"  # ends the temporary name of a folder that is being replaced


class _LineFeeds:
    """Writes rows that end in CR LF with LF instead."""

    def __init__(self, file: TextIO):
        self.file = file

    def write(self, row: str) -> int:
        return self.file.write(row.removesuffix("\r\n") + "\n")


def csv_writer(file: TextIO) -> Any:
    """A CSV writer whose lines end in LF, and whose fields may contain line feeds and carriage returns.

    Before Python 3.13, `csv` quotes carriage returns only if lines end in one.
    """
    return csv.writer(_LineFeeds(file), lineterminator="\r\n")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it is flushed to disk and renamed to `path`.

    The temporary name ends in the target's own name, so writers that depend on the suffix (`np.save`, matplotlib) work.
    When the block raises, the temporary file and any parent folders made for it are removed, and an existing `path` is
    unchanged. A killed process leaves at most a hidden `.tmp-*` file.

    Raises:
        FileNotFoundError: the block did not write the temporary file.
    """
    with _staged(path) as (target, temporary):
        yield temporary
        if not temporary.is_file():
            raise FileNotFoundError(f"nothing was written for {target}: its temporary file does not exist")
        _fsync(temporary)
        os.replace(temporary, target)  # noqa: PTH105 (replaces atomically on every system)


@contextmanager
def atomic_dir(path: str | os.PathLike[str], *, mark: str | None = None) -> Iterator[Path]:
    """Yield a new, empty folder next to `path`; on success it replaces `path`.

    An existing folder at `path` is replaced with everything in it: it is moved aside first, and moved back if what
    follows fails or is interrupted. So is one that a killed process had moved aside; its other leftovers for the same
    folder are removed. When the block raises, the new folder is removed and the old one stays.

    mark: the name of a file in every folder of this kind; only such a folder, or an empty one, is replaced.

    Raises:
        NotADirectoryError: `path` is an existing file.
        FileExistsError: `path` is a folder with other things in it.
    """
    with _staged(path) as (target, temporary):
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(f"{target} is a file, but a folder is to be written there: remove it")
        if mark and target.exists() and not (target / mark).exists() and any(target.iterdir()):
            raise FileExistsError(
                f"{target} would be replaced, and its files are others', as it has no {mark}: name a new folder"
            )
        _settle_what_is_left(target.parent, target)
        temporary.mkdir()
        yield temporary
        for folder, _, names in os.walk(temporary):
            for name in [*names, "."]:
                _fsync(Path(folder, name))
        if target.exists():
            target.rename(f"{temporary}{ASIDE}")
        temporary.rename(target)
        _settle(target, temporary)


def recover_dirs(parent: str | os.PathLike[str]) -> None:
    """Restore folders in `parent` that a killed `atomic_dir` had moved aside, and remove its other leftovers."""
    _settle_what_is_left(Path(parent))
    clear_temporaries(parent, older_than=3600)


@contextmanager
def temporary_dir(purpose: str) -> Iterator[Path]:
    """Yield a new, private folder in TMPDIR, removed afterwards; and remove those for the same purpose that killed
    processes of this machine have left."""
    target = Path(tempfile.gettempdir(), purpose).resolve()
    _settle_what_is_left(target.parent, target, older_than=math.inf)
    temporary = _temporary(target)
    try:
        temporary.mkdir(mode=0o700)
        yield temporary
    finally:
        remove(temporary, ignore_errors=True)


def _settle_what_is_left(folder: Path, *only: Path, older_than: float = 3600) -> None:
    """What killed processes have left in a folder, of these targets or of any."""
    for left in folder.glob(".tmp-*"):
        temporary = left.with_name(left.name.removesuffix(ASIDE))
        target, final = (folder / re.sub(rf"^({MARK}){count}", "", temporary.name) for count in ("", "+"))
        if (only and final not in only) or not _abandoned(left, older_than):
            continue
        if target == final:
            _settle(target, temporary)
        else:  # what it was to replace was a temporary itself
            remove(left, ignore_errors=True)


def _settle(target: Path, temporary: Path) -> None:
    """After a replacement of `target`, or amid one that failed: remove `temporary` and what was moved aside, which is
    moved back where there is no `target`."""
    remove(temporary, ignore_errors=True)
    old = temporary.with_name(temporary.name + ASIDE)
    with suppress(OSError):  # mostly, there is none
        old.rename(temporary if target.exists() else target)  # not removed under a name from which it is put back
    remove(temporary, ignore_errors=True)


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as JSON, atomically: UTF-8, sorted keys, two-space indent, final newline.

    Raises ValueError, with its place, for a number that is NaN or infinite (JSON has neither); TypeError for types
    without a JSON equivalent (including tensors and NumPy scalars).
    """
    if (bad := _not_finite(obj, "")) is not None:
        raise ValueError(f"{path} was not written: the value at {bad or 'the top'} is not a finite number")
    text = json.dumps(obj, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def require_regular(path: str | os.PathLike[str]) -> None:
    """Raise ValueError for an existing path that is not a regular file: reading a pipe or device might never end."""
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(f"{path} is not a regular file")


def load_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file; raises ValueError for invalid JSON, or a path that is no file, and OSError."""
    require_regular(path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file; None where it is missing or damaged."""
    try:
        return load_json(path)
    except (OSError, ValueError) as error:
        require_working(error, path)
        return None


def write_npz(path: str | os.PathLike[str], **arrays: ArrayLike) -> None:
    """Write arrays under their names as .npz, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_npz(path: str | os.PathLike[str], *names: str, also: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read arrays from an .npz by their names, those of `also` only where it has them.

    Raises ValueError, which names the file, where it is no .npz or lacks an array.
    """
    try:
        with np.load(path) as kept:
            there, found = kept.files, {name: kept[name] for name in (*names, *also) if name in kept.files}
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:  # TypeError: of a single array, an .npy
        raise ValueError(f"{path} is not an .npz of arrays, or is damaged ({error})") from error
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{path} is another file than expected: it has no {missing[0]}, only {', '.join(there)}")
    return found


def save_weights(path: str | os.PathLike[str], about: dict[str, Any], model: Any) -> None:
    """Write `about` and the model's `state` atomically with `torch.save`, independent of the file's name: the same
    weights give the same bytes."""
    import torch

    buffer = io.BytesIO()
    torch.save(about | {"state": {key: value.cpu() for key, value in model.state_dict().items()}}, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def in_its_place(first: bytes) -> str | None:
    """What was put in the place of a binary file by a download that did not fetch it, told by its first bytes, as a
    phrase; None where there is no sign of that."""
    if first.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer (git lfs pull fetches the file)"
    return "text in HTML or XML" if first.lstrip().startswith(b"<") else None


def sha256(source: str | os.PathLike[str] | bytes | memoryview) -> str:
    """Return the SHA-256 of a file (`str` or path) or of bytes, as 64 hex digits."""
    if not isinstance(source, str | os.PathLike):
        return hashlib.sha256(source).hexdigest()
    with Path(source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _staged(path: str | os.PathLike[str]) -> Iterator[tuple[Path, Path]]:
    """Yield (target, temporary sibling); afterwards flush the parent, or on failure remove what was created."""
    target = Path(path).resolve()  # a symbolic link is kept: its target is replaced
    made = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    try:
        yield target, temporary
        _fsync(target.parent)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(target)  # the system says of an open file only what is wrong
        _settle(target, temporary)
        with suppress(OSError):  # another process has written to it meanwhile: keep it
            for parent in made:
                parent.rmdir()
        raise


def _temporary(target: Path) -> Path:
    """A new path next to `target` that says whose it is."""
    # Not the tempfile module: its files are private (0600), while outputs should follow the user's umask.
    return target.with_name(f".tmp-{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}-{target.name}")


def remove(path: Path, *, ignore_errors: bool = False) -> None:
    """Remove a file or a whole folder if it exists; of a symbolic link only the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=ignore_errors)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:
        if not ignore_errors:
            raise


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise  # some file systems, such as a virtual machine's shared folders, flush files but no folders
    finally:
        os.close(descriptor)


def _not_finite(obj: Any, where: str) -> str | None:
    """The place of the first float that is NaN or infinite, or None."""
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
    """The last modification time of a file, or of anything in a folder (whose own time does not change with a file)."""
    times = [time.time()]  # if it has vanished meanwhile
    with suppress(FileNotFoundError):
        times = [each.stat().st_mtime for each in (path, *path.rglob("*"))]
    return max(times)


@cache
def _machine() -> str:
    """Identifies this machine since its last boot, within which a process ID identifies a process."""
    known = [platform.node()]
    with suppress(OSError):  # on Linux
        known += [
            Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    return hashlib.sha256(" ".join(known).encode()).hexdigest()[:8]


def _abandoned(path: Path, older_than: float) -> bool:
    """Whether no process writes to a temporary any more."""
    machine, number = [*path.name.split("-"), "", ""][1:3]
    if machine == _machine() and number.isdigit():
        return not psutil.pid_exists(int(number))
    return time.time() - _written(path) > older_than


def _temporaries(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """The temporaries below a folder. What vanishes meanwhile is ignored: other processes make and remove some."""
    for place, below, names in os.walk(folder):
        yield from (Path(place, name) for name in [*below, *names] if name.startswith(".tmp-"))
        below[:] = [name for name in below if not name.startswith(".tmp-")]


def clear_temporaries(*folders: str | os.PathLike[str], older_than: float) -> int:
    """Remove the leftovers of killed processes below `folders`; returns their number.

    Whether processes of other machines are alive is unknown: their temporaries are removed when they have not been
    written to for `older_than` seconds.
    """
    stale = [path for folder in folders for path in _temporaries(folder) if _abandoned(path, older_than)]
    for path in stale:
        remove(path, ignore_errors=True)
    return len(stale)
