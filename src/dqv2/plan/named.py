"""The names in `order` and `names` of figures and tables: each is of a row, or of something in the configuration.

A smaller configuration may leave arms out of an experiment and keep its `order`, so a name without a row is refused
only where nothing in the configuration is called so.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dqv2.config import Config
from dqv2.config.check import BLOCKS
from dqv2.config.experiments import Arm
from dqv2.plan.runs import title_of
from dqv2.plan.walk import BACKGROUNDS, NO_MASK, UNCHANGED

if TYPE_CHECKING:
    import pandas as pd


def unknown_names(config: Config, spec: dict[str, Any], frame: pd.DataFrame) -> Iterator[str]:
    """One sentence for each name in the spec's `order` and `names` that is neither of a row nor of the configuration.

    spec: with its axes filled in, none of them a measurement. frame: the experiment's table.
    """
    from dqv2.paper.stats import plain

    axes = {key: spec[key] for key in ("x", "row", "hue", "panel", "column") if spec.get(key)}
    along = axes.get("x") or axes["row"]
    asked = [("order", each, [along]) for each in spec.get("order", [])]
    asked += [("names", each, list(dict.fromkeys(axes.values()))) for each in spec.get("names", {})]
    values = {name: [plain(value) for value in frame[name].dropna().unique()] for name in axes.values()}
    for key, name, columns in asked:
        known = set().union(*(set(values[column]) | known_values(config, column) for column in columns))
        if plain(name) in known:
            continue
        close = difflib.get_close_matches(plain(name), sorted(known), n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        there = "; ".join(f"the values of {column} are {', '.join(values[column])}" for column in columns)
        yield f"{key}: nothing is called {plain(name)!r}.{hint} {there[0].upper()}{there[1:]}"


def known_values(config: Config, column: str) -> set[str]:
    """All values that the configuration could give a column, as text; empty for one that it says nothing of."""
    from dqv2.paper.stats import plain

    if column in BLOCKS:
        return {*getattr(config, BLOCKS[column]), *([UNCHANGED] if column == "pixels" else [])}
    if column == "dataset_title":
        return {block.title for block in config.datasets.values()}
    if column == "mask_title":
        return {NO_MASK, *_titles(config.masks)}
    if column == "label":
        return _labels(config)
    if column == "backgrounds":
        return set(BACKGROUNDS)
    if column == "mix":
        return {trainer.mix for trainer in config.trainers.values()}
    if column in ("originals", "tobias"):
        return {plain(getattr(block, column)) for block in config.mixtures.values()}
    if column in ("keep_ratio", "tobias_size"):
        asked = [getattr(arm, column) or [] for arm in (*_arms(config), config.defaults)]
        return {plain(value) for each in asked for value in (each if isinstance(each, list) else [each])}
    return set()


def _labels(config: Config) -> set[str]:
    """The names that arms have by their titles or methods, also with the masks and pixel steps that tell them apart."""
    masks = ["", *(f", {title}" for title in _titles(config.masks))]
    pixels = ["", ", pixels as they are", *(f", {title}" for title in _titles(config.pixels))]
    made = {"".join(parts) for parts in itertools.product(_titles(config.methods), masks, pixels)}
    return made | {arm.title for arm in _arms(config) if arm.title}


def _titles(blocks: dict[str, Any]) -> list[str]:
    return [title_of(blocks, name) or name for name in blocks]


def _arms(config: Config) -> list[Arm]:
    return [arm for block in config.experiments.values() for arm in (block, *block.arms)]
