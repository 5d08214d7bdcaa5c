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
    """

    values: dict[str, np.ndarray]

    @classmethod
    def mean(cls, members: Sequence[Scores]) -> Scores:
        """The mean over networks that were trained from several initialisations."""
        names = members[0].values
        return cls({name: np.mean([member.values[name] for member in members], axis=0) for name in names})

    def save(self, path: str | Path) -> None:
        """Write them as .npz."""
        write_npz(path, **self.values)

    @classmethod
    def load(cls, path: str | Path) -> Scores:
        """Read what `save` wrote."""
        with np.load(path) as kept:
            return cls({name: kept[name] for name in kept.files})
