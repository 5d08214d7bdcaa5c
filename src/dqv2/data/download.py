"""Downloads that resume where they were interrupted, and are used only after their checksum was verified."""

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

import requests
from tqdm import tqdm

from dqv2.data.errors import DataError
from dqv2.runtime.logging import logger
from dqv2.runtime.sentences import FULL

BLOCK = 2**16  # bytes written at a time: at most as many are downloaded again after an interruption
TIMEOUT = (20, 60)  # seconds to connect, and between two blocks
LASTING = {400, 401, 403, 404, 405, 410, 451}  # status codes that a retry does not change


def download(url: str, path: str | Path, checksum: str | None, *, tries: int = 5, pause: float = 2.0) -> Path:
    """Download `url` to `path`, which appears only when it is complete and its checksum matches.

    Until then the data is in `path` + ".part". With a checksum, retries and later calls resume from there; without one
    they begin anew, as nothing would show that the server's file has changed meanwhile. An existing file is checked,
    not downloaded again.

    url: http or https. checksum: `ALGORITHM:HEX` of the whole file, such as md5:... or sha256:...; None where the
    publisher gives none: then only the length that the server announces is checked. tries: number of attempts. pause:
    seconds before the second attempt, doubled before each further one. Raises DataError where the server refuses, the
    connection keeps breaking, the disk is full, or the checksum differs; then at most the `.part` file remains.
    """
    path = Path(path)
    if path.exists():
        if checksum:
            check_checksum(path, checksum, f"remove it (or move it away) to have it fetched again from {url}")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    resumed = part.exists()
    _fetch(url, part, tries, pause, resume=bool(checksum))
    if checksum and resumed and _digest(part, checksum) != checksum:  # an older part of another file
        logger.warning("%s: the part that was there does not match; fetching it from the beginning", path.name)
        part.unlink()
        _fetch(url, part, tries, pause, resume=True)
    if checksum:
        try:
            other = f"{url} has sent another file than the one published"
            check_checksum(part, checksum, f"{other}. Nothing of it was kept; try again, or fetch it by hand to {path}")
        except DataError:
            part.unlink()
            raise
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(path)
    return path


def check_checksum(path: Path, checksum: str, remedy: str) -> None:
    """Raise DataError, with the remedy, unless the file has this checksum (`ALGORITHM:HEX`)."""
    found = _digest(path, checksum)
    if found != checksum:
        raise DataError(f"{path} has the checksum {found}, expected is {checksum}: {remedy}.")


def _digest(path: Path, checksum: str) -> str:
    algorithm = checksum.split(":")[0]
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _fetch(url: str, part: Path, tries: int, pause: float, *, resume: bool) -> None:
    """Complete `part`: after an interruption the rest of it or, unless `resume`, all of it again."""
    fault = ""
    for attempt in range(tries):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
            logger.warning("%s: %s; trying again", url, fault)
        if not resume:
            part.unlink(missing_ok=True)
        try:
            _go_on(url, part)
            return
        except requests.exceptions.RequestException as error:
            fault = f"{type(error).__name__}: {error}"
            status = error.response.status_code if error.response is not None else None
            if status in LASTING:
                raise DataError(
                    f"{url} cannot be downloaded: the server answers {status}. Fetch the file by hand to "
                    f"{part.with_suffix('')}, or give another address (mirror: of a dataset, url: of weights)."
                ) from error
            if isinstance(error, requests.exceptions.InvalidSchema | requests.exceptions.InvalidURL):
                raise DataError(f"{url} is not an address that can be fetched: {error}") from error
        except OSError as error:  # must follow RequestException, which is a subclass
            if error.errno not in FULL:
                raise
            raise DataError(
                f"the disk of {part.parent} is full after {_size(part):,} bytes of {url}: make room and run it again; "
                "where its checksum is known it resumes from there."
            ) from error
    raise DataError(
        f"{url}: the connection broke {tries} times ({fault}). {_size(part):,} bytes have come; run it again, and "
        "where its checksum is known it resumes from there."
    )


def _go_on(url: str, part: Path) -> None:
    """Make one request for the missing rest of `part`."""
    have = _size(part)
    # No compression in transit, so that ranges and lengths are those of the file itself
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(have):
                return  # it was complete
            part.unlink()
            raise requests.exceptions.ConnectionError("the part is longer than the file; it was dropped")
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            have = 0  # the server sends the whole file
        length = answer.headers.get("Content-Length", "")
        rest = int(length) if length.isdecimal() else None  # a proxy may send "3, 3"
        free = shutil.disk_usage(part.parent).free
        if rest is not None and rest > free:
            raise DataError(
                f"{url} has {rest / 1e9:,.2f} GB to come, and {part.parent} has {free / 1e9:,.2f} GB free: make room, "
                "or let data/ be a link to another disk (root: of a dataset)."
            )
        bar = tqdm(
            desc=f"fetch {part.stem}",
            initial=have,
            total=None if rest is None else have + rest,
            unit="B",
            unit_scale=True,
            mininterval=1,
            file=sys.stderr,
        )
        with bar, part.open("ab" if have else "wb") as file:
            for block in answer.iter_content(BLOCK):
                _write(file, block)
                bar.update(len(block))
    if rest is not None and _size(part) < have + rest:
        raise requests.exceptions.ConnectionError(f"cut off after {_size(part):,} of {have + rest:,} bytes")


def _write(file, block: bytes) -> None:
    file.write(block)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
