"""The variance of a method, split into what the draw of its coreset adds and what its training adds.

Each of I coresets (all that a seed decides before the training) is trained on with each of J seeds of the training. The
accuracies follow the crossed random-effects model y_ij = mu + a_i + b_j + e_ij, whose variances are estimated from the
mean squares (Searle, Casella and McCulloch 1992, section 4.7; Henderson's first method): var(a) = (MS_a - MS_e) / J,
var(b) = (MS_b - MS_e) / I, var(e) = MS_e. An estimate below zero is printed as zero.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dqv2.paper import style
from dqv2.paper.arms import NothingYet, Spec
from dqv2.paper.marks import dot
from dqv2.paper.stats import decimals_of, require_columns

COLOURS = {"draw of the coreset": "#0072B2", "training": "#E69F00", "both together": "#9A9A9A"}  # of each part


def components(values: pd.DataFrame) -> tuple[float, ...]:
    """The variance components of a table with a row per coreset and a column per training, in its unit squared.

    Raises ValueError where there are fewer than two rows or columns, or a cell is missing.
    """
    table = values.to_numpy("float64")
    coresets, trainings = table.shape
    if min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(
            f"{coresets} seeds of the coreset x {trainings} of the training, {np.isfinite(table).sum()} runs: to "
            "split the variance takes two of each, and every pair"
        )
    rows, columns = table.mean(1), table.mean(0)
    left = table - rows[:, None] - columns + table.mean()
    rest = (left**2).sum() / ((coresets - 1) * (trainings - 1))
    of_coresets = (trainings * rows.var(ddof=1) - rest) / trainings
    of_trainings = (coresets * columns.var(ddof=1) - rest) / coresets
    return tuple(max(float(part), 0.0) for part in (of_coresets, of_trainings, rest))


def split(frame: pd.DataFrame, spec: Spec) -> tuple[pd.DataFrame, Spec]:
    """Each method's standard deviation by part, in points: one row per part, in the column ``sd``.

    Raises NothingYet where a partial table is incomplete for all methods, ValueError where runs are missing or doubled.
    """
    if frame.empty:
        return frame, spec
    y, panel = spec.get("y", "test_accuracy"), spec.get("panel")
    require_columns(frame, [y, "label", "seed", "selection_seed"])
    found = []
    for keys, rows in frame.groupby(["label", *([panel] if panel else [])], sort=False):
        if rows.duplicated(["seed", "selection_seed"]).any():
            raise ValueError(f"{keys[0]} has several runs of the same two seeds: it mixes different arms")
        try:
            parts = components(rows.pivot(index="selection_seed", columns="seed", values=y))
        except ValueError as error:
            if spec.get("partial"):
                continue
            raise ValueError(f"{keys[0]}: {error}") from error
        for part, variance in zip(COLOURS, parts, strict=True):
            about = rows.iloc[0].to_dict() | {"part": part, "sd": variance**0.5, "seed": 0, "selection_seed": 0}
            found.append(about)
    if not found:
        raise NothingYet
    more = {"hue": "part", "hue_order": list(COLOURS), "hue_label": "Added by:"}
    of = f"{frame['selection_seed'].nunique()} coresets × {frame['seed'].nunique()} trainings"
    more |= {"ylabel": "Standard deviation (points)", "of": of}
    return pd.DataFrame(found), more | spec | {"y": "sd"}


def paint(ax: Axes, frame: pd.DataFrame, xs: list, hues: list, spec: Spec) -> list:
    """A bar for each part of each method, with its value above."""
    import seaborn as sns

    axes = {"x": spec["x"], "y": spec["y"], "order": xs, "hue": spec["hue"], "hue_order": hues, "palette": COLOURS}
    sns.barplot(frame, errorbar=None, saturation=1, gap=0.1, legend=False, zorder=2, gid="part", ax=ax, **axes)
    for bars in ax.containers:
        values = [f"{sd:.{spec.get('decimals', decimals_of(sd))}f}" for sd in bars.datavalues]
        ax.bar_label(bars, values, fontsize=style.SMALL, padding=2)
    return [dot(style.Look(COLOURS[part], "s"), part) for part in hues]
