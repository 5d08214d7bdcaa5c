"""The configuration of a command: config.yaml, overlays, and values as for `snakemake --config`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dqv2
from dqv2.config import read_files
from dqv2.config.files import from_entries


def add_values(parser: argparse.ArgumentParser) -> None:
    """Add the option --config."""
    about = "values to set, as for snakemake --config; put it after the other arguments"
    parser.add_argument("--config", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=about)


def values_of(overlays: Sequence[str], entries: Sequence[str]) -> dict[str, Any]:
    """The values of config.yaml with overlays and --config on top; raises as `read_files` and `from_entries`."""
    if base := base_elsewhere():
        print(f"using {base}, as there is no config.yaml here", file=sys.stderr)
    return read_files(overlays, base or "config.yaml", from_entries(entries))


def base_elsewhere() -> Path | None:
    """The config.yaml of the checkout that this library is of, where there is none in this folder; None without one."""
    base = project() / "config.yaml"
    return base if base.is_file() and (project() / "Snakefile").is_file() and not Path("config.yaml").exists() else None


def project() -> Path:
    """The checkout that this library is of; another folder where it is installed without one."""
    return Path(dqv2.__file__).parents[2]
