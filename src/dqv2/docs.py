"""The tables of the docs that are those of the library.

python -m dqv2.docs docs/extend.md    # write them anew between their markers
"""

import re
import sys
from pathlib import Path

from dqv2.declared import load

# Marker in the docs -> the function that gives the table.
TABLES = {"selectors": "dqv2.select.table:as_markdown", "mask sources": "dqv2.semantic.table:as_markdown"}


def with_tables(text: str) -> str:
    """A page of the docs with every table of `TABLES` between its markers, `<!-- NAME -->` and `<!-- /NAME -->`."""
    for name, place in TABLES.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        between = f"{begin}\n{load(place)()}\n{end}"
        text = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _, new=between: new, text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(with_tables(file.read_text(encoding="utf-8")), encoding="utf-8")
