"""Tables of declarations: looking up the functions that they name, and printing them."""

import sys
from collections.abc import Iterable, Sequence
from pkgutil import resolve_name
from typing import TypeVar

Entry = TypeVar("Entry")


def by_name(*entries: Entry) -> dict[str, Entry]:
    """A table of declarations, each with a `name`."""
    return {entry.name: entry for entry in entries}


load = resolve_name
"""The function at `module:function`; imports the module."""


def check_choice(value: object, name: str, choices: Iterable[str]) -> None:
    """Raise ValueError unless a value is one of these names."""
    if value not in (known := list(choices)):
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def what_it_does(place: str) -> str:
    """The first line of the docstring of the function at `module:function`."""
    return load(place).__doc__.partition("\n")[0].rstrip(".")


def require_docstrings() -> None:
    """Raise ValueError where this Python leaves out docstrings, from which tables and descriptions are made."""
    if sys.flags.optimize > 1:
        raise ValueError("Python leaves out docstrings, which are needed here: unset PYTHONOPTIMIZE, or drop -OO.")


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
