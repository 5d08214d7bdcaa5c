"""Unpacking archives safely: nothing is written outside the target folder, which appears only when complete."""

import gzip
import lzma
import os
import platform
import shutil
import stat
import tarfile
import uuid
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from dqv2.data.errors import DataError
from dqv2.runtime.sentences import FULL

BLOCK = 2**20
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)


def extract(archive: str | Path, root: str | Path, folder: str) -> Path:
    """Unpack a tar (plain, gzip, bzip2, xz) or zip archive and move its `folder` into `root`; returns `root/folder`.

    It is unpacked into a temporary folder and then renamed, so `root/folder` is complete if it exists. Raises DataError
    where a member would be written outside the folder (or is a device, or a link that points outside), the archive is
    damaged or has no such folder, or the disk is full. Nothing remains then.
    """
    archive, root = Path(archive), Path(root)
    for stale in root.glob(f".tmp-*-{folder}"):  # left by a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    temporary = root / f".tmp-{uuid.uuid4().hex[:12]}-{folder}"
    temporary.mkdir(parents=True)
    try:
        _unpack(archive, temporary)
        if not (temporary / folder).is_dir():
            there = ", ".join(sorted(path.name for path in temporary.iterdir())[:5]) or "nothing"
            raise DataError(
                f"{archive} holds no folder {folder} (it holds {there}): it is not the set that it should be."
            )
        os.sync()  # one for a hundred thousand small files
        (temporary / folder).rename(root / folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return root / folder


def _unpack(archive: Path, into: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, into)
        else:
            _unpack_tar(archive, into)
    except DAMAGED as error:
        raise DataError(f"{archive} is damaged ({error}): remove it, and it is fetched again.") from error
    except (RuntimeError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(
            f"{archive} is refused, nothing of it was kept ({type(error).__name__}): it needs a password, or is of a "
            "kind that cannot be read, or a file and a folder in it have the same name."
        ) from error
    except OSError as error:
        if error.errno in FULL:
            raise DataError(f"the disk of {into.parent} is full while {archive} is unpacked: make room.") from error
        raise


def _unpack_tar(archive: Path, into: Path) -> None:
    """Unpack a tar archive, refusing what points outside the folder."""
    if not hasattr(tarfile, "data_filter"):
        raise DataError(
            f"{archive} is not unpacked, as Python {platform.python_version()} cannot do it safely: take Python 3.11.4 "
            f"or newer, or unpack it by hand into {into.parent}."
        )
    with tarfile.open(archive) as tar:
        try:
            tar.extractall(into, filter="data")
        except tarfile.FilterError as error:
            raise DataError(f"{archive} is refused, nothing of it was kept: {error}.") from error
        while tar.fileobj and tar.fileobj.read(BLOCK):  # up to the checksum at the end of a compressed file
            pass


def _unpack_zip(archive: Path, into: Path) -> None:
    """Unpack a zip archive, refusing absolute paths and `..`, which zipfile itself would silently sanitise."""
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for member in members:
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
                raise DataError(
                    f"{archive} is refused, nothing of it was kept: {member.filename!r} would be extracted outside of "
                    "the folder."
                )
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(
                    f"{archive} is refused, nothing of it was kept: {member.filename!r} is a link, or no file at all."
                )
        need, free = sum(member.file_size for member in members), shutil.disk_usage(into).free
        if need > free:
            raise DataError(
                f"{archive} unpacks to {need / 1e9:,.2f} GB, and {into.parent} has {free / 1e9:,.2f} GB free."
            )
        file.extractall(into, members)
