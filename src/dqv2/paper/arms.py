"""The arms of an experiment in a tidy table: which rows, in which order, under which names and looks."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dqv2.paper import style
from dqv2.paper.reported import arm_of
from dqv2.paper.stats import plain, require_columns

Spec = dict[str, Any]


class NothingYet(ValueError):
    """No run that a partial figure or table could show has finished."""


def match(frame: pd.DataFrame, where: dict[str, Any]) -> pd.Series:
    """Boolean mask of the rows whose columns hold the values, each one or a list; None means missing."""
    require_columns(frame, list(where))
    keep = pd.Series(True, index=frame.index)
    for name, wanted in where.items():
        wanted = wanted if isinstance(wanted, list | tuple) else [wanted]
        present = [value for value in wanted if value is not None]
        keep &= frame[name].isin(present) | (frame[name].isna() & (len(present) < len(wanted)))
    return keep.astype(bool)


def own(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows whose method is what its block says: those without a value in ``replaces``, if there is such a column.
    The paper's values and claims are about no others."""
    return frame[frame["replaces"].isna()] if "replaces" in frame else frame


def reported(rows: pd.DataFrame, spec: Spec) -> Iterator[dict[str, Any]]:
    """The paper's values for an arm: the entries whose columns equal those of all the arm's rows; where the paper gives
    a variance, with its root as ``sd``. None where the experiment replaces something of the arm's method."""
    entries = spec.get("reported")
    if not entries or len(own(rows)) < len(rows):
        return
    here = {name: rows[name].iloc[0] for name in rows if rows[name].notna().all() and rows[name].nunique() == 1}
    for entry in entries:
        if all(here.get(name) == value for name, value in arm_of(entry).items()):
            yield entry if entry.get("variance") is None else entry | {"sd": entry["variance"] ** 0.5}


def ordered(frame: pd.DataFrame, column: str, order: Sequence[Any] | None) -> list[Any]:
    """The values of ``column`` in ``order``; without one, numbers ascending and names as they appear.

    What ``order`` names and no row has is left out: a smaller configuration, or a partial table, has fewer arms. Raises
    ValueError where the table holds a value that ``order`` leaves out.
    """
    found = list(frame[column].dropna().unique())
    if order is None:
        return sorted(found) if pd.api.types.is_numeric_dtype(frame[column]) else found
    extra = [value for value in found if value not in order]
    if extra:
        raise ValueError(f"{column} has {', '.join(map(str, extra))}, not in the order {', '.join(map(str, order))}")
    return [value for value in order if value in found]


def printed(value: Any, spec: Spec, column: str = "") -> str:
    """A value as printed: its name in ``names``, a share as %, a whole number without decimals."""
    names = {str(key): str(name) for key, name in spec.get("names", {}).items()}
    number = isinstance(value, int | float | np.number)
    if (text := plain(value)) in names:
        return names[text]
    return f"{100 * float(value):g} %" if number and column in spec.get("percent", []) else text


def require_apart(frame: pd.DataFrame, column: str, spec: Spec) -> None:
    """Raise ValueError where ``names`` gives two values of a column the same name."""
    seen: dict[str, Any] = {}
    for value in frame[column].dropna().unique():
        text = printed(value, spec, column)
        if text in seen and text in spec.get("names", {}).values():
            raise ValueError(f"names: {seen[text]} and {value} of {column} would both be printed as {text!r}")
        seen[text] = value


def select(frame: pd.DataFrame, spec: Spec) -> tuple[pd.DataFrame, list[tuple[str, pd.DataFrame]]]:
    """Apply ``where`` and split off the references: (rows to draw, [(label, rows of a reference)]).

    With ``partial`` in the spec, a reference that matches nothing is left out.

    Raises:
        NothingYet: nothing is left, and the spec has ``partial``.
        ValueError: nothing is left, a reference matches nothing, or a row has no value on an axis.
    """
    frame = frame[match(frame, spec.get("where", {}))]
    references, rest = [], pd.Series(True, index=frame.index)
    for entry in spec.get("reference", []):
        hit = match(frame, {name: value for name, value in entry.items() if name != "label"})
        if not hit.any():
            if spec.get("partial"):
                continue
            raise ValueError(f"no row matches the reference {entry}")
        references.append((str(entry["label"]), frame[hit]))
        rest &= ~hit
    frame = frame[rest]
    if frame.empty:
        if spec.get("partial"):
            raise NothingYet("no run to show has finished")
        raise ValueError(f"no row to draw (where: {spec.get('where', {})})")
    for name in filter(None, (spec["x"], spec.get("hue"), spec.get("panel"))):
        require_columns(frame, [name])
        if frame[name].isna().any():
            raise ValueError(f"{frame[name].isna().sum()} rows have no {name}: make them a reference or use 'where'")
    return frame, references


def looks_of(names: list[Any], column: str | None, frame: pd.DataFrame) -> dict[Any, style.Look]:
    """The look of each name: methods look the same in every figure, values of other axes by position."""
    if column not in ("label", "method"):
        return {name: style.SEQUENCE[i % len(style.SEQUENCE)] for i, name in enumerate(names)}
    texts = [str(name) for name in names]
    if column == "label" and "method" in frame:  # the config name of a label's one method decides, else the label
        methods = frame.groupby("label")["method"].unique()
        known = [str(methods[text][0]) if text in methods and len(methods[text]) == 1 else text for text in texts]
        texts = known if len(set(known)) == len(texts) else texts
    looks = style.looks(texts)
    return {name: looks[text] for name, text in zip(names, texts, strict=True)}
