"""The stages, one module each. Every list of them is derived from what they declare."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from dqv2 import paths
from dqv2.runtime.sentences import with_place
from dqv2.stages.base import Stage, Wildcards

__all__ = ["Stage", "Wildcards", "all_stages", "record_of", "stage"]


@cache
def all_stages() -> dict[str, Stage]:
    """Name -> stage; every module of this package except `base` declares one. Raises ValueError where one does not."""
    return {name: stage(name) for name in _names()}


@cache
def stage(name: str) -> Stage:
    """The stage of this name, of which alone the module is imported; raises ValueError where there is none."""
    if name not in _names():
        raise ValueError(f"there is no stage {name!r}: the stages are {', '.join(_names())}")
    return _declared_in(name)()


@cache
def _names() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__) if module.name != "base"]


def _declared_in(name: str) -> type[Stage]:
    """The stage that a module declares, beside other classes; raises ValueError where it cannot be imported, or
    declares none or several."""
    try:
        module = import_module(f"{__name__}.{name}")
    except Exception as error:  # a module that is imported may raise any
        raise ValueError(with_place(error)) from error
    kinds = {each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Stage)}
    own = sorted(each.__name__ for each in kinds if each.__module__ == module.__name__)
    if len(own) != 1:
        said = f"the stages {' and '.join(own)}" if own else "no stage, which is a class derived from Stage"
        raise ValueError(f"{module.__file__} declares {said}: a module declares one stage")
    if not hasattr(found := vars(module)[own[0]], "title"):
        raise ValueError(f"{module.__file__}: the stage {own[0]} has no title, which figure 1 prints")
    return found


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
