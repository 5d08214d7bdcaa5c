"""Paths from patterns and back: a pattern has a placeholder {axis} for each value that its path encodes."""

import re
from collections.abc import Iterable, Mapping
from functools import cache

# Regular expressions of the axes that are not names; Snakemake's wildcard constraints are these too
NAME = r"[A-Za-z]\w*"
AXES = {
    "size": r"\d+",
    "seed": r"\d+",
    "keep": r"[0-9.e-]+",
    "selection": r"[^.]+?",
    "step": rf"(?:pixels-{NAME}/)?",  # empty, or the pixel step between a coreset and its training
    "draw": r"(?:coreset-seed-\d+/)?",  # empty, or the seed of the coreset where the training's is another
    "form": r"[a-z]+(?:-[a-z]+){0,2}",
    "block": "autoencoders|backbones",  # those that may have published weights
    "root": r".+?",
    "archive": r"[\w-]+",
    "figures": "paper_figures",
}

# The least and the largest value of the axes that are numbers, and what they are called
NUMBERS = {"size": (1, 4096, "Tobias size"), "seed": (0, 2**32 - 1, "seed"), "keep": (1e-6, 1.0, "keep ratio")}


def constraints(patterns: Iterable[str]) -> dict[str, str]:
    """Axis -> regular expression of its values, for every axis of these patterns."""
    return {axis: AXES.get(axis, NAME) for pattern in patterns for axis in _parts(pattern)[1::2]}


def _parts(pattern: str) -> list[str]:
    return re.split(r"\{(\w+)\}", pattern)  # text and axes alternate


@cache
def regex(pattern: str) -> re.Pattern[str]:
    """A regular expression that matches the paths of a pattern, with a group for each axis."""
    return re.compile(
        "".join(
            f"(?P<{part}>{AXES.get(part, NAME)})" if i % 2 else re.escape(part)
            for i, part in enumerate(_parts(pattern))
        )
    )


def axes_of(pattern: str, path: str) -> dict[str, str] | None:
    """The values of a pattern's axes in a path, such as "keep" -> "0.1"; None where the path does not match."""
    found = regex(pattern).fullmatch(path)
    return found.groupdict() if found else None


def ratio(value: float) -> str:
    """A keep ratio as paths write it: 0.1, 1."""
    return f"{value:.12g}"


def misspelt(axes: Mapping[str, str]) -> str | None:
    """A sentence on the first number of a path that no run has: out of its limits, or spelt otherwise than paths spell
    it, so that one result would have two paths; None where there is none."""
    coreset = re.sub(r"\D", "", axes.get("draw", ""))
    if coreset and coreset == axes.get("seed"):
        return f"the coreset's seed {coreset} is the training's: leave coreset-seed-{coreset}/ out of the path"
    numbers = [(name, axes[name]) for name in NUMBERS if name in axes] + ([("seed", coreset)] if coreset else [])
    for name, text in numbers:
        least, most, words = NUMBERS[name]
        try:
            value = float(text) if name == "keep" else int(text)
        except ValueError:
            value = -1
        if not least <= value <= most:
            return f"{text!r} is no {words}, which is from {least:.10g} to {most:.10g}"
        if text != (spelt := ratio(value) if name == "keep" else str(value)):
            return f"the {words} {text!r} is spelt {spelt} in paths"
    return None
