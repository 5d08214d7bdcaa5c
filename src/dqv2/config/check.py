"""Reading the configuration: every fault is named with its key's path, the value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import ValidationError

from dqv2.config.base import Block, ConfigError
from dqv2.config.blocks import Axes
from dqv2.config.data import KINDS, Dataset, Digits
from dqv2.config.experiments import Config

# Keys that there were once -> what to write in their place
RETIRED = {
    "seeds_per_job": "a job does one seed now, and jobs share their start-up by themselves: leave it out",
    "arms_per_job": "a job does one arm now, and jobs share their start-up by themselves: leave it out",
    "needs": "memory and time stand in the rules, and are changed by set-resources of a profile or the command line",
    "jobs_per_gpu": "it is a resource now: snakemake --default-resources jobs_per_gpu=2",
}


def load_config(values: dict[str, Any]) -> Config:
    """Check the configuration that Snakemake merged from config.yaml, overlays and --config.

    Raises:
        ConfigError: one line for each fault: the key's path, the value, what is allowed.
    """
    try:
        config = Config.model_validate(values)
        faults = [*_dangling_names(config), *_wrong_for_the_data(config)]
    except ValidationError as error:
        faults = [_explain(fault) for fault in error.errors()]
    if not faults:
        return config
    head = "the configuration has a fault" if len(faults) == 1 else f"the configuration has {len(faults)} faults"
    raise ConfigError("\n  ".join([head + ":", *dict.fromkeys(faults)]))


def _explain(fault: dict[str, Any]) -> str:
    keys = [str(key) for key in fault["loc"]]
    if keys[0] == "datasets" and len(keys) > 2:
        del keys[2]  # pydantic puts the kind there; a person knows only the keys they wrote
    keys = [key for key in keys if not key.startswith(("function-before", "list["))]
    path = ".".join(key for key in keys if key != "[key]") or "(top)"
    if fault["type"] == "extra_forbidden" and path in RETIRED:
        return f"{path}: this key is gone; {RETIRED[path]}"
    if fault["type"] == "extra_forbidden":
        allowed = _allowed(fault["loc"])
        close = difflib.get_close_matches(str(keys[-1]), allowed, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        return f"{path}: there is no such key.{hint} Allowed here: {', '.join(allowed)}"
    if fault["type"] == "missing":
        return f"{path}: this key is missing"
    value = fault.get("input")
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    shown = "" if isinstance(value, dict) else f" = {value!r}"
    return f"{path}{shown}: {message}"


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
    """Names that no block has."""
    places = {"dataset": "datasets", "method": "methods", "mask": "masks", "mixture": "mixtures", "pixels": "pixels"}
    places |= {"backbone": "backbones", "selector": "selectors", "autoencoder": "autoencoders", "trainer": "trainers"}
    for key, value in config:
        for path, block in _within(value, key):
            for axis, place in places.items():
                names, known = getattr(block, axis, None), getattr(config, place)
                for name in names if isinstance(names, list) else [names]:
                    if name is not None and name not in known:
                        yield f"{path}.{axis} = {name!r}: no such block under {place}; there are: {', '.join(known)}"
    for name in config.targets:
        if name not in config.experiments:
            known = ", ".join(config.experiments) or "none"
            yield f"targets: {name!r} is no block under experiments; there are: {known}"


def _wrong_for_the_data(config: Config) -> Iterator[str]:
    """What only a look at two blocks together shows."""
    for name, dataset in config.datasets.items():
        if isinstance(dataset, Digits) and dataset.train + dataset.validation + dataset.test > 1797:
            yield f"datasets.{name}: train + validation + test is over the 1797 digits that there are"
    seeds_of = {f"experiments.{name}.seeds": block.seeds or [] for name, block in config.experiments.items()}
    for path, seeds in {"seeds": config.seeds, **seeds_of}.items():
        if len(set(seeds)) < len(seeds):
            yield f"{path} = {seeds}: a seed stands there twice"
    missing = [axis for axis in Axes.model_fields if getattr(config.defaults, axis) is None]
    if missing:
        yield f"defaults: a default is missing for {', '.join(missing)}"
