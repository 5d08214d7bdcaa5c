"""Configuration files: config.yaml with overlays on top, as Snakemake merges them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from dqv2.config.base import ConfigError


def read_files(overlays: Iterable[str | Path], base: str | Path = "config.yaml") -> dict[str, Any]:
    """The merged values of `base` and the overlays, the last one's on top.

    Raises:
        ConfigError: a file is no YAML, or no keys and values.
    """
    values: dict[str, Any] = {}
    for file in [base, *overlays]:
        try:
            new = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise ConfigError(f"{file} is no YAML: {error}") from None
        if not isinstance(new, dict):
            raise ConfigError(f"{file} holds a {type(new).__name__}: a configuration is keys and values")
        _update(values, new)
    return values


def _update(into: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    for key, value in new.items():
        into[key] = _update(into.get(key) or {}, value) if isinstance(value, dict) else value
    return into
