"""Scores of every training image, as a file: means over the networks that gave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dqv2.runtime.files import write_npz


@dataclass(frozen=True)
class Scores:
    """One value a training image for each score; higher = kept sooner.

    Attributes:
        values: name (grand, el2n, forgetting, least_confidence, entropy, margin) -> float64[N].
        seconds: what the trainings and the scoring took.
    """

    values: dict[str, np.ndarray]
    seconds: float

    @classmethod
    def mean(cls, members: Sequence[Scores]) -> Scores:
        """The mean over networks that were trained from several initialisations; their seconds add up."""
        names = members[0].values
        values = {name: np.mean([member.values[name] for member in members], axis=0) for name in names}
        return cls(values, sum(member.seconds for member in members))

    def save(self, path: str | Path) -> None:
        """Write them as .npz."""
        write_npz(path, seconds=self.seconds, **self.values)

    @classmethod
    def load(cls, path: str | Path) -> Scores:
        """Read what `save` wrote."""
        with np.load(path) as kept:
            return cls({name: kept[name] for name in kept.files if name != "seconds"}, float(kept["seconds"]))
