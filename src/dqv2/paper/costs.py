"""The cost of coresets and trainings: seconds and peak memory from the records of their jobs, counted operations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dqv2.runtime.record import read as read_record

WHOLE = "whole selection"  # a row of the table: all stages of a coreset together
ARM = ["dataset", "dataset_title", "method", "label", "seed"]
COLUMNS = [*ARM, "stage", "selects", "seconds", "wall", "memory", "device_memory", "tflop"]


def job_costs(
    rows: Sequence[dict[str, Any]], flop: Mapping[str, float] | None = None, *, partial: bool = False
) -> pd.DataFrame:
    """The cost of every job that the coreset and the training of each method need.

    A job shared by several methods is listed for each of them, as the cost is that of a method alone. rows: as for
    ``collect``. flop: record -> 10¹² floating-point operations of its job's networks, where known. partial: leave out
    runs with a missing record.

    Returns:
        One row per run and job: ``seconds`` (of its own work), ``wall`` (of its process, without start-up), ``memory``
        (peak, MB), ``device_memory`` (peak, MB, missing on a CPU), ``tflop`` (10¹² operations of its networks, missing
        where unknown), ``selects`` (whether it is part of the selection); and for every run a row with the stage "whole
        selection": the sums of seconds and operations, and the largest memory, over those.
    """
    found = []
    for row in rows:
        if partial and not all(Path(file).exists() for *_, file in row["records"]):
            continue
        arm = {name: row["columns"][name] for name in ARM}
        if not arm["method"] or row["columns"].get("replaces"):  # no claim about the method is about this arm
            arm["method"] = arm["label"]
        for stage, account, file in row["records"]:
            kept = read_record(file)
            measured = {"seconds": kept["seconds"], "wall": kept["wall_seconds"], "memory": kept["memory_mb"]}
            measured |= {"device_memory": kept["device_memory_mb"], "tflop": (flop or {}).get(file, float("nan"))}
            found.append(arm | {"stage": stage, "selects": account != "training"} | measured)
    if not found:  # of a partial experiment
        return pd.DataFrame(columns=COLUMNS)
    frame = pd.DataFrame(found, columns=COLUMNS).astype({"device_memory": "float64"})
    together: dict[str, Any] = {"seconds": "sum", "wall": "sum", "memory": "max", "device_memory": "max"}
    together |= {"tflop": lambda each: each.sum(skipna=False)}
    total = frame[frame["selects"]].groupby(ARM, sort=False, as_index=False).agg(together)
    return pd.concat([frame, total.assign(stage=WHOLE, selects=False)], ignore_index=True)
