"""Users' lists of images, as pipelines and spreadsheets write them: read correctly or refused."""

import csv
import io
import re
from pathlib import Path

from dqv2.data.errors import DataError
from dqv2.runtime.sentences import counted

REMEDY = "save it as CSV in UTF-8, with commas between the columns"


def read_list(path: str | Path) -> dict[str, list[str]]:
    """The columns of a CSV file with a column id, as text; a plain list with one id per line gives the column id alone.

    Raises DataError where the file is not UTF-8, its columns are not separated by commas (spreadsheets in some
    languages use others), a line has another number of columns than the first, or a quote is not closed.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")  # spreadsheets write a byte-order mark first
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not in UTF-8: {REMEDY}.") from error
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if line]
    names = next(csv.reader(lines[:1]), [])
    if "id" not in names:
        if lines and re.search(r"^sep=|(^|[;,\t]) *id *([;,\t]|$)", lines[0].replace('"', ""), re.IGNORECASE):
            raise DataError(f"{path} begins with {lines[0][:80]!r}, and its first column should be id: {REMEDY}.")
        return {"id": lines}
    try:
        table = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(row)][1:]
    except csv.Error as error:
        raise DataError(f"{path} is not a complete CSV ({error}): {REMEDY}.") from error
    if other := [row for row in table if len(row) < len(names) or any(row[len(names) :])]:
        raise DataError(
            f"{path}: {counted(len(other), 'line')} with too few or too many columns, such as "
            f"{','.join(other[0])[:200]}: quote cells that have a comma in them."
        )
    return {name: [row[place] for row in table] for place, name in enumerate(names) if name}
