"""Users' lists of images, as pipelines and spreadsheets write them: read correctly or refused."""

import csv
import io
import re
from pathlib import Path

from dqv2.data.errors import DataError
from dqv2.runtime.sentences import counted

# The columns that are read; their names may be written with capitals and between spaces
KNOWN = ("id", "path", "class", "index", "bin", "kind", "sha256", "image", "weight")
REMEDY = "save it as CSV in UTF-8, with commas between the columns"


def read_list(path: str | Path) -> dict[str, list[str]]:
    """The columns of a CSV file with a column id, as text; a plain list with one id per line gives the column id alone.

    A column is called as in `KNOWN` where its name differs from that only by capitals or by spaces around it. Where
    names in the first line have a space before them, spaces after commas belong to no cell.

    Raises DataError where the file is packed (.gz) or not UTF-8, its columns are not separated by commas (spreadsheets
    in some languages use others), two columns have the same known name, a line has another number of columns than the
    first, or a quote is not closed.
    """
    content = Path(path).read_bytes()
    if content.startswith(b"\x1f\x8b"):
        raise DataError(f"{path} is packed: unpack it (gunzip), and give the file that comes out.")
    try:
        text = content.decode("utf-8-sig")  # spreadsheets write a byte-order mark first
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not in UTF-8: {REMEDY}.") from error
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if line]
    first = lines[:1] if lines and len(lines[0]) <= csv.field_size_limit() else []  # a longer one names no columns
    spaced = any(cell.startswith(" ") for cell in next(csv.reader(first), []))
    names = [_known(cell) for cell in next(csv.reader(first, skipinitialspace=spaced), [])]
    if "id" not in names:
        if lines and re.search(r"^sep=|(^|[;,\t]) *id *([;,\t]|$)", lines[0].replace('"', ""), re.IGNORECASE):
            raise DataError(f"{path} begins with {lines[0][:80]!r}, and its first column should be id: {REMEDY}.")
        return {"id": lines}
    if twice := [name for name in KNOWN if names.count(name) > 1]:
        raise DataError(f"{path} has {names.count(twice[0])} columns {twice[0]}: keep one.")
    try:
        rows = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=spaced)
        table = [row for row in rows if any(row)][1:]
    except csv.Error as error:
        raise DataError(f"{path} is not a complete CSV ({error}): {REMEDY}.") from error
    if other := [row for row in table if len(row) < len(names) or any(row[len(names) :])]:
        raise DataError(
            f"{path}: {counted(len(other), 'line')} with too few or too many columns, such as "
            f"{','.join(other[0])[:200]}: quote cells that have a comma in them."
        )
    return {name: [row[place] for row in table] for place, name in enumerate(names) if name}


def _known(cell: str) -> str:
    """The name of a column as `KNOWN` has it, or the cell as it is."""
    name = cell.strip().casefold()
    return name if name in KNOWN else cell
