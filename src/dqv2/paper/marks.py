"""The marks shared by all figures, drawn by seaborn: a point per seed, and the arm's mean with whiskers or a band."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dqv2.paper.style import Look

WHISKERS = {"err_style": "bars", "err_kws": {"elinewidth": 1.0, "capsize": 2.0, "capthick": 1.0, "zorder": 2.4}}
BAND = {"err_style": "band", "err_kws": {"alpha": 0.16, "linewidth": 0, "zorder": 1.5}}


def paint_arms(
    ax: Axes,
    y: pd.Series,
    of: pd.Series,
    looks: dict[Any, Look],
    *,
    seeds: pd.Series,
    means: pd.Series,
    unbroken: pd.Series | None = None,
    **more: Any,
) -> None:
    """Draw each value of ``y`` (one per seed) as a point, and the means with ± 1 standard deviation (ddof 1).

    Args:
        of: the arm of each value, a key of ``looks``.
        seeds: position of each value's point along x; given, not jittered, so that it is reproducible.
        means: position of the mean that a value belongs to; equal numbers form one mean.
        unbroken: a number for each value; a line joins only means with equal numbers. None: all of one ``of``.
        more: further keyword arguments of seaborn's line plot: ``BAND``, or by default ``WHISKERS``.
    """
    import seaborn as sns  # here, as the plan imports this module

    palette = {name: look.colour for name, look in looks.items()}
    markers = {name: look.marker for name, look in looks.items()}
    sizes = {name: 17 if look.marker in "XP*" else 12 for name, look in looks.items()}  # points², of equal ink
    of = of.astype(object)
    drawn = {"y": y.astype("float64"), "hue": of, "style": of, "palette": palette, "markers": markers, "legend": False}
    point = {"linewidth": 0.4, "alpha": 0.85, "zorder": 3.3, "clip_on": False, "gid": "seeds"}
    sns.scatterplot(x=seeds, size=of, sizes=sizes, ax=ax, **drawn, **point)
    mean = {"errorbar": "sd", "dashes": False, "linewidth": 1.5, "markersize": 5.5, "zorder": 3.5, "gid": "mean"}
    for _, rows in y.groupby(pd.Series(0, y.index) if unbroken is None else unbroken):
        part = {name: values.loc[rows.index] for name, values in drawn.items() if isinstance(values, pd.Series)}
        sns.lineplot(x=means.loc[rows.index], ax=ax, **drawn | part | mean | WHISKERS | more)


def dot(look: Look, label: str, ls: str = "none") -> Line2D:
    """A colour and marker for the legend."""
    return Line2D([], [], color=look.colour, marker=look.marker, ms=5.5, lw=1.5, ls=ls, label=label)
