"""Figures show what they are asked for and no more: no place for a name without a row, no point beyond the y axis."""

import re

import numpy as np
import pytest

from dqv2.paper.figures import draw
from tests.unit.made_up import sizes, table

NOTE = "digits · n = 3 seeds · CPU"


def seeds_drawn(figure):
    return np.concatenate([c.get_offsets() for ax in figure.axes for c in ax.collections if c.get_gid() == "seeds"])


def note_of(figure):
    (note,) = (text.get_text() for text in figure.texts if text.get_gid() == "note")
    return note.replace("\n", " ")


def test_a_name_that_no_row_has_takes_no_place():
    figure = draw(table(("DQ", "Random")), {"kind": "methods", "order": ["Random", "GC", "DQ", "DQ_V2"]}, NOTE)
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["Random", "DQ"]


@pytest.mark.parametrize("kind", ["methods", "line"])
def test_what_lies_outside_the_y_axis_is_hidden_and_said(kind):
    """Unclipped points would lie over names, note and legend."""
    frame = sizes(seeds=3).dropna()
    low, high = 51.6, 53.2
    inside = int(frame["test_accuracy"].between(low, high).sum())
    assert 0 < inside < len(frame)
    spec = {"kind": kind, "x": "tobias_size", "ylim": [low, high]}
    figure = draw(frame, spec, NOTE)
    points = seeds_drawn(figure)
    assert np.isfinite(points[:, 1]).sum() == inside
    assert f"outside the y axis: {len(frame) - inside} of {len(frame)} values" in note_of(figure)
    whole = draw(frame, spec | {"ylim": [40, 60]}, NOTE)
    assert "outside" not in note_of(whole)
    assert np.isfinite(seeds_drawn(whole)).all()


def test_a_reference_outside_the_y_axis_is_named():
    spec = {"kind": "line", "reference": [{"label": "no augmentation", "tobias_size": None}]}
    spec |= {"ylim": [51, 60]}
    assert re.search("outside the y axis: .* of .* values, no augmentation$", note_of(draw(sizes(), spec, NOTE)))
