"""What stands around the axes, measured so that nothing overlaps: title, badge, legend, note, labels."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from dqv2.paper.style import COLUMN, GREY, RC, SMALL, context, new_figure

EDGE = 0.05  # inches between the figure's edge and what stands next to it
LINE = 1.25  # height of a line of text over its size


def text_width(figure: Figure, text: str, size: float) -> float:
    """Width in inches that ``text`` takes at ``size`` points."""
    prop = FontProperties(family=RC["font.family"], size=size)
    measure = figure.canvas.get_renderer().get_text_width_height_descent
    return max((measure(line, prop, False)[0] for line in text.split("\n") if line), default=0.0) / figure.dpi


def wrap(figure: Figure, text: str, size: float, width: float, *, even: bool = True) -> str | None:
    """Break ``text`` between words into few lines of at most ``width`` inches; None if a word is wider.

    The lines are about as long as each other, or full but for the last where ``even`` is not set.
    """
    fits = None
    for characters in range(max(len(text), 1), 0, -1):
        lines = textwrap.wrap(text, characters, break_long_words=False, break_on_hyphens=False)
        if fits is not None and len(lines) > fits.count("\n") + 1:
            break
        if text_width(figure, "\n".join(lines), size) <= width:
            fits = "\n".join(lines)
            if not even:
                break
    return fits


def wrap_note(figure: Figure, note: str, size: float, width: float) -> str:
    """Break a note at its " · ", or between words where one of its parts is too long for a line."""
    solid = " · ".join(part.replace(" ", "\u00a0") for part in note.split(" · "))
    shown = wrap(figure, solid, size, width, even=False) or wrap(figure, note, size, width, even=False) or note
    return shown.replace("\u00a0", " ").replace(" ·\n", "\n").replace("\n· ", "\n")


def halo() -> list[withStroke]:
    """A white rim, so that a grid line never strikes a text through."""
    return [withStroke(linewidth=2.2, foreground="white")]


def surround(figure: Figure, *, title: str | None, label: str | None, note: str, legend: tuple | None = None) -> None:
    """Set title or legend and the badge above, the note below, and leave the rest of the figure to the axes.

    ``legend`` is ``(handles, labels, title)``, the title printed before the entries.
    """
    width, height = figure.get_size_inches()
    taken = text_width(figure, label, SMALL) + 0.3 if label else 0.0  # the badge shares the first row
    top, bottom = EDGE, EDGE
    if label:
        badge(figure, label)
    if title:
        shown = wrap(figure, title, 9, width - 2 * EDGE - taken, even=False) or title
        figure.text(
            EDGE / width,
            1 - EDGE / height,
            shown,
            ha="left",
            va="top",
            fontsize=9,
            linespacing=1,
            gid="title",
        )
        top += (shown.count("\n") + 1) * 9 * LINE / 72 + 0.04
    if legend:
        top += _legend(figure, *legend, top, width - 2 * EDGE - (0 if title else taken)) + 0.04
    if label:
        top = max(top, EDGE + 0.2)
    if note:
        shown = wrap_note(figure, note, SMALL, width - 2 * EDGE)
        at = (EDGE / width, EDGE / height)
        figure.text(*at, shown, ha="left", va="bottom", fontsize=SMALL, color=GREY, linespacing=1, gid="note")
        bottom += (shown.count("\n") + 1) * SMALL * LINE / 72 + 0.04
    figure.get_layout_engine().set(rect=(0, bottom / height, 1, 1 - (bottom + top) / height))


def nothing_yet(*, title: str | None, label: str | None, note: str) -> Figure:
    """What a partial report shows of an experiment before its first run has finished: that, in words."""
    with context():
        figure = new_figure(COLUMN, 1.6)
        ax = figure.subplots()
        ax.set_axis_off()
        ax.text(0.5, 0.5, "No run to show here has finished yet.", ha="center", va="center")
        surround(figure, title=title, label=label, note=note)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    return figure


def badge(figure: Figure, label: str) -> Text:
    """A small rounded label at the top right of the figure's face, such as "demo"."""
    width, height = figure.get_size_inches()
    box = {
        "boxstyle": "round,pad=0.3,rounding_size=0.6",
        "facecolor": "#FFF4E5",
        "edgecolor": "#D55E00",
        "lw": 0.7,
    }
    at = (1 - 0.1 / width, 1 - 0.075 / height)
    return figure.text(*at, label, ha="right", va="top", fontsize=SMALL, color="#8A3D00", bbox=box, gid="label")


def _legend(figure: Figure, handles: list, labels: list[str], title: str | None, top: float, room: float) -> float:
    """Set the legend ``top`` inches below the edge, as wide as ``room`` inches allow; return its height."""
    width, height = figure.get_size_inches()
    left = EDGE
    if title:
        at = (left / width, 1 - (top + 0.01) / height)
        figure.text(*at, title, ha="left", va="top", fontsize=8, gid="legend title")
        indent = text_width(figure, title, 8) + 0.1
        left, room = left + indent, room - indent
    for columns in range(len(labels), 0, -1):
        legend = figure.legend(
            handles, labels, ncols=columns, loc="upper left", bbox_to_anchor=(left / width, 1 - top / height),
            borderpad=0, borderaxespad=0, columnspacing=1.2, handletextpad=0.4,
            handlelength=1.8 if any(handle.get_linestyle() != "None" for handle in handles) else 1.0,
            labelspacing=0.25,
        )  # fmt: skip
        box = legend.get_window_extent(figure.canvas.get_renderer())
        if box.width / figure.dpi <= room or columns == 1:
            return box.height / figure.dpi
        legend.remove()
    return 0.0


def fit_ticks(figure: Figure, grid: Sequence[Axes]) -> None:
    """Break long category names between words; where a word is too wide for its column, slant them all."""
    figure.draw_without_rendering()
    texts = [[label.get_text() for label in ax.get_xticklabels()] for ax in grid]
    room = [ax.get_window_extent().width / figure.dpi / np.ptp(ax.get_xlim()) * 0.92 for ax in grid]
    broken = [[wrap(figure, text, 8, r) for text in t] for t, r in zip(texts, room, strict=True)]
    slant = any(text is None or text.count("\n") > 2 for t in broken for text in t)
    line = _line_height(figure)
    for ax, plain, lines in zip(grid, texts, broken, strict=True):
        at = range(len(plain))
        if slant:
            ax.set_xticks(at, plain, rotation=35, ha="right", va="top", rotation_mode="anchor")
            continue
        # Text is set by the base line of its last line: lowered by the others, all first lines stand level.
        ax.set_xticks(at, lines, linespacing=1.0, va="baseline")
        ax.tick_params(axis="x", pad=10)
        for label, text in zip(ax.get_xticklabels(), lines, strict=True):
            down = ScaledTranslation(0, -line * text.count("\n"), figure.dpi_scale_trans)
            label.set_transform(label.get_transform() + down)
    figure.draw_without_rendering()


def _line_height(figure: Figure) -> float:
    """Distance in inches between the base lines of two lines of a tick label."""
    one, two = (figure.text(0, 0, text, fontsize=8, linespacing=1.0) for text in ("x", "x\nx"))
    heights = [text.get_window_extent(figure.canvas.get_renderer()).height for text in (one, two)]
    for text in (one, two):
        text.remove()
    return (heights[1] - heights[0]) / figure.dpi


def fit_y(figure: Figure, ax: Axes, limits: Sequence[float] | None, *, accuracy: bool) -> None:
    """The y range from the data, with headroom for the values above, round ticks and a trimmed spine.

    An accuracy (%) never gets a tick above 100, and a range of less than one point is not blown up.
    """
    floor, roof = sorted((ax.dataLim.y0, ax.dataLim.y1))
    _fit_values(figure, ax)
    span = max(roof - floor, 1.0 if accuracy else 1e-9)
    middle = (roof + floor) / 2
    low, high = middle - 0.58 * span, middle + 0.56 * span
    notes = [text.get_window_extent().height for text in ax.texts if text.get_gid() == "value"]
    if notes:
        share = min((max(notes) + 5 / 72 * figure.dpi) / ax.get_window_extent().height, 0.6)
        high = low + (max(high - 0.06 * span, roof) - low) / (1 - share)
    low = max(low, 0.0) if floor >= 0 else low
    low, high = limits or (low, high)
    ax.set_ylim(low, high)
    top = min(high, 100.0) if accuracy else high
    for bins in range(4, 10):
        ticks = [t for t in MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]).tick_values(low, top) if low <= t <= top + 1e-9]
        if len(ticks) >= 3:
            break
    ax.set_yticks(ticks)
    ax.spines["left"].set_bounds(low, ticks[-1] if ticks else top)
    _clear_marks(figure, ax)


def _clear_marks(figure: Figure, ax: Axes) -> None:
    """Raise a value that a mark of the paper's would cover to just above that mark."""
    marks = [line for line in ax.lines if line.get_gid() == "reported"]
    for text in (text for text in ax.texts if text.get_gid() == "value"):
        for mark in sorted(marks, key=lambda line: line.get_ydata()[0]):
            half = (mark.get_markersize() / 2 + 1.5) * figure.dpi / 72
            (x, y), box = ax.transData.transform((mark.get_xdata()[0], mark.get_ydata()[0])), text.get_window_extent()
            if box.x0 < x + half and x - half < box.x1 and box.y0 < y + half and y - half < box.y1:
                up = (y + half - box.y0) / figure.dpi * 72
                text.xyann = (text.xyann[0], text.xyann[1] + up)


def _fit_values(figure: Figure, ax: Axes) -> None:
    """Break "mean ± sd" into two lines where columns are narrow; if still too wide, turn it upright."""
    notes = [text for text in ax.texts if text.get_gid() == "value"]
    if len(notes) < 2:
        return
    gap = np.diff(sorted(text.xy[0] for text in notes)).min() * ax.get_window_extent().width / np.ptp(ax.get_xlim())

    def wide() -> bool:
        return max(text_width(figure, text.get_text(), SMALL) for text in notes) * figure.dpi > 0.94 * gap

    if wide():
        for text in notes:
            text.set_text(text.get_text().replace(" ± ", "\n± "))
    if wide():
        for text in notes:
            text.set(rotation=90, text=text.get_text().replace("\n", " "))
