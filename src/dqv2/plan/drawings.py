"""What figures and tables are drawn from, and whether they can be, before hours are spent on their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dqv2.config.experiments import OVERLAP, STORAGE
from dqv2.paper.reported import reported_values
from dqv2.paper.spec import spec_of
from dqv2.plan.plan import Plan

if TYPE_CHECKING:
    from pandas import DataFrame

TABLED = ("collect", "overlap", "storage")  # the rules that make an experiment's tidy table


def drawn_options(plan: Plan, kind: str, experiment: str) -> dict[str, Any]:
    """The params of what is drawn or printed of an experiment, from its block "figure" or "table"."""
    return plan.options(kind, **_spec(plan, kind, experiment))


def faults_of_drawings(plan: Plan, drawings: Sequence[tuple[str, str]]) -> list[str]:
    """One sentence for each drawing, ("figure" or "table", experiment), that cannot be made of the table as it will be.

    The figures' and tables' own checks say so, of a table with made-up measurements. Where a drawing picks or arranges
    rows by a measurement, only the names of its columns are checked. A partial drawing waits for nothing.
    """
    if plan.config.partial or not drawings:
        return []
    from dqv2.paper.figures import arrange
    from dqv2.paper.stats import require_columns
    from dqv2.paper.tables import results_table

    found = []
    for kind, name in sorted(drawings):
        frame, measured = planned_table(plan, name)
        spec = _spec(plan, kind, name)
        used = _columns_of(spec)
        try:
            if measured & set(used):
                require_columns(frame, [*used, spec["y"], *spec.get("beside", [])])
            else:
                {"figure": arrange, "table": results_table}[kind](frame, spec)
        except (ValueError, KeyError, TypeError) as error:
            found.append(f"experiments.{name}.{kind}: {error}")
    return found


def planned_table(plan: Plan, experiment: str) -> tuple[DataFrame, set[str]]:
    """An experiment's tidy table as it will be, with a row for each run (or mask, or variant of images), and which of
    its columns are measurements, which are made up."""
    import pandas as pd

    from dqv2.paper.collect import VARIANTS, made_up, storage_frame

    block = plan.config.experiments[experiment]
    if block.storage:
        columns = plan.storage_columns(experiment)
        return storage_frame(columns, [dict.fromkeys(VARIANTS, (1, 1)) for _ in columns]), {*STORAGE, "coreset_size"}
    if block.overlap:
        measured = dict.fromkeys((*OVERLAP, "n_images"), 1.0)
        return pd.DataFrame([cell.columns | measured for cell in plan.overlaps(experiment)]), set(measured)
    columns = plan.columns_of(experiment)
    frame = made_up(columns, [plan.costs_of(run) for run, *_ in plan.rows[experiment]])
    return frame, set(frame.columns) - set(columns[0])


def _columns_of(spec: dict[str, Any]) -> list[str]:
    """The columns by which a drawing picks and arranges rows."""
    axes = [spec.get(key) for key in ("x", "hue", "panel", "row", "column")]
    picked = [*spec.get("where", {}), *(key for entry in spec.get("reference", []) for key in entry if key != "label")]
    return [name for name in (*axes, *picked) if name]


def _spec(plan: Plan, kind: str, experiment: str) -> dict[str, Any]:
    block = getattr(plan.config.experiments[experiment], kind)
    return spec_of(block, partial=plan.config.partial) | {"reported": reported_values(experiment)}
