"""Paths from patterns and back: a pattern has an {axis} in braces for each thing that its path carries."""

import re
from collections.abc import Iterable
from functools import cache

# What an axis may look like in a path, where it is no name; Snakemake is told the same
NAME = r"[A-Za-z]\w*"
AXES = {
    "size": r"\d+",
    "seed": r"\d+",
    "keep": r"[0-9.e-]+",
    "selection": r"[^.]+?",
    "step": rf"(?:pixels-{NAME}/)?",  # empty, or the pixel step between a coreset and its training
    "draw": r"(?:coreset-seed-\d+/)?",  # empty, or the seed of the coreset where the training's is another
    "form": r"[a-z]+(?:-[a-z]+){0,2}",
    "root": r".+?",
    "archive": r"[\w-]+",
    "figures": "paper_figures",
}


def constraints(patterns: Iterable[str]) -> dict[str, str]:
    """Axis -> what it may look like, for every axis of these patterns."""
    return {axis: AXES.get(axis, NAME) for pattern in patterns for axis in _parts(pattern)[1::2]}


def _parts(pattern: str) -> list[str]:
    return re.split(r"\{(\w+)\}", pattern)  # text and axes in turn


@cache
def regex(pattern: str) -> re.Pattern[str]:
    """What matches the paths of a pattern, with a group for each axis."""
    return re.compile(
        "".join(
            f"(?P<{part}>{AXES.get(part, NAME)})" if i % 2 else re.escape(part)
            for i, part in enumerate(_parts(pattern))
        )
    )


def axes_of(pattern: str, path: str) -> dict[str, str] | None:
    """The axes that a path of a pattern carries, "keep" -> "0.1"; None where it is none of the pattern's."""
    found = regex(pattern).fullmatch(path)
    return found.groupdict() if found else None


def ratio(value: float) -> str:
    """A keep ratio as it stands in a path: 0.1, 1."""
    return f"{value:.12g}"
