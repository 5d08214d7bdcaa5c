"""What a partial report (`partial: true`) shows: the experiments of which something is there. It starts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dqv2.plan.plan import Plan
from dqv2.plan.report import diagrams, sections


def readable(plan: Plan, tables: Mapping[str, str]) -> dict[str, str]:
    """The tables, by name, that a report reads: all, or in a partial one those of which something is there."""
    return {name: file for name, file in tables.items() if not plan.config.partial or _is_there(plan, name, [file])}


def page_sections(plan: Plan) -> list[dict[str, Any]]:
    """What the page shows; in a partial report an experiment without anything to show has no files, and says so."""
    return [
        section
        if not plan.config.partial or _is_there(plan, section["name"], list(section["files"].values()))
        else _without_files(plan, section)
        for section in sections(plan)
    ]


def _is_there(plan: Plan, name: str, files: list[str]) -> bool:
    """Whether a run of an experiment has finished or, where it shows none, its files are made."""
    experiment = name.removesuffix("_jobs")
    if experiment in plan.rows and plan.makes_runs(experiment):
        return any(Path(plan.metrics_of(run)).exists() for run, *_ in plan.rows[experiment])
    return experiment in diagrams(plan) or all(Path(file).exists() for file in files)


def _without_files(plan: Plan, section: dict[str, Any]) -> dict[str, Any]:
    why = "no run has finished" if plan.makes_runs(section["name"]) else "not made yet"
    bare = {"files": {}, "pictures": [], "table": None, "printed": None}
    return section | bare | {"note": f"{section['note']} · PARTIAL: {why}"}
