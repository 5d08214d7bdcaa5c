"""Pipelines side by side, from the stages that make their runs: one column per method, one row per stage."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from dqv2.paper import layout, style

WIDTH, ROW, BOX = style.FULL, 0.56, 0.36  # inches: the figure, a row and the box in it
SIDE = 0.32  # inches beside the boxes, for arrows that pass over rows
PLAIN = "#F2F2F2"
MIDDLE = {"ha": "center", "va": "center"}


def draw_pipelines(lanes: Sequence[dict[str, Any]], note: str, label: str | None) -> Figure:
    """Draw each method's stages from top to bottom, equal stages in equal rows.

    lanes: one per method: ``title``, ``method`` and ``stages`` in an order in which they can run, each with ``key``
    (equal in two lanes where both have the same kind of stage), ``title``, ``detail`` and ``reads`` (keys of the lane's
    stages). note, label: as in ``figures``.

    A stage that not all lanes have is tinted in its method's colour. An arrow from the row above is straight, others
    pass at the side; the images, which every stage reads, have only one arrow.

    Raises ValueError where the stages of the lanes have no common order.
    """
    rows = _rows(lanes)
    looks = style.looks([lane["title"] for lane in lanes])
    everywhere = set(rows).intersection(*({stage["key"] for stage in lane["stages"]} for lane in lanes))
    height, lane_width = 0.42 + ROW * len(rows) + (0.22 if note else 0), WIDTH / len(lanes)
    with style.context():
        figure = style.new_figure(WIDTH, height)
        layout.surround(figure, label=label, note=note)
        figure.set_layout_engine("none")
        ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
        ax.set_axis_off()
        for i, lane in enumerate(lanes):
            colour = looks[lane["title"]].colour
            left, right = i * lane_width + SIDE, (i + 1) * lane_width - SIDE
            ax.text((left + right) / 2, height - 0.2, lane["title"], fontsize=10, weight="bold", gid="lane", **MIDDLE)
            at = {s["key"]: height - 0.42 - ROW * (rows.index(s["key"]) + 0.5) for s in lane["stages"]}
            for stage in lane["stages"]:
                _box(ax, left, right, at[stage["key"]], stage, None if stage["key"] in everywhere else colour)
            _arrows(ax, left, right, at, sorted(at, key=rows.index), lane["stages"])
    return figure


def _rows(lanes: Sequence[dict[str, Any]]) -> list[str]:
    """The keys of all lanes in a common order: every stage below those that it reads."""
    rows = layout.common_order([stage["key"] for stage in lane["stages"]] for lane in lanes)
    for lane in lanes:
        for stage in lane["stages"]:
            if any(rows.index(read) >= rows.index(stage["key"]) for read in stage["reads"]):
                raise ValueError(f"the stages of {lane['title']} have no common order with the others'")
    return rows


def _box(ax: Axes, left: float, right: float, y: float, stage: dict[str, Any], colour: str | None) -> None:
    look = {"facecolor": PLAIN, "edgecolor": style.GREY, "linewidth": 0.7}
    if colour:
        look = {"facecolor": f"{colour}26", "edgecolor": colour, "linewidth": 1.2}  # the last two digits: the opacity
    look |= {"boxstyle": "round,pad=0,rounding_size=0.05", "gid": "stage"}
    ax.add_patch(FancyBboxPatch((left, y - BOX / 2), right - left, BOX, **look))
    middle, up = (left + right) / 2, 0.085 if stage["detail"] else 0
    ax.text(middle, y + up, stage["title"], fontsize=8.5, gid="stage title", **MIDDLE)
    if stage["detail"]:
        room = (right - left - 0.1) / layout.text_width(ax.figure, stage["detail"], style.SMALL)
        small = {"fontsize": style.SMALL * min(room, 1), "color": style.GREY, "gid": "detail"}
        ax.text(middle, y - 0.08, stage["detail"], **small, **MIDDLE)


def _arrows(ax: Axes, left: float, right: float, at: dict[str, float], used: list[str], stages: list[dict]) -> None:
    """From each stage to those that read it; the images' only where a stage reads nothing else."""
    line = {"arrowstyle": "-|>", "mutation_scale": 7, "color": style.INK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
    middle, long = (left + right) / 2, []
    for stage in stages:
        here = used.index(stage["key"])
        for key in [key for key in stage["reads"] if key != used[0]] or stage["reads"]:
            if used.index(key) == here - 1:
                ends = (middle, at[key] - BOX / 2), (middle, at[stage["key"]] + BOX / 2)
                ax.add_patch(FancyArrowPatch(*ends, **line))
            else:
                long.append((used.index(key), here))
    tracks: list[list[tuple[int, int]]] = []  # which rows each track passes
    for start, end in sorted(long, key=lambda edge: edge[0] - edge[1], reverse=True):  # the shortest innermost
        free = (i for i, rows in enumerate(tracks) if all(start >= row[1] or end <= row[0] for row in rows))
        track = next(free, len(tracks))
        tracks[track:] = tracks[track:] or [[]]
        tracks[track].append((start, end))
        x = right + 0.1 + 0.08 * track
        top, foot = at[used[start]] - 0.08, at[used[end]] + 0.1 - 0.05 * track
        look = {"color": style.INK, "lw": 0.8, "solid_joinstyle": "round", "zorder": 1, "gid": "arrow"}
        ax.plot((right, x, x), (top, top, foot), **look)
        ax.add_patch(FancyArrowPatch((x, foot), (right, foot), **line))
