"""What figures and tables are drawn from, and whether they can be, before hours are spent on their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dqv2.config.experiments import OVERLAP
from dqv2.paper.reported import reported_values
from dqv2.paper.spec import spec_of
from dqv2.plan.plan import Plan

if TYPE_CHECKING:
    from pandas import DataFrame

TABLED = ("collect", "overlap", "storage")  # the rules that make an experiment's tidy table


def drawn_options(plan: Plan, kind: str, experiment: str) -> dict[str, Any]:
    """The params of what is drawn or printed of an experiment, from its block "figure" or "table"."""
    return plan.options(kind, **_spec(plan, kind, experiment))


def faults_of_drawings(plan: Plan, experiments: Iterable[str]) -> list[str]:
    """One sentence for each figure or table of these experiments that the table, as it will be, cannot be drawn as.

    The figures' and tables' own checks say so, of a table with made-up measurements.
    """
    found = []
    for name in sorted(experiments):
        block = plan.config.experiments[name]
        kinds = [kind for kind in ("figure", "table") if getattr(block, kind)]
        if not kinds:
            continue
        from dqv2.paper.figures import arrange
        from dqv2.paper.tables import results_table

        frame = planned_table(plan, name)
        for kind in kinds:
            try:
                {"figure": arrange, "table": results_table}[kind](frame, _spec(plan, kind, name))
            except ValueError as error:
                found.append(f"experiments.{name}.{kind}: {error}")
    return found


def planned_table(plan: Plan, experiment: str) -> DataFrame:
    """An experiment's tidy table as it will be, with a row for each run (or mask, or variant of images) and made-up
    measurements."""
    import pandas as pd

    from dqv2.paper.collect import VARIANTS, made_up, storage_frame

    block = plan.config.experiments[experiment]
    if block.storage:
        columns = plan.storage_columns(experiment)
        return storage_frame(columns, [dict.fromkeys(VARIANTS, (1, 1)) for _ in columns])
    if block.overlap:
        measured = dict.fromkeys((*OVERLAP, "n_images"), 1.0)
        return pd.DataFrame([cell.columns | measured for cell in plan.overlaps(experiment)])
    return made_up(plan.columns_of(experiment), [plan.costs_of(run) for run, *_ in plan.rows[experiment]])


def _spec(plan: Plan, kind: str, experiment: str) -> dict[str, Any]:
    block = getattr(plan.config.experiments[experiment], kind)
    return spec_of(block, partial=plan.config.partial) | {"reported": reported_values(experiment)}
