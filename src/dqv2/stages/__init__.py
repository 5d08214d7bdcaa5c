"""The stages, one module each. Every list of them is derived from what they declare."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from dqv2 import paths
from dqv2.stages.base import Stage, Wildcards

__all__ = ["Stage", "Wildcards", "all_stages", "record_of", "stage"]


@cache
def all_stages() -> dict[str, Stage]:
    """Name -> stage; every module of this package except `base` declares one."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name != "base":
            declared = vars(import_module(f"{__name__}.{module.name}")).values()
            (kind,) = (c for c in declared if isinstance(c, type) and c.__module__ == f"{__name__}.{module.name}")
            found[module.name] = kind()
    return found


def stage(name: str) -> Stage:
    """The stage of this name."""
    return all_stages()[name]


def makers(path: str) -> list[tuple[Stage, str, dict[str, str]]]:
    """The stages with an output pattern that matches a path: (stage, name of the output, wildcards). More than one
    where several stages make files of the same pattern."""
    return [
        (each, name, axes)
        for each in all_stages().values()
        for name, pattern in each.writes.items()
        if (axes := paths.axes_of(pattern, path)) is not None
    ]


def record_of(path: str) -> str | None:
    """The record of the job that made a file, both below `results/<run>/`; None where no stage makes such a file."""
    for each, _, axes in makers(path):
        return each.writes["record"].format_map(axes) if "record" in each.writes else None
    return None
