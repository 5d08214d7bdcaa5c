"""Tables of declarations: how a function that one names is found, and how one is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

__all__ = ["load", "markdown"]


def load(place: str) -> Callable[..., Any]:
    """The function at `module:function`; its module is imported now."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
