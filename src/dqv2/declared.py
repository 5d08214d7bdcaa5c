"""Tables of declarations: how a function that one names is found, and how one is printed."""

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, TypeVar

Entry = TypeVar("Entry")


def by_name(*entries: Entry) -> dict[str, Entry]:
    """A table of declarations, each with a `name`."""
    return {entry.name: entry for entry in entries}


def load(place: str) -> Callable[..., Any]:
    """The function at `module:function`; its module is imported now."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def what_it_does(place: str) -> str:
    """The first line of the docstring of the function at `module:function`."""
    return load(place).__doc__.partition("\n")[0].rstrip(".")


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
