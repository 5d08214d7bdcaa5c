"""Statistics over seeds, as printed in all figures and tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy  # its parts are imported when they are used: `special` alone, which takes less time than `stats`

AXES = ("experiment", "dataset", "method", "label", "selector", "mask", "tobias_size", "originals", "tobias", "mixture")
AXES += ("backgrounds", "backbone", "pixels", "keep_ratio", "trainer")
COLUMNS = ("n", "mean", "sd", "variance", "ci95", "min", "max")
PAPER_SEEDS = 5  # behind each mean that the paper reports
SHARED = "its runs share seeds: not independent"  # why `crossed` runs are not tested
Numbers = float | np.ndarray


def summarise(frame: pd.DataFrame, by: str | Sequence[str], y: str) -> pd.DataFrame:
    """Summarise ``y`` over the rows (seeds) of each group of ``by``.

    Returns one row per group in order of first appearance: the columns of ``by``, then ``n`` (rows), ``mean``,
    ``sd`` (ddof 1), ``variance`` (its square), ``ci95`` (half-width of Student's 95 % interval of the mean),
    ``min`` and ``max``, all in the unit of ``y``. Spread needs two seeds: sd, variance and ci95 of a
    single one are missing. An empty ``by`` makes one group of everything.

    Raises ValueError where a column does not exist, or a value of ``y`` is missing or not a finite number.
    """
    by = [by] if isinstance(by, str) else list(by)
    require_columns(frame, by)
    values = numbers(frame, y)
    if not np.isfinite(values).all():
        raise ValueError(f"{(~np.isfinite(values)).sum()} of {len(values)} values of {y!r} are missing or not finite")
    keys = [frame[name] for name in by] or np.zeros(len(frame))
    groups = values.groupby(keys, sort=False, dropna=False, observed=True)
    out = groups.agg(n="count", mean="mean", sd="std", min="min", max="max")
    out["variance"] = out["sd"] ** 2
    out["ci95"] = scipy.special.stdtrit(out["n"] - 1, 0.975) * out["sd"] / np.sqrt(out["n"])
    out = out[list(COLUMNS)]
    return out.reset_index() if by else out.reset_index(drop=True)


def plus_minus(mean: float, sd: float, decimals: int | None = None) -> str:
    """Mean ± sd as printed, empty where the mean is missing; by default with `decimals_of` the sd."""
    places = decimals_of(sd) if decimals is None else decimals
    return "" if np.isnan(mean) else f"{mean:z.{places}f}" + ("" if np.isnan(sd) else f" ± {sd:.{places}f}")


def decimals_of(sd: float) -> int:
    """One decimal where seeds spread by a point (a unit of y) or more, which makes a second one noise; else two."""
    return 1 if round(float(sd), 2) >= 1 else 2  # NumPy's own numbers round halves as nothing prints them


def span(counts: pd.Series) -> str:
    """Whole numbers as printed: "5", or "3–5" where they differ."""
    counts = counts.dropna().astype(int)
    if counts.empty:
        return ""
    low, high = counts.min(), counts.max()
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def plain(value: Any) -> str:
    """A value as text, as the keys of ``names`` have it: a whole number without decimals."""
    number = isinstance(value, int | float | np.number)
    return f"{float(value):.0f}" if number and float(value).is_integer() else f"{value:g}" if number else str(value)


def require_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise ValueError where a frame lacks one of ``columns``; the message lists those it has."""
    missing = [name for name in dict.fromkeys(columns) if name not in frame.columns]
    if missing:
        raise ValueError(f"no column {', '.join(map(repr, missing))}; the table has {', '.join(frame.columns)}")


def numbers(frame: pd.DataFrame, column: str) -> pd.Series:
    """A column as float64; raises ValueError where it does not exist, or holds something other than numbers."""
    require_columns(frame, [column])
    try:
        return frame[column].astype("float64")
    except (TypeError, ValueError):
        raise ValueError(f"column {column!r} holds text such as {str(frame[column].iloc[0])!r}, not numbers") from None


def crossed(runs: pd.DataFrame) -> bool:
    """Whether coresets have seeds other than their trainings': runs share one of the two and are not independent."""
    return "selection_seed" in runs and bool((runs["selection_seed"] != runs["seed"]).any())


def require_one_row_per_seed(frame: pd.DataFrame, by: Sequence[str]) -> None:
    """Raise ValueError where a group of ``by`` has the same seed twice, so that its mean would mix different arms."""
    by = list(dict.fromkeys(by))
    require_columns(frame, [*by, "seed"])
    twice = frame[frame.duplicated([*by, "seed"], keep=False)]
    if twice.empty:
        return
    clash = next(rows for _, rows in twice.groupby([*by, "seed"], sort=False, dropna=False, observed=True))
    first = clash.iloc[0]
    differ = [name for name in (*AXES, "selection_seed") if name in clash and clash[name].nunique(dropna=False) > 1]
    where = ", ".join(f"{name} = {first[name]}" for name in by) or "the whole table"
    axis = "an axis (x, hue or panel of a figure, row or column of a table)"
    hint = f"they differ in {', '.join(differ)}: make it {axis}, or pick one with 'where'"
    raise ValueError(
        f"{len(clash)} rows share seed {first['seed']} at {where}, so a mean would mix different arms; "
        + (hint if differ else "the same run is listed twice")
    )


def predicted(n: int, mean: float, sd: float, *, paired: bool = True) -> tuple[float, float]:
    """Student's 95 % prediction interval for the mean of `PAPER_SEEDS` further values, in the unit of ``mean``.

    n: values behind ``mean`` and ``sd`` (ddof 1). Of two independent arms (not ``paired``) n is of each, mean and sd
    are the difference and sqrt(s² + s²), and there are 2n − 2 degrees of freedom. Both ends are missing where n is
    below 2.
    """
    if n < 2:
        return float("nan"), float("nan")
    half = float(scipy.special.stdtrit(n - 1 if paired else 2 * n - 2, 0.975)) * sd * (1 / n + 1 / PAPER_SEEDS) ** 0.5
    return mean - half, mean + half


def binomial_error(accuracy: Numbers, images: Numbers) -> Numbers:
    """Binomial standard error, in points, of an accuracy (in %) measured on a number of test images.

    It is that of one network's accuracy on other test images of the same kind; the spread of the seeds, on the same
    images, does not include it.
    """
    return (accuracy * (100 - accuracy) / images) ** 0.5
