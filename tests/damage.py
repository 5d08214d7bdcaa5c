"""What can happen to a file that nobody meant to change: name -> what does it to the file, in place."""

import os
from collections.abc import Callable
from pathlib import Path


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _zero(file: Path) -> None:
    """A sector, or half of a smaller file."""
    data = bytearray(file.read_bytes())
    size = min(512, len(data) // 2 + 1)
    at = len(data) - size
    data[at:] = bytes(size)
    file.write_bytes(data)


def _lengthen(file: Path) -> None:
    with file.open("ab") as end:
        end.write(b"x")


def _rows(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def changed(file: Path) -> None:
        file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))

    return changed


BYTES: dict[str, Callable[[Path], None]] = {
    "flipped": _flip,
    "zeroed": _zero,
    "cut": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: os.truncate(file, 0),
    "longer": _lengthen,
}
ROWS: dict[str, Callable[[Path], None]] = {
    "a row dropped": _rows(lambda lines: lines[:1] + lines[2:]),
    "a row doubled": _rows(lambda lines: [*lines, lines[-1]]),
    "two rows swapped": _rows(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
}
DAMAGE = BYTES | ROWS
