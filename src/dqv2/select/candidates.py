"""What a selector is given: the images of a pool, their labels, and what networks computed from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dqv2.select.baselines.scores import el2n_scores, grand_scores, uncertainty_scores
from dqv2.select.coreset import Pool
from dqv2.select.similarity import FeatureRows, Features, GradientFeatures, last_layer_residual
from dqv2.select.table import FEATURES


class PoolRows:
    """The feature rows of a pool's images, float[M, D], read lazily from the underlying arrays when indexed.

    pool: M images. arrays: float[N, D] tensors or memory-mapped arrays: that of the originals if the pool has any, then
    that of the Tobias images if it has any. Raises ValueError for another number of arrays.
    """

    def __init__(self, pool: Pool, arrays: Sequence[Tensor | np.ndarray]):
        if len(arrays) != bool((~pool.tobias).any()) + bool(pool.tobias.any()):
            raise ValueError(f"{len(arrays)} feature arrays do not fit a pool with these kinds of images")
        self.pool, self.arrays = pool, [np.asarray(array) for array in arrays]

    def __len__(self) -> int:
        return len(self.pool)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """float[k, D] for int64[k] or a slice, as a new tensor."""
        index = index if isinstance(index, slice) else index.numpy()
        rows, tobias = self.pool.rows[index], self.pool.tobias[index]
        values = np.empty((len(rows), *self.arrays[0].shape[1:]), self.arrays[0].dtype)
        for kind, array in ((~tobias, self.arrays[0]), (tobias, self.arrays[-1])):
            if kind.any():
                values[kind] = array[rows[kind]]
        return torch.from_numpy(values)


@dataclass(frozen=True)
class Candidates:
    """M images to choose from. A field that the kind of selector does not read may be None."""

    labels: Tensor  # int64[M]
    embedding: Tensor | PoolRows | None = None  # float[M, E] of a network; `PoolRows` for a kind that works by class
    logits: Tensor | PoolRows | None = None  # float[M, C], likewise
    scores: Tensor | None = None  # float64[M], the named score as a mean over several trainings
    pixels: Callable[[np.ndarray], Tensor] | None = None  # from int64[k], places among the M, to uint8[k, 3, H, W]
    generator: torch.Generator | None = None  # for a kind that draws
    budget: Tensor | None = None  # int64[C], images of each class to rank, for a kind that stops there; None: all

    def __len__(self) -> int:
        return len(self.labels)

    def features(self, name: str) -> Features:
        """The features that the images are compared by; from `PoolRows` they are computed class by class.

        name: "embedding", "gradient" (last-layer gradients of the cross-entropy, as in DeepCore, factorised) or
        "gradient_dq" (the same with DQ's extra softmax before the loss). Raises ValueError for another name.
        """
        if name not in FEATURES:
            raise ValueError(f"features must be one of {', '.join(FEATURES)}, got {name!r}")
        if isinstance(self.embedding, PoolRows):

            def rows(index: Tensor) -> Features:
                logits = self.logits[index] if name != "embedding" else None
                return Candidates(self.labels[index], self.embedding[index], logits).features(name)

            return FeatureRows(len(self), rows)
        if name == "embedding":
            return self.embedding
        residual = last_layer_residual(self.logits, self.labels, softmax_in_loss=name == "gradient_dq")
        return GradientFeatures(residual=residual, embedding=self.embedding)

    def score(self, name: str) -> Tensor:
        """A score of each image from the single pass that gave embedding and logits: float64[M], higher = kept first.

        Raises ValueError for a score that one pass does not give.
        """
        if name == "grand":
            return grand_scores(self.features("gradient"))
        if name == "el2n":
            return el2n_scores(self.logits, self.labels)
        return uncertainty_scores(self.logits, name)
