"""Configuration files: config.yaml with overlays on top, as Snakemake merges them."""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from dqv2.config.base import ConfigError
from dqv2.config.plain import plain, shown

ENTRY = re.compile(r"[a-zA-Z_][\w-]*\w$")  # a key of --config


class _Loader(yaml.SafeLoader):
    """Refuses what PyYAML reads silently: duplicate keys (the last wins), 1:30 as 90, 010 as 8."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        at, text = f"line {node.start_mark.line + 1}", node.value.replace("_", "").lower()
        try:
            value = super().construct_object(node, deep)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            other = number and (":" in text or (text.lstrip("+-").isdecimal() and int(text) != value))
        except (ValueError, LookupError, AttributeError) as error:  # an invalid date, a tag of another type
            why = f" ({error})" if isinstance(error, ValueError) else ""
            raise ConfigError(f"{at}: YAML cannot read {shown(node.value)}{why}: put text into quotes") from None
        if other:
            raise ConfigError(f"{at}: YAML takes {node.value} for {shown(value)}: write that, or put text into quotes")
        return value

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if first := lines.get((key.tag, key.value)):
                    raise ConfigError(f"line {line}: the key {key.value} appears already in line {first}")
                lines[key.tag, key.value] = line
        return node


def read_files(
    overlays: Iterable[str | Path], base: str | Path = "config.yaml", more: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The values of `base` merged with the overlays and with `more`, later ones taking precedence.

    Raises:
        ConfigError: a file is not valid YAML, is not a mapping, or has a duplicate key; the message names the file.
        OSError: a file cannot be read.
    """
    values: dict[str, Any] = {}
    for file in [base, *overlays]:
        _update(values, read_file(file))
    return _update(values, more or {})


def from_entries(entries: Iterable[str]) -> dict[str, Any]:
    """The values of entries KEY=VALUE, read as Snakemake reads those of --config: numbers, True and False, else YAML
    with texts alone.

    Raises ConfigError where an entry has another form.
    """
    values: dict[str, Any] = {}
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not equals or not ENTRY.match(key):
            raise ConfigError(f"--config {entry}: write KEY=VALUE, such as 'datasets={{own: {{path: images}}}}'")
        _update(values, {key: _value(text.strip("'\""))})
    return values


def _value(text: str) -> Any:
    if text in ("True", "False", ""):
        return {"True": True, "False": False, "": None}[text]
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    try:
        value = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        return text
    return text if value is None else value


def read_file(file: str | Path) -> dict[str, Any]:
    """The values of one file; raises as `read_files`."""
    try:
        new = _read(Path(file).read_text(encoding="utf-8"))
        plain(new)  # raises ConfigError for anchors that contain themselves or multiply, before they are copied
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{file} is nested too deep") from None
    except ValueError as error:  # a duplicate key, an invalid number or date
        raise ConfigError(f"{file}: {error}") from None
    if not isinstance(new, dict):
        what = "is empty" if new is None else f"holds a {type(new).__name__}"
        raise ConfigError(f"{file} {what}: a configuration is keys and values")
    return new


def _read(text: str) -> Any:
    """Snakemake takes JSON too, which may have tabs."""
    if text.lstrip().startswith("{"):
        with suppress(json.JSONDecodeError):
            return json.loads(text, object_pairs_hook=_unique)
    return yaml.load(text, Loader=_Loader)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ConfigError(f"the key {key} appears twice")
        found[key] = value
    return found


def _update(into: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    for key, value in new.items():
        if isinstance(value, dict):
            old = into.get(key)
            value = _update(old if isinstance(old, dict) else {}, value)
        into[key] = value
    return into
