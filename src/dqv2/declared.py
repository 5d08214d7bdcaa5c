"""Tables of declarations: looking up the functions that they name, and printing them."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, TypeVar

Entry = TypeVar("Entry")


def by_name(*entries: Entry) -> dict[str, Entry]:
    """A table of declarations, each with a `name`; raises ValueError where two have the same, or one cannot stand in a
    configuration and in paths."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if not isinstance(entry.name, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", entry.name):
            raise ValueError(f"an entry is called {entry.name!r}: a name is letters, digits and _, a letter first")
        if entry.name in found:
            raise ValueError(f"two entries are called {entry.name!r}: choose another name")
        found[entry.name] = entry
    return found


def load(place: str) -> Callable[..., Any]:
    """The function at `module:function`; imports the module. Raises ImportError where one of them is not there."""
    module, _, name = place.partition(":")
    found = getattr(import_module(module), name, None)
    if not callable(found):
        raise ImportError(f"{module} has no function {name}")
    return found


def check_functions(entry: str, **fields: str | None) -> None:
    """Raise ValueError unless each field is written as `module:function`, or None. entry: what it is, for messages."""
    for name, place in fields.items():
        if place is not None and not (isinstance(place, str) and re.fullmatch(r"\w+(\.\w+)*:\w+", place)):
            raise ValueError(f"{entry}: {name} must be written as 'module:function', got {place!r}")


def check_choices(entry: str, name: str, values: Any, allowed: Iterable[str]) -> None:
    """Raise ValueError unless a field is a tuple of some of `allowed`. entry: what it is, for messages."""
    allowed = list(allowed)
    if not isinstance(values, tuple):
        raise ValueError(f"{entry}: {name} must be a tuple, such as ({allowed[0]!r},), got {values!r}")
    if strange := [value for value in values if value not in allowed]:
        raise ValueError(f"{entry}: {name} has {strange[0]!r}, which is none of {', '.join(allowed)}")


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
