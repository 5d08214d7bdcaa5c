"""One tidy table from the metrics files of an experiment's runs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dqv2.runtime.files import atomic_path, load_json
from dqv2.runtime.record import read as read_record
from dqv2.runtime.sentences import require_working

WHOLE = ("tobias_size", "seed", "selection_seed", "coreset_size", "n_tobias", "n_originals", "n_test", "threads")
WHOLE += ("micro_batch",)
WORDS = ("experiment", "dataset", "dataset_title", "method", "label", "mask", "mask_title", "backgrounds")
WORDS += ("metrics", "mixture", "mix", "pixels", "variant", "variant_title", "weights", "run", "selection_device")
WORDS += ("replaces", "selector", "backbone", "trainer", "selection", "device", "torch")


def collect(rows: Sequence[dict[str, Any]], *, partial: bool = False) -> pd.DataFrame:
    """Join the planned columns of each run with its metrics and the seconds of the stages behind it.

    Args:
        rows: for each run ``columns`` (the planned ones, including ``dataset``, ``keep_ratio`` and ``seed``),
            ``metrics`` (the path of its ``metrics.json``: an object with ``test_accuracy``, top-1 in %, and further
            scalars; nested values are left out, and where both have a column the plan's is used) and ``records``:
            [stage, account, record] of each job behind it. They give `<stage>_seconds`, `early_seconds` (account
            "early": trainings before the selection) and `selection_seconds` (those, and account "selection").
        partial: leave out missing runs instead of raising.

    Returns:
        One row per run in the plan's order: the planned columns, then the measured ones and ``metrics``, the file.
        Integers are ``Int64``, so that a missing Tobias size stays missing and 4 stays 4.

    Raises:
        FileNotFoundError: files are missing and ``partial`` is not set.
        ValueError: a file is unreadable, has no valid accuracy, or belongs to another run.
    """
    missing = [row["metrics"] for row in rows if not Path(row["metrics"]).is_file()]
    if missing and not partial:
        shown = "\n  ".join([*missing[:5], *(["..."] if len(missing) > 5 else [])])
        lacking = f"{len(missing)} of {len(rows)} runs have no metrics file"
        raise FileNotFoundError(f"{lacking}; run them or ask for partial:\n  {shown}")
    there = [row for row in rows if Path(row["metrics"]).is_file()]
    found = [
        _row(row["columns"], Path(row["metrics"])) | seconds_behind(row["records"], partial=partial) for row in there
    ]
    planned = [name for row in rows for name in row["columns"]]
    measured = [name for row in found for name in row]
    return _typed(pd.DataFrame(found, columns=list(dict.fromkeys([*planned, *measured]))))


def _row(run: dict[str, Any], file: Path) -> dict[str, Any]:
    try:
        metrics = load_json(file)
    except (ValueError, OSError) as error:
        require_working(error, file)
        raise ValueError(f"{file}: not readable as JSON ({error}); delete it and run again") from error
    if not isinstance(metrics, dict):
        raise ValueError(f"{file}: holds a {type(metrics).__name__}, not an object; delete it and run again")
    planned_ones = run | {"keep_ratio": run.get("share_of_images", run.get("keep_ratio"))}
    for name in ("dataset", "keep_ratio", "seed"):
        told, planned = metrics.get(name), planned_ones.get(name)
        both = isinstance(told, int | float) and isinstance(planned, int | float)
        if None not in (told, planned) and told != planned and not (both and math.isclose(told, planned)):
            raise ValueError(f"{file}: {name} is {told!r}, but the plan says {planned!r}: another run's file")
    accuracy = metrics.get("test_accuracy")
    if not isinstance(accuracy, int | float) or isinstance(accuracy, bool) or not 0 <= accuracy <= 100:
        raise ValueError(f"{file}: test_accuracy is {accuracy!r}, not a percentage from 0 to 100")
    scalars = {name: value for name, value in metrics.items() if not isinstance(value, list | dict)}
    return scalars | run | {"metrics": file.as_posix()}


def seconds_behind(behind: Sequence[Sequence[str]], *, partial: bool = False) -> dict[str, Any]:
    """Seconds by stage, their sums, and the devices; empty without stages, or where a partial table lacks a record.

    behind: ``records`` as for `collect`. Raises FileNotFoundError where a record is missing and ``partial`` is not set.
    """
    missing = sorted(file for _, _, file in behind if not Path(file).is_file())
    if missing and not partial:
        raise FileNotFoundError(f"{len(missing)} records are missing, such as {missing[0]}: run its stage again")
    if missing or not behind:
        return {}
    kept = [(stage, account, read_record(file)) for stage, account, file in behind]
    sums = dict.fromkeys([stage for stage, *_ in kept], 0.0)
    for stage, _, record in kept:
        sums[stage] += record["seconds"]
    accounts = {stage: account for stage, account, _ in kept}
    early = sum(sums[stage] for stage, account in accounts.items() if account == "early")
    selection = sum(sums[stage] for stage, account in accounts.items() if account != "training")
    sums |= {"early": early, "selection": selection}
    devices = sorted({record["device"] for _, account, record in kept if account != "training"})
    seconds = {f"{name}_seconds": round(value, 4) for name, value in sums.items()}
    return seconds | {"selection_device": " + ".join(devices)}


NUMBERS = ("coreset_size", "micro_batch", "n_originals", "n_test", "n_tobias", "test_accuracy", "threads")
NUMBERS += ("train_loss", "validation_accuracy")
TEXTS = ("device", "metrics", "precision", "run", "selection", "torch", "weights")


def made_up(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The table that `collect` will make from these runs, with made-up measurements, for checking specs."""
    measured = dict.fromkeys(NUMBERS, 1.0) | dict.fromkeys(TEXTS, "made up")
    found = []
    for row in rows:
        stages = [stage for stage, *_ in row["records"]]
        seconds = dict.fromkeys([f"{stage}_seconds" for stage in (*stages, "early", "selection")], 1.0)
        found.append(row["columns"] | measured | seconds | {"selection_device": "made up"})
    return _typed(pd.DataFrame(found))


VARIANTS = {"original": "Original", "dropped": "After dropping", "reconstructed": "After reconstruction"}
VARIANTS |= {"tobias": "Tobias"}


def storage_frame(runs: Sequence[dict[str, Any]], sizes: Sequence[dict[str, tuple[int, int]]]) -> pd.DataFrame:
    """One row per coreset and variant of its images: `megabytes` (10⁶ bytes) and `bytes_per_image`.

    runs: the planned columns of each coreset. sizes: for each, variant -> (total bytes, number of images).
    """
    rows = []
    for run, variants in zip(runs, sizes, strict=True):
        for name, title in VARIANTS.items():
            total, count = variants[name]
            row = run | {"variant": name, "variant_title": title, "megabytes": total / 1e6}
            rows.append(row | {"bytes_per_image": total / count, "coreset_size": count})
    return _typed(pd.DataFrame(rows))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    types = dict.fromkeys(frame.columns[frame.isna().all()], "float64")
    types |= dict.fromkeys(WHOLE, "Int64") | dict.fromkeys(WORDS, "string")
    return frame.astype({name: kind for name, kind in types.items() if name in frame})


def write_csv(frame: pd.DataFrame, file: Path) -> None:
    """Write ``frame`` as UTF-8 CSV, atomically: the same frame gives the same bytes; missing values are empty."""
    with atomic_path(file) as draft:
        frame.to_csv(draft, index=False, lineterminator="\n", encoding="utf-8")


def write_text(text: str, file: Path) -> None:
    """Write ``text`` as UTF-8 with LF line endings, atomically."""
    with atomic_path(file) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")


def read_csv(file: Path) -> pd.DataFrame:
    """Read what `write_csv` wrote, with the same types: only an empty cell is missing, not a method named "None"."""
    header = pd.read_csv(file, nrows=0).columns
    return _typed(read_plain(file, {name: "string" for name in header if name in WORDS}))


def read_plain(file: Path, types: dict[str, str] | None = None) -> pd.DataFrame:
    """Read a CSV whose columns have the types that their cells show, or those given; an empty cell is missing."""
    return pd.read_csv(file, dtype=types, keep_default_na=False, na_values=[""])


def mixed_threads(frame: pd.DataFrame) -> str | None:
    """Words on the numbers of threads of trainings on a CPU, whose weights depend on them; None unless they differ."""
    if not {"device", "threads"} <= set(frame.columns):
        return None
    found = sorted(frame.loc[frame["device"] == "CPU", "threads"].dropna().unique())
    return f"trained with {' and '.join(map(str, found))} threads" if len(found) > 1 else None


def device_note(note: str, frame: pd.DataFrame, planned: int) -> str:
    """``note``, extended by what only the runs tell: the devices, different numbers of threads, and how many of the
    planned rows are missing."""
    devices = sorted(frame["device"].dropna().unique()) if "device" in frame else []
    missing, threads = planned - len(frame), mixed_threads(frame)
    parts = [note, *devices, *([threads] if threads else [])]
    parts += [f"PARTIAL: {missing} of {planned} runs are missing"] if missing else []
    return " · ".join(parts)
