"""The layout around the axes, measured so that nothing overlaps: title, badge, legend, note, labels."""

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from dqv2.paper.style import COLUMN, GREY, RC, SMALL, context, new_figure

EDGE = 0.05  # inches between the figure's edge and what stands next to it
LINE = 1.25  # height of a line of text over its size
BADGE = {"boxstyle": "round,pad=0.3,rounding_size=0.6", "facecolor": "#FFF4E5", "edgecolor": "#D55E00", "lw": 0.7}


def text_width(figure: Figure, text: str, size: float) -> float:
    """Width in inches that ``text`` takes at ``size`` points."""
    prop = FontProperties(family=RC["font.family"], size=size)
    measure = figure.canvas.get_renderer().get_text_width_height_descent
    return max((measure(line, prop, False)[0] for line in text.split("\n") if line), default=0.0) / figure.dpi


def text_height(text: str, size: float) -> float:
    """Height in inches of the lines of ``text`` at ``size`` points."""
    return (text.count("\n") + 1) * size * LINE / 72


def wrap(figure: Figure, text: str, size: float, width: float) -> str | None:
    """Break ``text`` between words into the fewest lines of at most ``width`` inches, of about equal length; None if a
    word is wider."""
    fits = None
    most = int(width * 72 / size / 0.2) + 1  # characters are at least a fifth of their size wide on average
    for characters in range(min(max(len(text), 1), most), 0, -1):
        lines = textwrap.wrap(text, characters, break_long_words=False, break_on_hyphens=False)
        if fits is not None and len(lines) > fits.count("\n") + 1:
            break
        if text_width(figure, "\n".join(lines), size) <= width:
            fits = "\n".join(lines)
    return fits


def wrap_note(figure: Figure, note: str, width: float) -> str:
    """Break a note at its " · ", or between words if one of its parts is too long for a line."""
    solid = " · ".join(part.replace(" ", "\u00a0") for part in note.split(" · "))
    shown = wrap(figure, solid, SMALL, width) or wrap(figure, note, SMALL, width) or note
    return shown.replace("\u00a0", " ").replace(" ·\n", "\n").replace("\n· ", "\n")


def write(figure: Figure, x: float, y: float, text: str, size: float, **look) -> Text:
    """Set a text ``x`` and ``y`` inches from the figure's lower left corner, by default by its own upper left one."""
    look = {"ha": "left", "va": "top"} | look
    return figure.text(x, y, text, fontsize=size, transform=figure.dpi_scale_trans, **look)


def surround(
    figure: Figure, *, label: str | None, note: str, title: str | None = None, legend: tuple | None = None
) -> float:
    """Set title or legend and the badge above, the note below, and leave the rest of the figure to the axes; returns
    the height of this rest in inches.

    ``legend`` is ``(handles, labels, title)``, the title printed before the entries.
    """
    width, height = figure.get_size_inches()
    room, top, bottom = width - 2 * EDGE, EDGE, EDGE
    beside = text_width(figure, label, SMALL) + 0.3 if label else 0.0  # the badge shares the first row
    if title:
        shown = wrap(figure, title, 9, room - beside) or title
        write(figure, EDGE, height - EDGE, shown, 9, linespacing=1, gid="title")
        top += text_height(shown, 9) + 0.04
    if legend:
        top += _legend(figure, *legend, top, room - (0 if title else beside)) + 0.04
    if label:
        look = {"ha": "right", "color": "#8A3D00", "bbox": BADGE, "gid": "label"}
        write(figure, width - 0.1, height - 0.075, label, SMALL, **look)
        top = max(top, EDGE + 0.2)
    if note:
        shown = wrap_note(figure, note, room)
        write(figure, EDGE, EDGE, shown, SMALL, va="bottom", color=GREY, linespacing=1, gid="note")
        bottom += text_height(shown, SMALL) + 0.04
    figure.get_layout_engine().set(rect=(0, bottom / height, 1, 1 - (bottom + top) / height))
    return height - bottom - top


def common_order(lists: Iterable[Sequence[str]]) -> list[str]:
    """Merge lists into one order without duplicates: a new value comes right after its predecessor in its list."""
    order: list[str] = []
    for values in lists:
        place = 0
        for value in values:
            if value not in order:
                order.insert(place, value)
            place = order.index(value) + 1
    return order


def nothing_yet(*, label: str | None, note: str, title: str | None = None) -> Figure:
    """The figure of an experiment without finished runs, in a partial report: a line of text that says so."""
    with context():
        figure = new_figure(COLUMN, 1.6)
        ax = figure.subplots()
        ax.set_axis_off()
        ax.text(0.5, 0.5, "No run to show here has finished yet.", ha="center", va="center")
        surround(figure, title=title, label=label, note=note)
        freeze(figure)
    return figure


def freeze(figure: Figure) -> None:
    """Run the layout engine and switch it off, so that later measurements stay valid."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _legend(figure: Figure, handles: list, labels: list[str], title: str | None, top: float, room: float) -> float:
    """Set the legend ``top`` inches below the edge, as wide as ``room`` inches allow; return its height."""
    width, height = figure.get_size_inches()
    left = EDGE
    if title:
        write(figure, left, height - top - 0.01, title, 8, gid="legend title")
        indent = text_width(figure, title, 8) + 0.1
        left, room = left + indent, room - indent
    look = {"borderpad": 0, "borderaxespad": 0, "columnspacing": 1.2, "handletextpad": 0.4, "labelspacing": 0.25}
    look["handlelength"] = 1.8 if any(handle.get_linestyle() != "None" for handle in handles) else 1.0
    look |= {"loc": "upper left", "bbox_to_anchor": (left / width, 1 - top / height)}
    for columns in range(len(labels), 0, -1):
        legend = figure.legend(handles, labels, ncols=columns, **look)
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
    for ax, plain, lines in zip(grid, texts, broken, strict=True):
        if slant:
            ax.set_xticks(range(len(plain)), plain, rotation=35, ha="right", va="top", rotation_mode="anchor")
            continue
        # Text is set by the base line of its last line: lowered by the others, all first lines stand level
        ax.set_xticks(range(len(plain)), lines, linespacing=1.0, va="baseline")
        ax.tick_params(axis="x", pad=10)
        for label, text in zip(ax.get_xticklabels(), lines, strict=True):
            down = ScaledTranslation(0, -8 / 72 * text.count("\n"), figure.dpi_scale_trans)
            label.set_transform(label.get_transform() + down)
    figure.draw_without_rendering()


def fit_y(figure: Figure, ax: Axes, limits: Sequence[float] | None, *, accuracy: bool) -> None:
    """The y range from the data, with headroom for the values above, round ticks and a trimmed spine.

    An accuracy (%) never gets a tick above 100, and a range of less than one point is not blown up.
    """
    floor, roof = sorted((ax.dataLim.y0, ax.dataLim.y1))
    values = [text for text in ax.texts if text.get_gid() == "value"]
    _fit_values(figure, ax, values)
    span = max(roof - floor, 1.0 if accuracy else 1e-9)
    middle = (roof + floor) / 2
    low, high = middle - 0.58 * span, middle + 0.56 * span
    if values:
        tallest = max(text.get_window_extent().height for text in values)
        share = min((tallest + 5 / 72 * figure.dpi) / ax.get_window_extent().height, 0.6)
        high = low + (max(high - 0.06 * span, roof) - low) / (1 - share)
    low, high = limits or (max(low, 0.0) if floor >= 0 else low, high)
    top = min(high, 100.0) if accuracy else high
    ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3).tick_values(low, top)
    ticks = [tick for tick in ticks if low <= tick <= top + 1e-9]
    following = 2 * ticks[-1] - ticks[-2] if len(ticks) > 1 else np.inf
    if limits is None and roof > (ticks[-1] + following) / 2 and not (accuracy and following > 100):
        ticks, high = [*ticks, following], max(high, following)  # else most of a step would stand above the axis
    ax.set_ylim(low, high)
    ax.set_yticks(ticks)
    ax.spines["left"].set_bounds(low, ticks[-1] if ticks else top)
    marks = [line for line in ax.lines if line.get_gid() == "reported"]
    for mark in sorted(marks, key=lambda line: line.get_ydata()[0]):
        for text in values:  # one that a mark of the paper's would cover rises to just above that mark
            under, box = mark.get_window_extent(), text.get_window_extent()
            if under.overlaps(box):
                text.xyann = (text.xyann[0], text.xyann[1] + (under.y1 - box.y0) / figure.dpi * 72 + 1)


def hide_outside(ax: Axes) -> None:
    """Hide the points above and below the axes, which are drawn unclipped so that those on an edge are whole."""
    low, high = ax.get_ylim()
    for points in ax.collections:
        if points.get_gid() == "seeds":
            offsets = np.ma.filled(points.get_offsets().astype("float64"), np.nan)
            hidden = (offsets[:, 1] < low) | (offsets[:, 1] > high)
            if hidden.any():
                offsets[hidden] = np.nan
                points.set_offsets(offsets)


def _fit_values(figure: Figure, ax: Axes, values: Sequence[Text]) -> None:
    """Break "mean ± sd" into two lines where columns are narrow; if still too wide, turn it upright."""
    if len(values) < 2:
        return
    gap = np.diff(sorted(text.xy[0] for text in values)).min() * ax.get_window_extent().width / np.ptp(ax.get_xlim())

    def wide() -> bool:
        return max(text_width(figure, text.get_text(), SMALL) for text in values) * figure.dpi > 0.94 * gap

    if wide():
        for text in values:
            text.set_text(text.get_text().replace(" ± ", "\n± "))
    if wide():
        for text in values:
            text.set(rotation=90, text=text.get_text().replace("\n", " "))
