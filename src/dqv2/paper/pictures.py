"""Example images side by side: what an image looks like at every step or Tobias size."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from dqv2.paper import layout, style

GUTTER, ROW_TITLE, TALLEST = 0.03, 0.17, 8.5  # inches


def picture_grid(columns: Mapping[str, Any], note: str, label: str | None, row_titles: Sequence[str] = ()) -> Figure:
    """Draw ``columns`` (title -> uint8[N, 3, H, W], arrays or tensors) next to each other, one row per image.

    H and W may differ between columns; all pictures are drawn at the same size, without smoothing. ``note`` is printed
    at the bottom, ``label`` (or None) in a badge at the top right, ``row_titles`` (N, or none) on the left.
    """
    images = {title: np.asarray(batch) for title, batch in columns.items()}
    rows = len(next(iter(images.values())))
    width = style.FULL if len(images) > 4 else style.COLUMN
    left = layout.EDGE + (ROW_TITLE if row_titles else 0)
    taken = left + layout.EDGE + GUTTER * (len(images) - 1)
    cell = min((width - taken) / len(images), TALLEST / rows - GUTTER)
    width = taken + cell * len(images)
    with style.context():
        probe = style.new_figure(width, 1)
        titles = [layout.wrap(probe, title, 8, cell) or title for title in images]
        top = layout.EDGE + max(layout.text_height(title, 8) for title in titles) + 0.04 + (0.2 if label else 0)
        foot = layout.wrap_note(probe, note, width - 2 * layout.EDGE)
        bottom = layout.EDGE + (layout.text_height(foot, style.SMALL) + 0.04 if note else 0)
        height = top + bottom + rows * cell + (rows - 1) * GUTTER
        figure = style.new_figure(width, height)
        layout.surround(figure, label=label, note=note)
        figure.set_layout_engine("none")
        for j, (title, batch) in enumerate(zip(titles, images.values(), strict=True)):
            x = left + j * (cell + GUTTER)
            level = "bottom" if any("\n" in each for each in titles) else "baseline"  # one line stands on one line
            look = {"ha": "center", "va": level, "linespacing": 1, "gid": "column"}
            layout.write(figure, x + cell / 2, height - top + 0.05, title, 8, **look)
            for i, image in enumerate(batch):
                y = height - top - cell - i * (cell + GUTTER)
                ax = figure.add_axes((x / width, y / height, cell / width, cell / height))
                ax.imshow(image.transpose(1, 2, 0), interpolation="nearest")
                ax.set_axis_off()
        for i, title in enumerate(row_titles):
            middle = height - top - cell / 2 - i * (cell + GUTTER)
            layout.write(figure, left - 0.05, middle, title, 8, ha="right", va="center", rotation=90, gid="row")
    return figure


def one_a_class(labels: np.ndarray, count: int, *, generator: torch.Generator) -> np.ndarray:
    """The rows of at most `count` random images of different classes: int64[k]. labels: int64[N]."""
    order = torch.randperm(len(labels), generator=generator).numpy()
    _, first = np.unique(labels[order], return_index=True)
    return order[np.sort(first)][:count]
