"""How many jobs a configuration is, and what sharing saves: python -m dqv2.plan [config/demo.yaml ...]"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from dqv2.config import ConfigError, load_config
from dqv2.plan import Plan
from dqv2.plan.batches import count_jobs
from dqv2.plan.graph import OUTPUTS
from dqv2.stages import read_versions


def merged(files: list[str]) -> dict[str, Any]:
    """config.yaml with overlays on top, as Snakemake merges them."""

    def update(into: dict, new: dict) -> dict:
        for key, value in new.items():
            into[key] = update(into.get(key) or {}, value) if isinstance(value, dict) else value
        return into

    values: dict[str, Any] = {}
    for file in ["config.yaml", *files]:
        update(values, yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {})
    return values


def main(files: list[str]) -> int:
    """Print the table; 1 where the configuration cannot be read."""
    try:
        plan = Plan(load_config(merged(files)), read_versions(Path("workflow/stages.yaml")))
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    shared, apart = count_jobs(plan)
    asked = sum(len(rows) for rows in plan.rows.values())
    print(f"{len(plan.rows)} experiments ask for {asked} runs, {len(plan.runs)} of them different")
    print(f"{'stage':<14}{'jobs':>8}{'without sharing':>18}")
    for stage in OUTPUTS:
        if apart[stage]:
            print(f"{stage:<14}{shared[stage]:>8,}{apart[stage]:>18,}")
    print(f"{'all':<14}{shared.total():>8,}{apart.total():>18,}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
