"""The paper's figures, each of a kind of ``dqv2.paper.kinds``, from a tidy table (see ``collect``) and a spec.

A spec has the keys of ``dqv2.config.experiments.Figure`` that were set, and in addition:

    label       a badge at the top right ("demo")
    hue_order   values of ``hue`` in the desired order (else as they appear; numbers ascending)
    percent     columns whose shares are printed as %
    reported    the paper's values: [{column: value, ..., mean, sd or variance}], drawn hollow next to the arm whose
                rows have these values in these columns
    of          what the spread is over ("n = 5 seeds"), else the number of seeds
    partial     runs may be missing: a reference without runs is left out, a figure without runs says so
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dqv2.declared import load
from dqv2.paper import layout, style
from dqv2.paper.arms import NothingYet, Spec, looks_of, match, ordered, own, printed, reported, require_apart, select
from dqv2.paper.kinds import FIGURES, FigureKind
from dqv2.paper.marks import BAND, WHISKERS, dot, paint_arms
from dqv2.paper.measures import measure
from dqv2.paper.reported import arm_of
from dqv2.paper.stats import plus_minus, require_one_row_per_seed, span, summarise

HEIGHT, LEAST = 2.6, 1.3  # of a figure whose spec has none, and of its axes, for which it grows; inches
DASHES = ((0, (4, 2)), (0, (1, 1.3)), (0, (5, 1.5, 1, 1.5)))
XLABEL = {"tobias_size": "Tobias size", "tobias": "Share of Tobias images", "keep_ratio": "Keep ratio"}
HALO = [withStroke(linewidth=2.2, foreground="white")]  # a white rim: no grid line strikes a text through
HUELABEL = {"originals": "Original images:", "tobias": "Tobias images:"}


def draw(frame: pd.DataFrame, spec: Spec, note: str) -> Figure:
    """Draw the tidy table ``frame`` as a figure of ``spec["kind"]``, with ``note`` at the bottom.

    Raises ValueError where a column or an arm is missing, or a mean would mix different arms.
    """
    try:
        arranged = arrange(frame, spec)
    except NothingYet:
        return layout.nothing_yet(title=spec.get("title"), label=spec.get("label"), note=note)
    return _paint(arranged, note)


def mixing(frame: pd.DataFrame, spec: Spec) -> tuple[pd.DataFrame, Spec]:
    """Accuracy by the share of Tobias images (``x``), a line per share of originals (``hue``), 0 to 1."""
    share = {"hue": "originals", "percent": ["tobias", "originals"]}
    frame = frame.assign(**{name: frame[name].astype("float64") for name in ("tobias", "originals") if name in frame})
    hues = sorted(frame["originals"].dropna().unique(), reverse=True) if "originals" in frame else []
    return frame, {**share, "hue_order": hues, **spec}


# Rows to draw, [(label, rows of a reference)], panels, values along x, hues, the spec with what was left open filled in
Arranged = tuple[pd.DataFrame, list[tuple[str, pd.DataFrame]], list[Any], list[Any], list[Any], Spec]


def arrange(frame: pd.DataFrame, spec: Spec) -> Arranged:
    """Check a spec against a table and arrange its rows, without drawing.

    Raises:
        NothingYet: nothing is left to draw, and the spec has ``partial``.
        ValueError: the table lacks a column, value or reference, or a mean would mix different arms.
    """
    kind = FIGURES[spec["kind"]]
    spec = {"x": kind.x, **spec}
    if kind.arrange:
        arranged = load(kind.arrange)(frame, spec)
        if not isinstance(arranged, tuple) or len(arranged) != 2:
            got = type(arranged).__name__
            raise ValueError(f"figure kind {kind.name} ({kind.arrange}) must return (frame, spec); got {got}")
        frame, spec = arranged
    spec = {"y": "test_accuracy", "hue": None, **spec}
    if "panel" not in spec:
        several = "dataset" in frame and frame["dataset"].nunique() > 1
        spec["panel"] = "dataset" if several and "dataset" not in (spec["x"], spec["hue"]) else None
    if spec["hue"] == spec["x"]:
        spec["hue"] = None
    frame, references = select(frame, spec)
    axes = list(dict.fromkeys(name for name in (spec["panel"], spec["hue"], spec["x"]) if name))
    panel = [spec["panel"]] if spec["panel"] else []
    for rows, by in [(frame, axes), *((rows, panel) for _, rows in references)]:
        require_one_row_per_seed(rows, by)
        summarise(rows, [], spec["y"])  # which refuses what is no number
    _require_one_arm(frame, axes, spec)
    panels = ordered(frame, spec["panel"], None) if spec["panel"] else [None]
    xs = ordered(frame, spec["x"], spec.get("order"))
    hues = ordered(frame, spec["hue"], spec.get("hue_order")) if spec["hue"] else [None]
    hues = [shade for shade in hues if shade is None or shade in set(frame[spec["hue"]])]
    for name in axes:
        require_apart(frame, name, spec)
    whole = len(frame[axes].drop_duplicates()) == len(panels) * len(xs) > len(panels)  # a band of one value is no band
    spec["spread"] = "band" if whole and not spec["hue"] else "whiskers"
    return frame, references, panels, xs, hues, spec


def _paint(arranged: Arranged, note: str, height: float = HEIGHT) -> Figure:
    frame, references, panels, xs, hues, spec = arranged
    kind = FIGURES[spec["kind"]]
    crowded = kind.columns and len(panels) * len(xs) * len(hues) > 4
    width = spec.get("width", "full" if len(panels) > 1 or crowded else "column")
    width = float({"column": style.COLUMN, "full": style.FULL}.get(width, width))
    with style.context():
        figure = style.new_figure(width, float(spec.get("height", height)))
        handles, grid = [], figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, panel in zip(grid, panels, strict=True):
            here = {spec["panel"]: panel} if spec["panel"] else {}
            handles += _painted(kind, ax, frame[match(frame, here)], xs, hues, spec)
            handles += _references(ax, [(label, rows[match(rows, here)]) for label, rows in references], spec["y"])
            if panel is not None:
                ax.set_title(printed(panel, spec))
            ax.set_xlim(-0.6, len(xs) - 0.4)
            ax.set_xticks(range(len(xs)), [printed(value, spec, spec["x"]) for value in xs])
            ax.set(xlabel=spec.get("xlabel", XLABEL.get(spec["x"], "")), ylabel="")
        grid[0].set_ylabel(spec.get("ylabel", measure(spec["y"])))
        unique = {handle.get_label(): handle for handle in handles}
        title = spec.get("hue_label", HUELABEL.get(spec["hue"]))
        legend = (list(unique.values()), list(unique), title) if unique else None
        said = _explained(note, frame, references, spec)
        room = layout.surround(figure, title=spec.get("title"), label=spec.get("label"), note=said, legend=legend)
        free = height == HEIGHT and "height" not in spec
        if room < LEAST and free:  # with so little the layout engine gives up, and the axes lie under the legend
            return _paint(arranged, note, height + HEIGHT - room)
        if room <= 0:
            least = figure.get_size_inches()[1] - room + LEAST
            raise ValueError(f"height: legend and note leave no room for the axes; give {least:.1f} or leave it out")
        layout.fit_ticks(figure, grid)
        for ax in grid:
            layout.fit_y(figure, ax, spec.get("ylim"), accuracy=spec["y"].endswith("accuracy"))
            layout.hide_outside(ax)
        layout.freeze(figure)
        lacks = LEAST - min(ax.get_window_extent().height for ax in grid) / figure.dpi
    # Legends of many entries and slanted names leave the axes too little of the usual height
    return _paint(arranged, note, height + lacks) if lacks > 0.01 and free else figure


def _painted(kind: FigureKind, ax: Axes, *given: Any) -> list:
    """Have a kind paint a panel; returns the legend's handles."""
    handles = load(kind.paint)(ax, *given)
    if not isinstance(handles, list | tuple):
        what = f"a list of the legend's handles, [] for none; got {type(handles).__name__}"
        raise ValueError(f"figure kind {kind.name} ({kind.paint}) must return {what}")
    return list(handles)


def _explained(note: str, frame: pd.DataFrame, references: list, spec: Spec) -> str:
    """The note, with an explanation of points, whiskers, bars and bands, and the number of seeds."""
    by = list({spec[name] for name in ("panel", "hue", "x")} - {None})
    seeds = frame.groupby(by, observed=True).size()
    of = spec.get("of", f"n = {span(seeds)} seeds")
    said = FIGURES[spec["kind"]].marks.format(of=of, spread=spec["spread"])
    if "of" not in spec and seeds.max() == 1:
        said = "n = 1 seed: every mark is one run"
    if any(len(rows) > 1 for _, rows in references):
        said += " · grey band: ± 1 standard deviation of the reference"
    if hidden := _outside(frame, references, spec):
        said += f" · outside the y axis: {', '.join(hidden)}"
    return " · ".join([*(part for part in note.split(" · ") if part and not part.startswith("n = ")), said])


def _outside(frame: pd.DataFrame, references: list, spec: Spec) -> list[str]:
    """What ``ylim`` leaves out: "3 of 15 values", and each reference whose mean it does not reach."""
    low, high = spec.get("ylim", (-np.inf, np.inf))
    count = int((~frame[spec["y"]].between(low, high)).sum())
    found = [f"{count} of {len(frame)} values"] if count else []
    return found + [label for label, rows in references if len(rows) and not low <= rows[spec["y"]].mean() <= high]


def _places(frame: pd.DataFrame, xs: list, hues: list, spec: Spec, step: float) -> tuple[pd.Series, pd.Series]:
    """For each row the centre of its arm's column along x, and its seed's position in it, from -1 to 1, in order, so
    that equal values do not hide each other."""
    at = frame[spec["x"]].map(xs.index).astype("float64")
    if spec["hue"]:
        at += (frame[spec["hue"]].map(hues.index).astype("float64") - (len(hues) - 1) / 2) * step
    seeds = frame["seed"].groupby(at)
    last = seeds.transform("size") - 1
    return at, (2 * seeds.rank("first") - 2 - last) / last.clip(lower=1)


def _stretches(frame: pd.DataFrame, xs: list, of: pd.Series, x: str) -> pd.Series:
    """For each row the segment of its line: lines are interrupted at values of x where they have no value."""
    at = frame[x].map(xs.index).astype("int64")
    return at - at.groupby(of, sort=False).rank("dense").astype("int64")


def paint_columns(ax: Axes, frame: pd.DataFrame, xs: list, hues: list, spec: Spec) -> list:
    """Paint a column of seeds for each hue and x, with mean ± sd next to it and the value above; returns the legend's
    handles."""
    y, step, by = spec["y"], 0.84 / len(hues), spec["hue"] or spec["x"]
    looks = looks_of(hues if spec["hue"] else xs, by, frame)
    at, apart = _places(frame, xs, hues, spec, step)
    dash = {"markers": dict.fromkeys(looks, "_"), "markeredgecolor": style.INK, "markeredgewidth": 1.8}
    beside = {"seeds": at + 0.14 * (apart - 1) * step, "means": at + 0.22 * step}
    paint_arms(ax, frame[y], frame[by], looks, **beside, **dash, linestyle="none")
    if spec.get("values", True):
        _values(ax, summarise(frame.assign(at=at), "at", y), spec.get("decimals"))
    legend = [dot(looks[shade], printed(shade, spec, by)) for shade in hues if spec["hue"]]
    return legend + _reported(ax, spec, frame, at + 0.4 * step)


def paint_lines(ax: Axes, frame: pd.DataFrame, xs: list, hues: list, spec: Spec) -> list:
    """Paint a line of means ± sd along x for each hue, and a column of seeds next to each mean; returns the legend's
    handles."""
    y, step, hue = spec["y"], min(0.1, 0.34 / len(hues)), spec["hue"]
    looks = looks_of(hues, hue, frame) if hue else {"": style.KNOWN["dq_v2"]}
    of = frame[hue] if hue else pd.Series("", frame.index)
    # Only the marks of single runs are moved aside: a moved line would be at wrong values of x
    at, _ = _places(frame, xs, hues, spec, 0.0)
    _, apart = beside = _places(frame, xs, hues, spec, step)
    aside = beside[0] - at + 0.5 * (len(hues) - 1) * step
    beside = {"seeds": at + 0.12 + aside + 0.35 * step * apart, "means": at}
    beside["unbroken"] = _stretches(frame, xs, of, spec["x"])
    paint_arms(ax, frame[y], of, looks, **beside, **(BAND if spec["spread"] == "band" else WHISKERS))
    legend = [dot(looks[shade], printed(shade, spec, hue), ls="-") for shade in hues if hue]
    return legend + _reported(ax, spec, frame, at - 0.12 - aside)


def _values(ax: Axes, arms: pd.DataFrame, decimals: int | None) -> None:
    """Print mean ± sd above each arm's highest mark, and n where it differs between arms."""
    look = {"fontsize": style.SMALL, "gid": "value", "linespacing": 1.0, "path_effects": HALO}
    look |= {"textcoords": "offset points", "ha": "center", "va": "bottom"}
    for arm in arms.itertuples():
        text = plus_minus(arm.mean, arm.sd, decimals) + (f"\nn = {arm.n}" if arms["n"].nunique() > 1 else "")
        ax.annotate(text, (arm.at, np.nanmax([arm.max, arm.mean + arm.sd])), (0, 4), **look)


def _references(ax: Axes, references: list, y: str) -> list:
    handles = []
    for i, (label, rows) in enumerate(references):
        if len(rows):
            got = summarise(rows, [], y).fillna(0).iloc[0]
            ax.axhspan(got["mean"] - got["sd"], got["mean"] + got["sd"], color=style.PALE, alpha=0.55, lw=0, zorder=0.8)
            look = {"color": style.GREY, "lw": 1.1, "ls": DASHES[i % len(DASHES)], "zorder": 1.6}
            handles.append(ax.axhline(got["mean"], label=label, gid="reference", **look))
    return handles


def _reported(ax: Axes, spec: Spec, rows: pd.DataFrame, at: pd.Series) -> list:
    """Draw the paper's values for each arm of these rows, hollow, at ``at`` along x."""
    handles = []
    look = {"fmt": "D", "color": style.GREY, "mfc": "white", "mew": 0.9, "ms": 4.5, "elinewidth": 0.8, "capsize": 2}
    for x, arm in rows.groupby(at):
        for entry in reported(arm, spec):
            if entry.get("mean") is not None:
                mark = ax.errorbar(x, entry["mean"], entry.get("sd"), zorder=3.5, gid="reported", **look)[0]
                mark.set(label="reported in the paper" + (", ± 1 standard deviation" if entry.get("sd") else ""))
                handles.append(mark)
    return handles


def _require_one_arm(frame: pd.DataFrame, by: list[str], spec: Spec) -> None:
    """Raise ValueError for a reported value that matches several arms of the figure."""
    for entry in spec.get("reported") or []:
        arm = arm_of(entry)
        if entry.get("mean") is None or not arm.keys() <= set(frame.columns):
            continue
        rows = own(frame[match(frame, arm)])
        if len(rows[by].drop_duplicates()) > 1:
            raise ValueError(
                f"the reported value {entry} fits several arms of this figure: it must name {' and '.join(by)}"
            )
