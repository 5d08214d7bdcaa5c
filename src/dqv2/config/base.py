"""What every block of the configuration is made of."""

import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from dqv2.paths import ratio

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
LONGEST = 60  # of a name; with what is put before and after it, it is far from the 255 bytes of a part of a path
LARGEST = 4096  # pixels a side of a square image
READ_AS_BOOL = " (YAML takes yes, no, on and off for true and false)"


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
    if len(value) > LONGEST:
        raise ValueError(f"a name has at most {LONGEST} letters (it becomes part of a path), this one has {len(value)}")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is due here" + READ_AS_BOOL)
    return value


def whole(least: int, most: int) -> Any:
    """The type of a whole number from `least` to `most`."""
    return Annotated[int, Field(ge=least, le=most), BeforeValidator(_number)]


def real(**limits: float) -> Any:
    """The type of a finite number within limits, as pydantic names them: ge, gt, le, lt."""
    return Annotated[float, Field(allow_inf_nan=False, **limits), BeforeValidator(_number)]


def many(kind: Any) -> Any:
    """The type of a list in which something stands, and nothing twice; one value is a list of one."""
    return Annotated[list[kind], Field(min_length=1), BeforeValidator(as_list), AfterValidator(each_once)]


def each_once(values: list[Any]) -> list[Any]:
    """A list of text, numbers or null; raises ValueError where something stands there twice."""
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{value!r} stands there twice")
        seen.add(value)
    return values


def _scalar(value: Any) -> Any:
    """As YAML reads it: whatever stands within braces after --config arrives as text."""
    if isinstance(value, list | dict):
        raise ValueError("one number, text, true or false is due here, and no list or block")
    if not isinstance(value, str):
        return value
    number = None
    for read in (float, int):  # what is whole stays so
        with suppress(ValueError):
            number = read(value)
    if number is None:
        return {"true": True, "false": False}.get(value.lower(), value)
    if not math.isfinite(number):
        raise ValueError("a number must be finite")
    return number


def _wanted(value: Any) -> Any:
    """One value, or a list of them; None is a missing one."""
    if not isinstance(value, list):
        return None if value is None else _scalar(value)
    if not value:
        raise ValueError("an empty list: give at least one value, or leave the key out")
    return each_once([None if each is None else _scalar(each) for each in value])


def _path(value: str) -> str:
    if found := set("{}") & set(value):
        raise ValueError(f"a path cannot have {' or '.join(sorted(found))} in it, which Snakemake takes for a wildcard")
    try:
        Path(value).expanduser()
    except RuntimeError:
        raise ValueError("there is no user of that name, whose folder ~ could stand for") from None
    return value


Name = Annotated[str, BeforeValidator(_name)]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Printed = Annotated[str, Field(max_length=500)]  # in a figure or table, where longer ones find no room
FilePath = Annotated[str, Field(min_length=1), AfterValidator(_path)]
Address = Annotated[str, Field(pattern=r"^https?://\S+$")]
Scalar = Annotated[bool | int | float | str, BeforeValidator(_scalar)]
Wanted = Annotated[Any, AfterValidator(_wanted)]
KeepRatio = Annotated[real(ge=1e-6, le=1), AfterValidator(lambda value: float(ratio(value)))]  # two of a path are one
Share = real(ge=0, le=1)
TobiasSize = whole(1, LARGEST)
Statistics = Annotated[list[real(ge=0, le=1)], Field(min_length=3, max_length=3)]  # of a channel each
Seed = whole(0, 2**32 - 1)
Epochs = whole(1, 100_000)
BatchSize = whole(2, 100_000)
Rate = real(gt=0, le=1000)  # of learning
Decay = real(ge=0, le=100)


def both_or_neither(mean: list[float] | None, std: list[float] | None) -> None:
    """Raise ValueError where only one of the two is given, or a spread is none."""
    if (mean is None) != (std is None):
        raise ValueError("give both mean and std, or neither")
    if std and min(std) <= 0:
        raise ValueError("std must be above 0 in every channel")
