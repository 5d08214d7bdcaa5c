"""The JSON Schema of configuration files, for editors: `dqv2 schema` rewrites config/schema.json."""

import argparse
import json
from pathlib import Path
from typing import Any

from dqv2.declared import require_docstrings

FILE = Path("config/schema.json")
NOTHING = {"type": "null"}


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("schema", help="the schema of configuration files, for editors", description=__doc__)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    require_docstrings()
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE}")
    return 0


def text() -> str:
    """The content of config/schema.json: a JSON Schema (draft 2020-12) for any configuration file.

    It is looser than the configuration itself: an overlay has only the keys that it changes, null resets a key, and a
    single value may stand for a list of one.
    """
    from dqv2.config.experiments import Config

    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | _loose(Config.model_json_schema())
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _loose(node: Any) -> Any:
    if isinstance(node, list):
        return [_loose(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _loose(value) for key, value in node.items() if key not in ("required", "discriminator", "title")}
    if "oneOf" in kept:  # several may match an overlay that does not name its kind
        kept["anyOf"] = kept.pop("oneOf")
    if isinstance(node.get("properties"), dict):
        kept["properties"] = {name: _or_nothing(_loose(value)) for name, value in node["properties"].items()}
    return kept


def _or_nothing(value: dict[str, Any]) -> dict[str, Any]:
    """The schema of a key that may also be null, or a single value instead of a list of one."""
    choices = value.get("anyOf", [value])
    choices += [choice["items"] for choice in choices if choice.get("type") == "array" and "items" in choice]
    about = {key: value[key] for key in ("description", "default") if key in value and "anyOf" in value}
    return about | {"anyOf": [*choices, *([] if NOTHING in choices else [NOTHING])]}
