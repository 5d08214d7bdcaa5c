"""Errors as one sentence for the user, with the place and the remedy where the error itself lacks them."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARY = Path(__file__).parents[1]
BLOCK = 2**16  # bytes
LARGE = "a file reached the size limit (ulimit -f, or the file system): raise the limit, and run it again"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)
DISCONNECTED = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH)
NOT_WRITTEN = ("file write failed", "unexpected pos", " requested and ")
NO_MEMORY = ("failed to map segment", "can't start new thread", "resource temporarily unavailable")


def counted(n: int, what: str) -> str:
    """A number with a noun in the right form: "1 image", "3,000 images"."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def sentence(error: BaseException, places: Iterable[str] = ()) -> str:
    """The error as a sentence for the user.

    Args:
        error: any exception.
        places: files and folders that were being written, as the system does not say which disk is full.
    """
    text = str(error).strip()
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return f"in {error.filename or _fullest(places)} {LARGE}"
    if _is_full(error):
        if (file := getattr(error, "filename", None)) is None:
            return f"the disk of {_fullest(places)} is full ({text}): make room, and run it again"
        return f"the disk of {file} is full: make room, and run it again"
    if isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError) and error.filename:
        return f"{error.filename} is in the way ({error.strerror}): remove it, and run again"
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename} cannot be read or written: change its permissions (chmod -R u+rwX), and run again"
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return f"{error.filename or _fullest(places)} is on a read-only disk: make it writable, and run again"
    if isinstance(error, OSError) and error.errno in (errno.EXDEV, errno.EBUSY) and error.filename:
        why = f"({error.strerror}), as it is a mount point or comes with a container's image"
        return f"{error.filename} cannot be replaced {why}: name another folder, or remove it (rm -r), and run it again"
    if isinstance(error, OSError) and error.errno in DISCONNECTED:
        failed = f"{error.filename or _fullest(places)} cannot be read or written ({error.strerror})"
        return f"{failed}: its disk or the connection to it fails; mend that, and run it again"
    if isinstance(error, OSError) and error.errno in TOO_MANY_OPEN:
        return f"this process may open no more files ({text}): raise the limit (ulimit -n), or run fewer jobs at once"
    # Python has many messages for too little memory
    if _no_memory(error) or any(sign in text.lower() for sign in NO_MEMORY):
        return (
            f"this process ran out of memory or threads ({text or type(error).__name__}): raise its limits "
            "(ulimit -v, ulimit -u, the memory of a container or of a cluster's job), or run fewer jobs at once"
        )
    # torch's, which is not imported for this, or CUDA's own
    if type(error).__name__ == "OutOfMemoryError" or "CUDA error: out of memory" in text:
        what = text.splitlines()[0].partition(". ")[0]
        return (
            f"the GPU ran out of memory ({what}): run fewer jobs on it at once "
            "(jobs_per_gpu), end other programs that use it, or lower batch_size of the trainer or backbone"
        )
    if isinstance(error, KeyError | IndexError | StopIteration) or not text:
        return f"{type(error).__name__}: {text}" if text else f"it ended with {type(error).__name__}"
    return text


def with_place(error: BaseException) -> str:
    """The error as a sentence, with the file and line of the library's module in whose import it arose."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if each.name == "<module>" and Path(each.filename).is_relative_to(LIBRARY)]
    return f"{own[-1].filename}, line {own[-1].lineno}: {sentence(error)}" if own else sentence(error)


def _no_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def require_working(error: BaseException, path: str | os.PathLike[str]) -> None:
    """Raise an error that says nothing about the file at a path: the disk, its connection or this machine fails.

    For those who otherwise take a file that cannot be read for a damaged one, which is left out or removed.
    """
    if _no_memory(error):
        raise error
    if isinstance(error, OSError) and error.errno in (*DISCONNECTED, *TOO_MANY_OPEN):
        raise OSError(error.errno, os.strerror(error.errno), error.filename or str(path)) from error


def _is_full(error: BaseException) -> bool:
    """Whether a disk is full; PyTorch and NumPy report short writes."""
    return (isinstance(error, OSError) and error.errno in FULL) or any(sign in str(error) for sign in NOT_WRITTEN)


@contextmanager
def written_to(folder: Path) -> Iterator[None]:
    """Within the context, the error of a full disk names this folder: who reports it knows of the outputs alone."""
    try:
        yield
    except Exception as error:
        if _is_full(error):
            code = getattr(error, "errno", None) or errno.ENOSPC
            raise OSError(code, os.strerror(code), str(folder)) from error
        raise


def require_writable(folder: str) -> None:
    """Raise ValueError, with the reason, where files cannot be created in a folder, which need not exist yet."""
    there = next(each for each in (Path(folder), *Path(folder).absolute().parents) if each.exists())
    if not there.is_dir():
        raise ValueError(f"{folder}/ cannot be made: {there} is a file. Move it away, or choose another run.")
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"0" * BLOCK)
            probe.flush()
    except OSError as error:
        if error.errno in FULL:
            raise ValueError(f"{sentence(error, [str(there)])}.") from None
        raise ValueError(f"{folder}/ cannot be written: {error.strerror} ({there}).") from None


def _fullest(places: Iterable[str]) -> str:
    """The existing folder with the least free space among these places."""
    paths = [Path(place).absolute() for place in places]
    folders = [next(each for each in (path, *path.parents) if each.is_dir()) for path in paths]
    return str(min(folders, key=lambda folder: shutil.disk_usage(folder).free, default=Path.cwd()))
