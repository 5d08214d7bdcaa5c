"""What every block of the configuration is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class ConfigError(ValueError):
    """Something in the configuration is wrong; the message names the key, the value and what is allowed."""


class Block(BaseModel):
    """A block of the configuration: extra keys are refused, values are not changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def as_list(value: Any) -> Any:
    """One value or a list, as a list."""
    return value if isinstance(value, list) else [value]


def one_of(names: Iterable[str]) -> Any:
    """The type of a key whose choices are names of a table."""
    return Literal[tuple(names)]


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _name(value: Any) -> Any:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError("a name is letters, digits and _ and begins with a letter (it becomes part of a path)")
    return value


Name = Annotated[str, BeforeValidator(_name)]
KeepRatio = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
TobiasSize = Annotated[int, Field(ge=1)]
Statistics = Annotated[list[float], Field(min_length=3, max_length=3)]  # of a channel each, of values in 0 to 1
Seed = Annotated[int, Field(ge=0)]


def both_or_neither(mean: list[float] | None, std: list[float] | None) -> None:
    """Raise ValueError where only one of the two is given, or a spread is none."""
    if (mean is None) != (std is None):
        raise ValueError("give both mean and std, or neither")
    if std and min(std) <= 0:
        raise ValueError("std must be above 0 in every channel")
