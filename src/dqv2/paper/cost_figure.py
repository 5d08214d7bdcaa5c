"""The cost of the methods as a figure: seconds and peak host memory of each stage, and accuracy against all seconds."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from dqv2.paper import layout, style
from dqv2.paper.arms import looks_of
from dqv2.paper.costs import ARM, WHOLE
from dqv2.paper.marks import dot, paint_arms


def draw_costs(
    jobs: pd.DataFrame, runs: pd.DataFrame, titles: Mapping[str, str], note: str, label: str | None
) -> Figure:
    """Draw one row per dataset: seconds per stage, peak host memory per stage, and accuracy (%) against the seconds of
    selection and training.

    jobs: as from ``job_costs``. runs: the experiment's tidy table with ``selection_seconds``, ``train_seconds`` and
    ``test_accuracy``. titles: stage -> its title in figure 1. note, label: as in ``figures``.

    Seconds and memory have logarithmic axes, with a mark per method: the mean over its seeds, for all jobs of the stage
    together. In the last panel each seed is a small mark. Without runs the figure says that none has finished.
    """
    if runs.empty:
        return layout.nothing_yet(label=label, note=note)
    datasets, names = list(runs["dataset"].unique()), list(runs["label"].unique())
    looks, stages = looks_of(names, "label", runs), _stages(jobs)
    together = jobs.groupby([*ARM, "stage"], sort=False, as_index=False).agg({"seconds": "sum", "memory": "max"})
    with style.context():
        figure = style.new_figure(style.FULL, 0.5 + len(datasets) * (0.62 + (0.06 + 0.025 * len(names)) * len(stages)))
        grid = figure.subplots(len(datasets), 3, squeeze=False, gridspec_kw={"width_ratios": (1.15, 1.15, 1)})
        for (seconds, memory, accuracy), dataset in zip(grid, datasets, strict=True):
            mine, here = together[together["dataset"] == dataset], runs[runs["dataset"] == dataset]
            for ax, x in ((seconds, "seconds"), (memory, "memory")):
                _by_stage(ax, mine, stages, x, looks)
                ax.set_yticks(range(len(stages)), [titles.get(stage, stage) for stage in stages])
            memory.tick_params(axis="y", labelleft=False)
            _against_accuracy(accuracy, here, looks)
            if len(datasets) > 1:
                seconds.set_title(str(here["dataset_title"].iloc[0]), loc="left")
        about = ("Seconds a coreset", "Peak host memory (MB)", "Seconds with training")
        for ax, text in zip(grid[-1], about, strict=True):
            ax.set_xlabel(text)
        marks = [dot(look, name) for name, look in looks.items()]
        note += " · marks: means over the seeds · small points on the right: seeds, whiskers: ± 1 standard deviation"
        layout.surround(figure, label=label, note=note, legend=(marks, names, None))
        layout.freeze(figure)
    return figure


def _stages(jobs: pd.DataFrame) -> list[str]:
    """The stages in the order in which they run: those of the selection, their total, then training."""
    selects = jobs[jobs["selects"].astype(bool)].groupby(["dataset", "method"], sort=False)["stage"]
    order = layout.common_order(stages.unique() for _, stages in selects)
    return list(dict.fromkeys([*order, WHOLE, *jobs["stage"]]))


def _by_stage(ax: Axes, jobs: pd.DataFrame, stages: list[str], x: str, looks: dict[str, style.Look]) -> None:
    import seaborn as sns

    marks = {"palette": [look.colour for look in looks.values()], "markers": [look.marker for look in looks.values()]}
    marks |= {"markersize": 3.6, "markeredgecolor": "white", "markeredgewidth": 0.3, "linestyle": "none"}
    dodge = 0.7 * (len(looks) - 1) / len(looks)  # from the first method to the last
    axes = {"x": x, "y": "stage", "order": stages, "hue": "label", "hue_order": list(looks), "orient": "y"}
    sns.pointplot(jobs, errorbar=None, dodge=dodge, legend=False, clip_on=False, gid="stage", ax=ax, **axes, **marks)
    ax.axhspan(stages.index(WHOLE) - 0.5, stages.index(WHOLE) + 0.5, color="#F2F2F2", lw=0, zorder=0)
    ax.set(ylim=(len(stages) - 0.5, -0.5), xlabel="", ylabel="")
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    _log(ax, jobs[x])


def _against_accuracy(ax: Axes, runs: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    total = (runs["selection_seconds"] + runs["train_seconds"]).astype("float64")
    means = total.groupby(runs["label"]).transform("mean")
    paint_arms(ax, runs["test_accuracy"], runs["label"], looks, seeds=total, means=means, linestyle="none")
    ax.set(xlabel="", ylabel="Top-1 accuracy (%)")
    _log(ax, total)


def _log(ax: Axes, values: pd.Series) -> None:
    """A logarithmic x axis with readable numbers, however narrow the range."""
    values = values.astype("float64").dropna()
    if values.empty or values.min() <= 0:
        return
    low, high = values.min() / 1.3, values.max() * 1.3
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.xaxis.set_minor_locator(NullLocator())
    subs = (1.0,) if high / low > 100 else (1.0, 3.0) if high / low > 12 else (1.0, 2.0, 5.0)
    ticks, apart = [], (high / low) ** 0.22  # a fifth of the axis, so that numbers do not touch
    for tick in LogLocator(subs=subs, numticks=30).tick_values(low, high):
        if low <= tick <= high and (not ticks or tick >= ticks[-1] * apart):
            ticks.append(tick)
    ax.set_xticks(ticks, [f"{t:,.0f}" if t >= 1 else f"{t:g}" for t in ticks])
