"""What a partial report (`partial: true`) shows: the experiments of which something is there. It starts nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dqv2.plan.graph import wanted
from dqv2.plan.plan import Plan
from dqv2.plan.report import sections


def present_targets(plan: Plan) -> list[str]:
    """The files of all experiments, or in a partial report of those of which something is there."""
    if not plan.config.partial:
        return plan.targets()
    return plan.targets(name for name in plan.config.targets if _is_there(plan, name))


def readable(plan: Plan, tables: Mapping[str, str]) -> dict[str, str]:
    """The tables, by name, that a report reads: all, or in a partial one those of which something is there."""
    return {name: file for name, file in tables.items() if not plan.config.partial or _is_there(plan, name, [file])}


def page_sections(plan: Plan) -> list[dict[str, Any]]:
    """What the page shows; in a partial report an experiment without anything to show has no files, and says so."""
    return [
        section if not plan.config.partial or _is_there(plan, section["name"]) else _without_files(plan, section)
        for section in sections(plan)
    ]


def _is_there(plan: Plan, name: str, files: Iterable[str] = ()) -> bool:
    """Whether a run of an experiment has finished or, where it shows none, all is there that it is made of: so nothing
    is selected or trained for it. Of what is no experiment, whether its files are made."""
    experiment = name.removesuffix("_jobs")
    if experiment not in plan.rows:
        return all(Path(file).exists() for file in files)
    if plan.makes_runs(experiment):
        return any(Path(plan.metrics_of(run)).exists() for run, *_ in plan.rows[experiment])
    return all(Path(file).exists() for needed in wanted(plan, experiment) for file in needed)


def _without_files(plan: Plan, section: dict[str, Any]) -> dict[str, Any]:
    why = "no run has finished" if plan.makes_runs(section["name"]) else "not made yet"
    bare = {"files": {}, "pictures": [], "table": None, "printed": None}
    return section | bare | {"note": f"{section['note']} · PARTIAL: {why}"}
