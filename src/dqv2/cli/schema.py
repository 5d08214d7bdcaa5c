"""The schema of configuration files, for editors: `dqv2 schema` writes config/schema.json anew."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

FILE = Path("config/schema.json")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("schema", help="the schema of configuration files, for editors", description=__doc__)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE}")
    return 0


def text() -> str:
    """The file."""
    from dqv2.config.schema import editor_schema

    return json.dumps(editor_schema(), indent=1, ensure_ascii=False) + "\n"
