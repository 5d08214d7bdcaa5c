"""What every block of the configuration is made of."""

import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from dqv2.paths import NUMBERS, ratio

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
LONGEST = 60  # characters of a name; with what is added to it, far below the 255 bytes of a path component
LARGEST = NUMBERS["size"][1]  # pixels a side of a square image
EMPTY = "it is empty: give a list, or leave the key out"
READ_AS_BOOL = " (YAML takes yes, no, on and off for true and false)"


class ConfigError(ValueError):
    """The configuration is invalid; the message names the key, the value and what is allowed."""


class Block(BaseModel):
    """A block of the configuration: unknown keys are refused, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def as_list(value: Any) -> Any:
    """One value or a list, as a list; raises ValueError for None, which no list of one holds."""
    if value is None:
        raise ValueError(EMPTY)
    return value if isinstance(value, list) else [value]


def one_of(names: Iterable[str]) -> Any:
    """The type of a key whose value is one of `names`."""
    return Literal[tuple(names)]


def listed(names: Sequence[str]) -> str:
    """Names joined for a sentence: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _name(value: Any) -> Any:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError("a name is letters, digits and _ and begins with a letter (it becomes part of a path)")
    if len(value) > LONGEST:
        raise ValueError(f"a name has at most {LONGEST} letters (it becomes part of a path), this one has {len(value)}")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected a number" + READ_AS_BOOL)
    return value


def whole(least: int, most: int) -> Any:
    """The type of a whole number from `least` to `most`."""
    return Annotated[int, Field(ge=least, le=most), BeforeValidator(_number)]


def real(**limits: float) -> Any:
    """The type of a finite number within limits, given by pydantic's keywords: ge, gt, le, lt."""
    return Annotated[float, Field(allow_inf_nan=False, **limits), BeforeValidator(_number)]


def many(kind: Any) -> Any:
    """The type of a non-empty list without duplicates; a single value becomes a list of one."""
    return Annotated[list[kind], Field(min_length=1), BeforeValidator(as_list), AfterValidator(each_once)]


def _seeds(value: Any) -> Any:
    """The value itself; a bare number is refused, because it could as well mean how many seeds."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        one = f"[{value}] for the seed {value}, or " if str(value).isdecimal() else ""
        raise ValueError(f"seeds are a list: write {one}[0, 1, 2, 3, 4] for five seeds")
    return as_list(value)


def each_once(values: list[Any]) -> list[Any]:
    """The list itself; raises ValueError where a value appears twice."""
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{value!r} appears twice")
        seen.add(value)
    return values


def _scalar(value: Any) -> Any:
    """Convert text as YAML would: values within braces after --config arrive as text."""
    if isinstance(value, list | dict):
        raise ValueError("expected one number, text, true or false, not a list or block")
    if not isinstance(value, str):
        return value
    number = None
    for read in (float, int):  # an integer stays an integer
        with suppress(ValueError):
            number = read(value)
    if number is None:
        return {"true": True, "false": False}.get(value.lower(), value)
    if not math.isfinite(number):
        raise ValueError("a number must be finite")
    return number


def _wanted(value: Any) -> Any:
    """One value, or a list of values; None stands for a missing value."""
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


def written(pattern: str, what: str) -> Any:
    """The type of a text that matches a pattern as a whole; messages say what it is, and the schema has the pattern."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"expected {what}")
        return value

    return Annotated[str, Field(json_schema_extra={"pattern": f"^({pattern})$"}), AfterValidator(check)]


Name = Annotated[str, BeforeValidator(_name)]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Printed = Annotated[str, Field(max_length=500)]  # printed in a figure or table, which has no room for more
FilePath = Annotated[str, Field(min_length=1), AfterValidator(_path)]
HEX = "[0-9a-fA-F]"  # tools write either case; checksums are compared in the lower
Sha256 = Annotated[written(f"{HEX}{{64}}", "64 hexadecimal digits"), AfterValidator(str.lower)]
Address = written(r"https?://\S+", "an address that begins with http:// or https://, without spaces")
Scalar = Annotated[bool | int | float | str, BeforeValidator(_scalar)]
Wanted = Annotated[Any, AfterValidator(_wanted)]
SMALLEST = NUMBERS["keep"][0]
KeepRatio = Annotated[real(ge=SMALLEST, le=1), AfterValidator(lambda value: float(ratio(value)))]  # as in paths
Share = real(ge=0, le=1)
TobiasSize = whole(*NUMBERS["size"][:2])
Statistics = Annotated[list[real(ge=0, le=1)], Field(min_length=3, max_length=3)]  # one value per channel
Seed = whole(*NUMBERS["seed"][:2])
Seeds = Annotated[list[Seed], Field(min_length=1), BeforeValidator(_seeds), AfterValidator(each_once)]
Epochs = whole(1, 100_000)
BatchSize = whole(2, 100_000)
Rate = real(gt=0, le=1000)  # learning rate
Decay = real(ge=0, le=100)


def both_or_neither(mean: list[float] | None, std: list[float] | None) -> None:
    """Raise ValueError where only one of the two is given, or a standard deviation is not above 0."""
    if (mean is None) != (std is None):
        raise ValueError("give both mean and std, or neither")
    if std and min(std) <= 0:
        raise ValueError("std must be above 0 in every channel")


def refuse_idle(block: Block, keys: Iterable[str], where: str) -> None:
    """Raise ValueError where one of the keys, which have no effect on this block, is given with another value than its
    default: an overlay that merges a block cannot take its keys away.

    where: what of the block makes them idle, such as "with mix: none".
    """
    defaults = {key: type(block).model_fields[key].default for key in keys if key in block.model_fields_set}
    if idle := {key: default for key, default in defaults.items() if getattr(block, key) != default}:
        verb, them = ("have", "them") if len(idle) > 1 else ("has", "it")
        what = f"{listed([*idle])} {verb} no effect {where}"
        set_to = listed([f"{key}: {'null' if default is None else default}" for key, default in idle.items()])
        raise ValueError(f"{what}: leave {them} out, or at the default ({set_to})")
