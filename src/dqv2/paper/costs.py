"""What coresets and trainings cost: seconds by the stages' own clocks, memory by Snakemake's benchmarks."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

WHOLE = "whole selection"  # a row of the table: all stages of a coreset together
COLUMNS = ("dataset", "dataset_title", "method", "label", "stage", "seed", "seeds", "selects")
COLUMNS += ("seconds", "wall", "memory")


def read_benchmark(file: Path) -> dict[str, float]:
    """``seconds`` (wall clock of the job, Python's start-up included) and ``memory`` (peak resident set, MB) of a job.

    Memory is missing where the job ended before it was measured, as Snakemake's "NA" and "-" say.

    Raises:
        ValueError: the file is no benchmark of Snakemake's.
    """
    with Path(file).open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    if not rows or not {"s", "max_rss"} <= set(rows[0]):
        raise ValueError(f"{file}: not one of Snakemake's benchmark files; delete it and run again")
    return {"seconds": _number(rows[-1]["s"]), "memory": _number(rows[-1]["max_rss"])}


def _measured(cost: dict[str, Any]) -> dict[str, float]:
    """What Snakemake measured of the job that made a cost file: ``seconds`` a coreset, ``memory`` of the job."""
    if not Path(cost.get("benchmark", "")).is_file():
        return {"seconds": float("nan"), "memory": float("nan")}
    found = read_benchmark(Path(cost["benchmark"]))
    return found | {"seconds": found["seconds"] / cost["made"]}


def _number(text: str | None) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return float("nan")
    return value if np.isfinite(value) and value > 0 else float("nan")


def job_costs(jobs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The cost of every stage that each method's coreset, and training, needs.

    Args:
        jobs: one an arm, stage and chunk of seeds: ``dataset``, ``dataset_title``, ``method``, ``label``, ``stage``,
            ``seeds`` and ``costs``: the stage's own cost files, one a seed, or one for all. Each holds ``seconds``,
            ``benchmark`` (Snakemake's file of the job in which it was made) and ``made`` (for how many coresets that
            job worked, those of other methods included). A stage that several methods share stands at each of them:
            it is what the method costs alone.

    Returns:
        One row a job: ``seed`` (the first of its chunk), ``seconds`` (own clock, a coreset), ``wall`` (of the job, a
        coreset),
        ``memory`` (MB, of the job), and for every method and chunk a row of stage "whole selection": the sum of the
        seconds
        and the largest memory over all stages but training. ``selects`` says whether a row's stage is a part of it.
    """
    rows = []
    for job in jobs:
        own = [json.loads(Path(file).read_text(encoding="utf-8")) for file in job["costs"]]
        measured = [_measured(cost) for cost in own]
        rows.append(
            {
                **{name: job[name] for name in ("dataset", "dataset_title", "method", "label", "stage")},
                "seed": job["seeds"][0],
                "seeds": len(job["seeds"]),
                "selects": job["selects"],
                "seconds": float(np.mean([cost["seconds"] for cost in own])),
                "wall": float(np.mean([found["seconds"] for found in measured])),
                "memory": float(np.fmax.reduce([found["memory"] for found in measured])),
            }
        )
    if not rows:  # of a partial experiment
        return pd.DataFrame(columns=list(COLUMNS))
    frame = pd.DataFrame(rows)
    whole = frame[frame["selects"]].groupby(
        ["dataset", "dataset_title", "method", "label", "seed", "seeds"], sort=False, as_index=False
    )
    total = whole.agg(
        seconds=("seconds", lambda values: values.sum(skipna=False)), wall=("wall", "sum"), memory=("memory", "max")
    )
    return pd.concat([frame, total.assign(stage=WHOLE, selects=False)], ignore_index=True)
