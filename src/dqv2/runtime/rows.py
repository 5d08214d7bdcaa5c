"""CSV as this project writes it: lines that end in \\n, whatever a name has in it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Any, TextIO


class RowWriter:
    """Writes rows of which `csv.reader` makes the same fields again.

    A carriage return in a name is the end of a line to Python's reader, and its writer quotes only what it writes at
    the end of its own lines: before Python 3.13 not this one.
    """

    def __init__(self, file: TextIO):
        self._plain = csv.writer(file, lineterminator="\n")
        self._quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def writerow(self, row: Sequence[Any]) -> None:
        """Write one row."""
        broken = any("\r" in field for field in row if isinstance(field, str))
        (self._quoted if broken else self._plain).writerow(row)

    def writerows(self, rows: Iterable[Sequence[Any]]) -> None:
        """Write each."""
        for row in rows:
            self.writerow(row)
