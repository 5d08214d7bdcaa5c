"""The paper's figures, each of a kind of ``dqv2.paper.kinds``, from a tidy table (see ``collect``) and a spec.

A spec has the keys of ``dqv2.config.experiments.Figure`` that were set, and beside them:

    label       a badge at the top right ("demo")
    hue_order   values of ``hue`` in the order wanted (else as they appear; numbers ascending)
    percent     columns whose shares print as %
    reported    the paper's values: [{column: value, ..., mean, sd or variance}], hollow, beside the arm whose rows hold
                these values in these columns
    partial     runs may be missing: a reference without one is left out, a figure without one says so
"""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from dqv2.declared import load
from dqv2.paper import layout, style
from dqv2.paper.arms import NothingYet, Spec, looks_of, match, ordered, printed, reported, select
from dqv2.paper.kinds import FIGURES
from dqv2.paper.reported import ABOUT
from dqv2.paper.stats import require_one_row_per_seed, summarise

DASHES = ((0, (4, 2)), (0, (1, 1.3)), (0, (5, 1.5, 1, 1.5)))
YLABEL = {"test_accuracy": "Top-1 accuracy (%)", "validation_accuracy": "Validation accuracy (%)"}
YLABEL |= {"coreset_size": "Images in the coreset"}
XLABEL = {"tobias_size": "Tobias size", "tobias": "Share of Tobias images", "keep_ratio": "Keep ratio"}
HALO = [withStroke(linewidth=2.2, foreground="white")]  # a white rim: no grid line strikes a text through
HUELABEL = {"originals": "Original images:", "tobias": "Tobias images:"}


def draw(frame: pd.DataFrame, spec: Spec, note: str) -> Figure:
    """Draw ``frame`` as ``spec["kind"]`` says, with ``note`` at the foot.

    Raises:
        ValueError: the kind is unknown, a column or an arm is missing, or a mean would mix different arms.
    """
    kind = spec.get("kind")
    if kind not in FIGURES:
        raise ValueError(f"no figure of kind {kind!r}; there are {', '.join(sorted(FIGURES))}")
    try:
        arranged = arrange(frame, spec)
    except NothingYet:
        return layout.nothing_yet(title=spec.get("title"), label=spec.get("label"), note=note)
    return _paint(arranged, note)


def methods(frame: pd.DataFrame, spec: Spec) -> tuple[pd.DataFrame, Spec]:
    """One column per method (``x``, else the printed ``label``): every seed, mean ± sd and its value."""
    return frame, {"x": "label", **spec}


def line(frame: pd.DataFrame, spec: Spec) -> tuple[pd.DataFrame, Spec]:
    """Mean ± sd and every seed over an ordered axis (``x``, else the Tobias size), one line per ``hue``."""
    return frame, {"x": "tobias_size", **spec}


def mixing(frame: pd.DataFrame, spec: Spec) -> tuple[pd.DataFrame, Spec]:
    """Accuracy by the share of Tobias images (``x``), a line per share of originals (``hue``), 0 to 1."""
    share = {"x": "tobias", "hue": "originals", "percent": ["tobias", "originals"]}
    frame = frame.assign(**{name: frame[name].astype("float64") for name in ("tobias", "originals") if name in frame})
    hues = sorted(frame["originals"].dropna().unique(), reverse=True) if "originals" in frame else []
    return frame, {**share, "hue_order": hues, **spec}


# Rows to draw, [(label, rows of a reference)], panels, values along x, hues, the spec with what was left open filled in
Arranged = tuple[pd.DataFrame, list[tuple[str, pd.DataFrame]], list[Any], list[Any], list[Any], Spec]


def arrange(frame: pd.DataFrame, spec: Spec) -> Arranged:
    """Check a spec against a table and say what goes where; draws nothing.

    Raises:
        NothingYet: nothing is left to draw, and the spec has ``partial``.
        ValueError: a column, value or reference that the table has not, or a mean that would mix different arms.
    """
    frame, spec = load(FIGURES[spec["kind"]].arrange)(frame, spec)
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
    return frame, references, panels, xs, hues, spec


def _paint(arranged: Arranged, note: str) -> Figure:
    frame, references, panels, xs, hues, spec = arranged
    kind = FIGURES[spec["kind"]]
    crowded = kind.columns and len(panels) * len(xs) * len(hues) > 4
    width = spec.get("width", "full" if len(panels) > 1 or crowded else "column")
    width = float({"column": style.COLUMN, "full": style.FULL}.get(width, width))
    room = width / len(panels) / len(xs) / len(hues)  # inches for a column of points
    spec["size"] = float(np.clip(32 * room, 8, 22))
    with style.context():
        figure = style.new_figure(width, float(spec.get("height", 2.5)))
        handles, grid = [], figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, panel in zip(grid, panels, strict=True):
            here = {spec["panel"]: panel} if spec["panel"] else {}
            handles += load(kind.paint)(ax, frame[match(frame, here)], xs, hues, spec)
            handles += _references(ax, [(label, rows[match(rows, here)]) for label, rows in references], spec["y"])
            if panel is not None:
                ax.set_title(printed(panel, spec))
            ax.set_xlim(-0.6, len(xs) - 0.4)
            ax.set_xticks(range(len(xs)), [printed(value, spec, spec["x"]) for value in xs])
            ax.set_xlabel(spec.get("xlabel", XLABEL.get(spec["x"], "")))
        grid[0].set_ylabel(spec.get("ylabel", YLABEL.get(spec["y"], spec["y"])))
        unique = {handle.get_label(): handle for handle in handles}
        title = spec.get("hue_label", HUELABEL.get(spec["hue"]))
        legend = (list(unique.values()), list(unique), title) if unique else None
        layout.surround(figure, title=spec.get("title"), label=spec.get("label"), note=note, legend=legend)
        layout.fit_ticks(figure, grid)
        for ax in grid:
            layout.fit_y(figure, ax, spec.get("ylim"), accuracy=spec["y"].endswith("accuracy"))
        layout.freeze(figure)
    return figure


def _seeds(ax: Axes, at: float, rows: pd.DataFrame, y: str, look: style.Look, half: float, size: float) -> None:
    """Each seed a point, apart from the others by its place in order, the same each time."""
    values = rows.sort_values("seed")[y].astype("float64")
    apart = np.linspace(-half, half, len(values)) * (len(values) > 1)
    size *= 1.6 if look.marker in "XP*" else 1
    looks = {"marker": look.marker, "color": look.colour, "alpha": 0.85, "edgecolors": "white", "linewidths": 0.4}
    ax.scatter(at + apart, values, s=size, zorder=3.3, gid="seeds", clip_on=False, **looks)


def paint_columns(ax: Axes, frame: pd.DataFrame, xs: list, hues: list, spec: Spec) -> list:
    """A column of seeds for each hue of each x, its mean ± sd, and the value above it."""
    handles, hue, y = [], spec["hue"], spec["y"]
    looks = looks_of(hues, hue, frame) if hue else looks_of(xs, spec["x"], frame)
    step = 0.84 / len(hues)
    unequal = frame.groupby([spec["x"], *([hue] if hue else [])], observed=True).size().nunique() > 1
    for (i, value), (j, shade) in itertools.product(enumerate(xs), enumerate(hues)):
        rows = frame[match(frame, {spec["x"]: value} | ({hue: shade} if hue else {}))]
        if rows.empty:
            continue
        at, look = i + (j - (len(hues) - 1) / 2) * step, looks[shade if hue else value]
        got = summarise(rows, [], y).fillna({"sd": 0.0}).iloc[0]
        right = at + 0.2 * step  # mean and spread stand beside the seeds, so that neither hides the other
        _seeds(ax, at - 0.14 * step, rows, y, look, 0.14 * step, spec["size"])
        ax.errorbar(right, got["mean"], got["sd"], color=look.colour, lw=1.1, capsize=2, capthick=1.1, zorder=2.5)
        ends = right - 0.12 * step, right + 0.12 * step
        ax.hlines(got["mean"], *ends, color=style.INK, lw=1.8, zorder=4, gid="mean")
        if spec.get("values", True):
            text = f"{got['mean']:.2f}" + (f" ± {got['sd']:.2f}" if got["n"] > 1 else "")
            text += f"\nn = {got['n']:.0f}" if unequal else ""
            top = max(got["max"], got["mean"] + got["sd"])
            note = ax.annotate(text, (at, top), (0, 4), textcoords="offset points", ha="center", va="bottom")
            note.set(fontsize=style.SMALL, gid="value", linespacing=1.0, path_effects=HALO)
        handles += _reported(ax, spec, rows, at + 0.4 * step)
    return handles + [_dot(looks[shade], printed(shade, spec, hue)) for shade in hues if hue]


def paint_lines(ax: Axes, frame: pd.DataFrame, xs: list, hues: list, spec: Spec) -> list:
    """The means along x, a line for each hue, with ± sd and every seed."""
    handles, hue, y = [], spec["hue"], spec["y"]
    looks = looks_of(hues, hue, frame) if hue else {None: style.KNOWN["dq_v2"]}
    step = min(0.24, 0.72 / len(hues))
    for j, (shade, look) in enumerate(looks.items()):
        rows = frame[match(frame, {hue: shade})] if hue else frame
        if rows.empty:
            continue
        got = summarise(rows, spec["x"], y).set_index(spec["x"]).reindex(xs)
        at = np.arange(len(xs)) + (j - (len(hues) - 1) / 2) * step
        mean, sd = got["mean"].to_numpy(float), got["sd"].fillna(0).to_numpy(float)
        if hue:
            ax.errorbar(at, mean, sd, fmt="none", ecolor=look.colour, lw=0.9, capsize=2.2, capthick=0.9, zorder=2.4)
            handles.append(_dot(look, printed(shade, spec, hue), ls="-"))
        else:
            ax.fill_between(at, mean - sd, mean + sd, color=look.colour, alpha=0.16, lw=0, zorder=1.5)
        points = {"marker": look.marker, "ms": 5.5, "mec": "white", "mew": 0.7}
        ax.plot(at, mean, color=look.colour, lw=1.5, zorder=3.2, gid="mean", **points)
        for x, position in zip(xs, at, strict=True):
            arm = rows[match(rows, {spec["x"]: x})]
            _seeds(ax, position + 0.48 * step, arm, y, look, 0.14 * step, 9)
            handles += _reported(ax, spec, arm, position - 0.4 * step)
    return handles


def _references(ax: Axes, references: list, y: str) -> list:
    handles = []
    for i, (label, rows) in enumerate(references):
        if rows.empty:
            continue
        got = summarise(rows, [], y).iloc[0]
        if got["n"] > 1:
            low, high = got["mean"] - got["sd"], got["mean"] + got["sd"]
            ax.axhspan(low, high, color=style.PALE, alpha=0.55, lw=0, zorder=0.8)
        look = {"color": style.GREY, "lw": 1.1, "ls": DASHES[i % len(DASHES)], "zorder": 1.6}
        handles.append(ax.axhline(got["mean"], label=label, gid="reference", **look))
    return handles


def _reported(ax: Axes, spec: Spec, rows: pd.DataFrame, at: float) -> list:
    """Draw what the paper reports for the arm of these rows, hollow."""
    handles = []
    for entry in reported(rows, spec) if len(rows) else ():
        if entry.get("mean") is None:
            continue
        look = {"color": style.GREY, "mfc": "white", "mew": 0.9, "ms": 4.5, "marker": "D", "ls": "none"}
        look |= {"gid": "reported", "label": "reported in the paper", "zorder": 3.5, "clip_on": False}
        handles += ax.plot(at, entry["mean"], **look)
        if entry.get("sd"):
            ax.errorbar(at, entry["mean"], entry["sd"], fmt="none", ecolor=style.GREY, lw=0.8, capsize=2, zorder=2)
    return handles


def _require_one_arm(frame: pd.DataFrame, by: list[str], spec: Spec) -> None:
    """Refuse a reported value that several arms of the figure would show."""
    for entry in spec.get("reported") or []:
        if entry.get("mean") is None or not set(entry) - set(ABOUT) <= set(frame.columns):
            continue
        rows = frame[match(frame, {name: value for name, value in entry.items() if name not in ABOUT})]
        if len(rows[by].drop_duplicates()) > 1:
            raise ValueError(
                f"the reported value {entry} fits several arms of this figure: it must name {' and '.join(by)}"
            )


def _dot(look: style.Look, label: str, ls: str = "none") -> Line2D:
    return Line2D([], [], color=look.colour, marker=look.marker, ms=5.5, lw=1.5, ls=ls, label=label)
