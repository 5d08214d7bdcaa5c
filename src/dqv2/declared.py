"""Tables of declarations: how a function that a table names is found, and how the docs show the tables.

python -m dqv2.declared docs/extend.md    # write the tables anew between their markers
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["TABLES", "load", "markdown", "with_tables"]

# Marker in the docs -> the function that gives the table.
TABLES = {"selectors": "dqv2.select.table:as_markdown", "mask sources": "dqv2.semantic.table:as_markdown"}


def load(place: str) -> Callable[..., Any]:
    """The function at `module:function`; its module is imported now."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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
