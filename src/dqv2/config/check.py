"""Checking the configuration: every fault is reported with its key's path, the value and what is allowed."""

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import ValidationError

from dqv2.config.base import EMPTY, READ_AS_BOOL, Block, ConfigError
from dqv2.config.blocks import Axes
from dqv2.config.data import KINDS, Dataset, Digits
from dqv2.config.experiments import Config
from dqv2.config.plain import dotted, plain, shown

# Key, or column of a tidy table -> the blocks that it names
BLOCKS = {"dataset": "datasets", "method": "methods", "mask": "masks", "mixture": "mixtures", "pixels": "pixels"}
BLOCKS |= {"backbone": "backbones", "start": "backbones", "selector": "selectors"}
BLOCKS |= {"autoencoder": "autoencoders", "trainer": "trainers"}
# Keys that were removed -> what to write instead
RETIRED = {
    "seeds_per_job": "a job does one seed now, and jobs share their start-up automatically: leave it out",
    "arms_per_job": "a job does one arm now, and jobs share their start-up automatically: leave it out",
    "needs": "memory and time are set in the rules; change them by set-resources, in a profile or on the command line",
    "jobs_per_gpu": "it is a resource now: snakemake --default-resources jobs_per_gpu=2",
}


def load_config(values: dict[str, Any]) -> Config:
    """Check the configuration that Snakemake merged from config.yaml, overlays and --config.

    Raises ConfigError with one line for each fault: the key's path, the value, what is allowed.
    """
    values, faults = plain(values)
    if not faults:
        try:
            config = Config.model_validate(values)
            faults = [*_dangling_names(config), *_wrong_for_the_data(config)]
        except ValidationError as error:
            faults = _explained(error, values)
    if not faults:
        return config
    head = "the configuration has an error" if len(faults) == 1 else f"the configuration has {len(faults)} errors"
    raise ConfigError("\n  ".join([head + ":", *faults]))


def _explained(error: ValidationError, values: dict[str, Any]) -> list[str]:
    """One line per key; where a key may have several types, pydantic reports for each why it does not match."""
    found: dict[str, list[str]] = {}
    for fault in error.errors():
        key, message = _explain(fault, values)
        found.setdefault(key, []).append(message)
    return [f"{key}: {', or '.join(dict.fromkeys(messages))}" for key, messages in found.items()]


def _explain(fault: dict[str, Any], values: dict[str, Any]) -> tuple[str, str]:
    """The key's path with its value, and what is wrong."""
    keys = _keys(fault, values)
    path = dotted(keys)
    kind, value = fault["type"], fault.get("input")
    if kind == "extra_forbidden" and path in RETIRED:
        return path, f"this key was removed; {RETIRED[path]}"
    if kind == "extra_forbidden":
        allowed = _allowed(fault["loc"])
        close = difflib.get_close_matches(str(keys[-1]), allowed, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        return path, f"there is no such key.{hint} Allowed here: {', '.join(allowed) or 'none'}"
    if kind in ("missing", "union_tag_not_found"):
        return path if kind == "missing" else f"{path}.kind", "this key is missing"
    if kind == "union_tag_invalid":
        return f"{path}.kind = {shown(value['kind'])}", f"the kinds are {', '.join(KINDS)}"
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if kind == "list_type" and value is None:
        message = EMPTY
    elif kind == "too_short" and not value:
        message = "an empty list or text: give at least one, or leave the key out"
    elif kind == "string_type" and isinstance(value, bool):
        message += READ_AS_BOOL
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "expected a block of keys and values"
    elif kind == "string_too_short":
        message = "it is empty"
    return path + ("" if isinstance(value, dict) and value and kind == "value_error" else f" = {shown(value)}"), message


def _keys(fault: dict[str, Any], values: Any) -> list[str | int]:
    """The keys on the way to a fault, as they appear in the file: pydantic's location also has types and validators."""
    keys = []
    for key in fault["loc"]:
        inside = isinstance(values, dict) and key in values
        if inside or (isinstance(values, list) and isinstance(key, int) and key < len(values)):
            keys.append(key)
            values = values[key]
    return [*keys, fault["loc"][-1]] if fault["type"] == "missing" else keys


def _allowed(loc: tuple) -> list[str]:
    """The keys of the block that `loc` points into."""
    model: type[Block] = Config
    for i, key in enumerate(loc[:-1]):
        if i == 2 and loc[0] == "datasets":
            model = KINDS.get(key, Dataset)
        elif i != 1 and key in model.model_fields:  # 1 is the name of a block
            model = next(_blocks_in(model.model_fields[key].annotation), model)
    return sorted(model.model_fields)


def _blocks_in(annotation: Any) -> Iterator[type[Block]]:
    """The blocks that a key may hold: itself, in a list, or by name."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        yield annotation
    for part in get_args(annotation):
        yield from _blocks_in(part)


def _within(value: Any, path: str) -> Iterator[tuple[str, Block]]:
    """Every block in a value, with its path."""
    if isinstance(value, Block):
        yield path, value
        value = dict(value)
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _within(part, f"{path}.{key}")


def _dangling_names(config: Config) -> Iterator[str]:
    """References to blocks that do not exist."""
    for key, value in config:
        for path, block in _within(value, key):
            for axis, place in BLOCKS.items():
                names, known = getattr(block, axis, None), getattr(config, place)
                for name in names if isinstance(names, list) else [names]:
                    if name is not None and name not in known:
                        yield f"{path}.{axis} = {name!r}: no such block under {place}; there are: {', '.join(known)}"
    for name in config.targets:
        if name not in config.experiments:
            known = ", ".join(config.experiments) or "none"
            yield f"targets: {name!r} is not a block under experiments; there are: {known}"


def _wrong_for_the_data(config: Config) -> Iterator[str]:
    """Faults that show only when two blocks are compared."""
    for name, dataset in config.datasets.items():
        if isinstance(dataset, Digits) and dataset.train + dataset.validation + dataset.test > 1797:
            yield f"datasets.{name}: train + validation + test is more than the 1797 digits of the embedded dataset"
    for place, blocks in config:
        names: dict[str, str] = {}
        for name in blocks if isinstance(blocks, dict) else ():
            if (other := names.setdefault(name.lower(), name)) != name:
                yield f"{place}.{name}: {other} has the same path where a file system ignores case; rename one"
    for name, block in config.experiments.items():
        if block.cost and f"{name}_jobs" in config.experiments:
            yield f"experiments.{name}_jobs: the costs of {name} have this name; choose another"
    missing = [axis for axis in Axes.model_fields if getattr(config.defaults, axis) is None]
    if missing:
        yield f"defaults: a default is missing for {', '.join(missing)}"
