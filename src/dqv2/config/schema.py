"""What an editor checks a configuration file against, config.yaml or an overlay: JSON Schema, from the typed blocks."""

from __future__ import annotations

from typing import Any

from dqv2.config.experiments import Config

NOTHING = {"type": "null"}


def editor_schema() -> dict[str, Any]:
    """The schema of any file of the configuration (draft 2020-12).

    It is looser than the configuration itself: an overlay has only the keys that it changes, null undoes one, and one
    value may stand for a list of one.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | _loose(Config.model_json_schema())


def _loose(node: Any) -> Any:
    if isinstance(node, list):
        return [_loose(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _loose(value) for key, value in node.items() if key not in ("required", "discriminator", "title")}
    if "oneOf" in kept:  # of an overlay that does not name its kind several may fit
        kept["anyOf"] = kept.pop("oneOf")
    if isinstance(kept.get("properties"), dict):
        known = node["properties"] | {}
        kept["properties"] = {name: _or_nothing(_loose(value)) for name, value in known.items()}
    return kept


def _or_nothing(value: dict[str, Any]) -> dict[str, Any]:
    """The schema of a key that may be null, and one value in place of a list of one."""
    choices = value.get("anyOf", [value])
    choices += [choice["items"] for choice in choices if choice.get("type") == "array" and "items" in choice]
    about = {key: value[key] for key in ("description", "default") if key in value and "anyOf" in value}
    return about | {"anyOf": [*choices, *([] if NOTHING in choices else [NOTHING])]}
