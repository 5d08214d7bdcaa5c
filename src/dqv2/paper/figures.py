"""The paper's figures, each of a kind of ``dqv2.paper.kinds``, from a tidy table (see ``collect``) and a spec.

Keys of ``spec`` that all kinds know:

    x, y, hue, panel    columns; y is ``test_accuracy``; panel is ``dataset`` where the table has several
    where               {column: value or list of values}: rows to draw
    order, hue_order, panel_order    values in the order wanted (else as they appear; numbers ascending)
    names               {value: printed name}
    title, label        above the axes, left; a badge at the top right ("demo")
    xlabel, ylabel, hue_label
    width               "column" (3.4 in), "full" (7 in) or inches; height in inches
    ylim                [low, high], else from the data
    colours, methods    {method: colour}; all of the config's methods, so that new ones agree across figures
    reported            the paper's values: [{column: value, ..., mean, sd or variance}], hollow, beside the arm whose
    rows hold
                        these values in these columns
    reference           horizontal lines: [{label, column: value, ...}], mean ± sd of the rows that match
    values              (methods) print "mean ± sd" above each column, true unless set
    partial             runs may be missing: a reference without one is left out, a figure without one says so
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dqv2.declared import load
from dqv2.paper import layout, style
from dqv2.paper.arms import NUMBERS, NothingYet, Spec, looks_of, match, ordered, printed, reported, select
from dqv2.paper.kinds import FIGURES
from dqv2.paper.stats import require_one_row_per_seed, summarise

DASHES = ((0, (4, 2)), (0, (1, 1.3)), (0, (5, 1.5, 1, 1.5)))
YLABEL = {"test_accuracy": "Top-1 accuracy (%)", "validation_accuracy": "Validation accuracy (%)"}
YLABEL |= {"coreset_size": "Images in the coreset"}
XLABEL = {"tobias_size": "Tobias size", "tobias": "Share of Tobias images", "keep_ratio": "Keep ratio"}
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


class Arranged(NamedTuple):
    """What is drawn where: the rows and the references, and the values along each axis."""

    frame: pd.DataFrame
    references: list[tuple[str, pd.DataFrame]]
    panels: list[Any]
    xs: list[Any]
    hues: list[Any]
    spec: Spec


def arrange(frame: pd.DataFrame, spec: Spec) -> Arranged:
    """Check a spec against a table and say what goes where; draws nothing.

    Raises:
        NothingYet: nothing is left to draw, and the spec has ``partial``.
        ValueError: a column, value or reference that the table has not, or a mean that would mix different arms.
    """
    frame, spec = load(FIGURES[spec["kind"]].arrange)(frame, spec)
    if "panel" not in spec and "dataset" in frame and frame["dataset"].nunique() > 1 and spec.get("hue") != "dataset":
        spec = {**spec, "panel": None if spec["x"] == "dataset" else "dataset"}
    spec = {"y": "test_accuracy", "hue": None, "panel": None, **spec}
    frame, references = select(frame, spec)
    axes_names = list(dict.fromkeys(name for name in (spec["panel"], spec["hue"], spec["x"]) if name))
    for rows, by in [
        (frame, axes_names),
        *((rows, [n for n in [spec["panel"]] if n]) for _, rows in references),
    ]:
        require_one_row_per_seed(rows, by)
    _require_one_arm(frame, axes_names, spec)
    panels = ordered(frame, spec["panel"], spec.get("panel_order")) if spec["panel"] else [None]
    xs = ordered(frame, spec["x"], spec.get("order"))
    hues = ordered(frame, spec["hue"], spec.get("hue_order")) if spec["hue"] else [None]
    for rows in (frame, *(rows for _, rows in references)):
        summarise(rows, [], spec["y"])  # which refuses what is no number
    return Arranged(frame, references, panels, xs, hues, spec)


def _paint(arranged: Arranged, note: str) -> Figure:
    frame, references, panels, xs, hues, spec = arranged
    kind = FIGURES[spec["kind"]]
    paint = load(kind.paint)
    crowded = kind.columns and len(panels) * len(xs) * len(hues) > 4
    width = {"column": style.COLUMN, "full": style.FULL}.get(
        size := spec.get("width", "full" if len(panels) > 1 or crowded else "column"),
        size,
    )
    room = float(width) / len(panels) / len(xs) / len(hues)  # inches for a column of points
    spec["size"] = float(np.clip(32 * room, 8, 22))
    with style.context():
        figure = style.new_figure(float(width), float(spec.get("height", 2.5)))
        handles, grid = [], figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, panel in zip(grid, panels, strict=True):
            here = {spec["panel"]: panel} if spec["panel"] else {}
            rows = frame[match(frame, here)]
            inside = [(label, some[match(some, here)]) for label, some in references]
            handles += paint(ax, rows, inside, xs, hues, spec)
            if panel is not None:
                ax.set_title(printed(panel, spec))
            ax.set_xlim(-0.6, len(xs) - 0.4)
            ax.set_xticks(range(len(xs)), [printed(value, spec, spec["x"]) for value in xs])
            ax.set_xlabel(spec.get("xlabel", XLABEL.get(spec["x"], "")))
        grid[0].set_ylabel(spec.get("ylabel", YLABEL.get(spec["y"], spec["y"])))
        unique = {handle.get_label(): handle for handle in handles}
        title = spec.get("hue_label", HUELABEL.get(spec["hue"] or "")) if unique else None
        legend = (list(unique.values()), list(unique), title) if unique else None
        layout.surround(figure, title=spec.get("title"), label=spec.get("label"), note=note, legend=legend)
        layout.fit_ticks(figure, grid)
        for ax in grid:
            layout.fit_y(figure, ax, spec.get("ylim"), accuracy=spec["y"].endswith("accuracy"))
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # what was measured stays where it is
    return figure


def _spread(count: int, half: float) -> np.ndarray:
    """Offsets that keep ``count`` seeds apart, the same each time."""
    return np.linspace(-half, half, count) if count > 1 else np.zeros(count)


def _seeds(ax: Axes, at: float, values: pd.DataFrame, spec: Spec, look: style.Look, half: float, size: float) -> None:
    values = values.sort_values("seed")[spec["y"]].astype("float64")
    ax.scatter(
        at + _spread(len(values), half), values, s=size * (1.6 if look.marker in "XP*" else 1),
        marker=look.marker, color=look.colour, alpha=0.85,
        edgecolors="white", linewidths=0.4, zorder=3.3, gid="seeds", clip_on=False,
    )  # fmt: skip


def paint_columns(ax: Axes, frame: pd.DataFrame, references: list, xs: list, hues: list, spec: Spec) -> list:
    """A column of seeds for each hue of each x, its mean ± sd, and the value above it."""
    handles = []
    by_hue = spec["hue"] and spec["hue"] != spec["x"]
    hues = hues if by_hue else [None]
    names, column = (hues, spec["hue"]) if by_hue else (xs, spec["x"])
    looks = looks_of(names, column, frame, spec)
    step = 0.84 / len(hues)
    unequal = frame.groupby([spec["x"], *([spec["hue"]] if by_hue else [])], observed=True).size().nunique() > 1
    for i, value in enumerate(xs):
        for j, hue in enumerate(hues):
            rows = frame[match(frame, {spec["x"]: value} | ({spec["hue"]: hue} if by_hue else {}))]
            if rows.empty:
                continue
            at, look = i + (j - (len(hues) - 1) / 2) * step, looks[hue if by_hue else value]
            got = summarise(rows, [], spec["y"]).iloc[0]
            sd = 0.0 if np.isnan(got["sd"]) else got["sd"]
            right = at + 0.2 * step  # mean and spread stand beside the seeds, so that neither hides the other
            ax.errorbar(right, got["mean"], sd, color=look.colour, lw=1.1, capsize=2, capthick=1.1, zorder=2.5)
            ax.hlines(
                got["mean"],
                right - 0.12 * step,
                right + 0.12 * step,
                color=style.INK,
                lw=1.8,
                zorder=4,
                gid="mean",
            )
            _seeds(ax, at - 0.14 * step, rows, spec, look, 0.14 * step, spec["size"])
            top = max(got["max"], got["mean"] + sd)
            if spec.get("values", True):
                text = f"{got['mean']:.2f}" + (f" ± {got['sd']:.2f}" if got["n"] > 1 else "")
                text += f"\nn = {got['n']:.0f}" if unequal else ""
                note = ax.annotate(text, (at, top), (0, 4), textcoords="offset points", ha="center", va="bottom")
                note.set(fontsize=style.SMALL, gid="value", linespacing=1.0, path_effects=layout.halo())
            handles += _reported(ax, spec, rows, at + 0.4 * step)
    if by_hue:
        handles += [_dot(look, printed(hue, spec, spec["hue"])) for hue, look in looks.items()]
    return handles + _references(ax, references, spec)


def paint_lines(ax: Axes, frame: pd.DataFrame, references: list, xs: list, hues: list, spec: Spec) -> list:
    """The means along x, a line for each hue, with ± sd and every seed."""
    handles = []
    looks = looks_of(hues, spec["hue"], frame, spec) if spec["hue"] else {None: style.looks(["DQ_V2"])["DQ_V2"]}
    step = min(0.24, 0.72 / len(hues))
    for j, hue in enumerate(hues):
        rows = frame[match(frame, {spec["hue"]: hue})] if spec["hue"] else frame
        if rows.empty:
            continue
        look = looks[hue]
        got = summarise(rows, spec["x"], spec["y"]).set_index(spec["x"]).reindex(xs)
        at = np.arange(len(xs)) + (j - (len(hues) - 1) / 2) * step
        mean, sd = got["mean"].to_numpy(float), got["sd"].fillna(0).to_numpy(float)
        if spec["hue"]:
            ax.errorbar(at, mean, sd, fmt="none", ecolor=look.colour, lw=0.9, capsize=2.2, capthick=0.9, zorder=2.4)
        else:
            ax.fill_between(at, mean - sd, mean + sd, color=look.colour, alpha=0.16, lw=0, zorder=1.5)
        look_of_mean = {"color": look.colour, "marker": look.marker, "ms": 5.5, "mec": "white", "mew": 0.7}
        ax.plot(at, mean, lw=1.5, zorder=3.2, gid="mean", **look_of_mean)
        for x, position in zip(xs, at, strict=True):
            arm = rows[match(rows, {spec["x"]: x})]
            _seeds(ax, position + 0.48 * step, arm, spec, look, 0.14 * step, 9)
            handles += _reported(ax, spec, arm, position - 0.4 * step)
        if spec["hue"]:
            handles.append(_dot(look, printed(hue, spec, spec["hue"]), line=True))
    return handles + _references(ax, references, spec)


def _references(ax: Axes, references: list, spec: Spec) -> list:
    handles = []
    for i, (label, rows) in enumerate(references):
        if rows.empty:
            continue
        got, dashes = summarise(rows, [], spec["y"]).iloc[0], DASHES[i % len(DASHES)]
        if got["n"] > 1:
            low, high = got["mean"] - got["sd"], got["mean"] + got["sd"]
            ax.axhspan(low, high, color=style.PALE, alpha=0.55, lw=0, zorder=0.8)
        handles.append(
            ax.axhline(got["mean"], color=style.GREY, lw=1.1, ls=dashes, zorder=1.6, label=label, gid="reference")
        )
    return handles


def _reported(ax: Axes, spec: Spec, rows: pd.DataFrame, at: float) -> list:
    """Draw what the paper reports for the arm of these rows, hollow."""
    handles = []
    for entry in reported(rows, spec) if len(rows) else ():
        if entry.get("mean") is None:
            continue
        sd = entry.get("sd") if entry.get("variance") is None else entry["variance"] ** 0.5
        look = {"color": style.GREY, "mfc": "white", "mew": 0.9, "ms": 4.5, "marker": "D", "ls": "none"}
        look |= {"gid": "reported", "label": "reported in the paper", "zorder": 3.5, "clip_on": False}
        handles.append(ax.plot(at, entry["mean"], **look)[0])
        if sd:
            ax.errorbar(at, entry["mean"], sd, fmt="none", ecolor=style.GREY, lw=0.8, capsize=2, zorder=2)
    return handles


def _require_one_arm(frame: pd.DataFrame, by: list[str], spec: Spec) -> None:
    """Refuse a reported value that several arms of the figure would show."""
    for entry in spec.get("reported") or []:
        if entry.get("mean") is None or not set(entry) - set(NUMBERS) <= set(frame.columns):
            continue
        rows = frame[match(frame, {name: value for name, value in entry.items() if name not in NUMBERS})]
        if len(rows[by].drop_duplicates()) > 1:
            raise ValueError(
                f"the reported value {entry} fits several arms of this figure: it must name {' and '.join(by)}"
            )


def _dot(look: style.Look, label: str, *, line: bool = False) -> Line2D:
    return Line2D(
        [], [], color=look.colour, marker=look.marker, ms=5.5, lw=1.5, ls="-" if line else "none", label=label
    )
