"""Reading the configuration: every fault is named with its key's path, the value and what is allowed."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import ValidationError

from dqv2.config.base import Block, ConfigError
from dqv2.config.blocks import (
    Autoencoder,
    Axes,
    Backbone,
    FreshTobias,
    Mask,
    Method,
    Mixture,
    Pixels,
    Selector,
    Trainer,
)
from dqv2.config.data import KINDS, Augment, Dataset, Digits
from dqv2.config.experiments import Arm, Config, Cost, Diagram, Experiment, Export, Figure, Pictures, Storage, Table

BLOCKS_AT_THE_TOP = ("datasets", "trainers", "backbones", "masks", "mixtures", "selectors", "autoencoders", "pixels")
BLOCKS_AT_THE_TOP += ("methods", "experiments")
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
    except ValidationError as error:
        faults = [_explain(fault) for fault in error.errors()]
        raise ConfigError(_listed(faults)) from None
    faults = list(_dangling_names(config)) + list(_wrong_for_the_data(config))
    if faults:
        raise ConfigError(_listed(faults))
    return config


def _listed(faults: list[str]) -> str:
    head = "the configuration has a fault" if len(faults) == 1 else f"the configuration has {len(faults)} faults"
    return "\n  ".join([head + ":", *dict.fromkeys(faults)])


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
    model: Any = Config
    blocks = {
        "datasets": KINDS,
        "trainers": Trainer,
        "backbones": Backbone,
        "masks": Mask,
        "mixtures": Mixture,
        "selectors": Selector,
        "autoencoders": Autoencoder,
        "pixels": Pixels,
        "methods": Method,
        "defaults": Axes,
        "experiments": Experiment,
        "arms": Arm,
        "figure": Figure,
        "table": Table,
        "pictures": Pictures,
        "export": Export,
        "storage": Storage,
        "diagram": Diagram,
        "cost": Cost,
        "augment": Augment,
        "fresh_tobias": FreshTobias,
    }
    for i, key in enumerate(loc[:-1]):
        found = blocks.get(key) if i == 0 or key not in BLOCKS_AT_THE_TOP else None
        if isinstance(found, dict):
            found = found.get(loc[2], Dataset)
        model = found or model
    return sorted(model.model_fields)


def _dangling_names(config: Config):
    """Names that no block has."""
    places = {
        "dataset": ("datasets", config.datasets),
        "method": ("methods", config.methods),
        "mask": ("masks", config.masks),
        "mixture": ("mixtures", config.mixtures),
        "backbone": ("backbones", config.backbones),
        "selector": ("selectors", config.selectors),
        "autoencoder": ("autoencoders", config.autoencoders),
        "pixels": ("pixels", config.pixels),
        "trainer": ("trainers", config.trainers),
    }

    def check(path: str, block: Block):
        for axis, (place, known) in places.items():
            value = getattr(block, axis, None)
            for name in value if isinstance(value, list) else [value]:
                if name is not None and name not in known:
                    yield f"{path}.{axis} = {name!r}: no such block under {place}; there are: {', '.join(known)}"

    yield from check("defaults", config.defaults)
    for name, method in config.methods.items():
        yield from check(f"methods.{name}", method)
    for name, trainer in config.trainers.items():
        if trainer.fresh_tobias:
            yield from check(f"trainers.{name}.fresh_tobias", trainer.fresh_tobias)
    for name, mask in config.masks.items():
        yield from check(f"masks.{name}", mask)
    for name, pixels in config.pixels.items():
        yield from check(f"pixels.{name}", pixels)
    for name, experiment in config.experiments.items():
        yield from check(f"experiments.{name}", experiment)
        if experiment.storage:
            yield from check(f"experiments.{name}.storage", experiment.storage)
        for i, arm in enumerate(experiment.arms):
            yield from check(f"experiments.{name}.arms.{i}", arm)
    for name in config.targets:
        if name not in config.experiments:
            yield (
                f"targets: {name!r} is no block under experiments; there are: {', '.join(config.experiments) or 'none'}"
            )


def _wrong_for_the_data(config: Config):
    """What only a look at two blocks together shows."""
    for name, dataset in config.datasets.items():
        if isinstance(dataset, Digits) and dataset.train + dataset.validation + dataset.test > 1797:
            yield f"datasets.{name}: train + validation + test is over the 1797 digits that there are"
    for path, seeds in [("seeds", config.seeds)] + [
        (f"experiments.{name}.seeds", experiment.seeds or []) for name, experiment in config.experiments.items()
    ]:
        if len(set(seeds)) < len(seeds):
            yield f"{path} = {seeds}: a seed stands there twice"
    missing = [axis for axis in Axes.model_fields if getattr(config.defaults, axis) is None]
    if missing:
        yield f"defaults: a default is missing for {', '.join(missing)}"
