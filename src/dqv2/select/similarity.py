"""Cosine similarity between items, as a matrix or row by row, for dense and for factored features.

GraphCut uses sim(a, b) = 0.5 + 0.5·cos(a, b). Its gains are compared within one step only, and there the
constant 0.5 adds the same amount to every candidate, so cosines are all that is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_BLOCK_ROWS = 128


@dataclass(frozen=True, eq=False)
class GradientFeatures:
    """Last-layer gradients [b, b ⊗ e] of DQ, kept as their two factors and never materialised.

    ⟨g_i, g_j⟩ = ⟨b_i, b_j⟩·(1 + ⟨e_i, e_j⟩), so N·(C + E) numbers stand for N·C·(E + 1).

    residual: float[N, C], the loss's gradient at the logits (see `last_layer_residual`; float64 is advised).
    embedding: float[N, E], the input of the last layer.
    """

    residual: Tensor
    embedding: Tensor

    def __post_init__(self):
        check_matrix(self.residual, "residual")
        check_matrix(self.embedding, "embedding")
        if len(self.residual) != len(self.embedding):
            raise ValueError(
                f"residual has {len(self.residual)} rows and embedding {len(self.embedding)}; both need one row an item"
            )

    def __len__(self) -> int:
        return len(self.residual)


Features = Tensor | GradientFeatures


def check_matrix(values: Tensor, name: str) -> None:
    """Raise unless `values` is a floating-point tensor of two dimensions with at least one row and column."""
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} must be a torch tensor, got {type(values).__name__}")
    if values.dim() != 2 or 0 in values.shape or not values.is_floating_point():
        raise ValueError(
            f"{name} must be float[N, D] with N and D at least 1, got {values.dtype} of shape {list(values.shape)}"
        )


def check_features(features: Features) -> int:
    """Return the number of items; raise ValueError for rows without a direction (zero, NaN or infinite)."""
    if isinstance(features, GradientFeatures):
        _refuse(~torch.isfinite(_largest(features.embedding)), "embedding", "NaN or infinite values")
        values, name = features.residual, "residual"
    else:
        check_matrix(features, "features")
        values, name = features, "features"
    largest = _largest(values)
    _refuse(~torch.isfinite(largest), name, "NaN or infinite values")
    _refuse(largest == 0, name, "only zeros, so no direction to compare")
    return len(values)


def _largest(values: Tensor) -> Tensor:
    return torch.maximum(values.amax(1), -values.amin(1))


def _refuse(bad: Tensor, name: str, why: str) -> None:
    count = int(bad.sum())
    if count:
        raise ValueError(
            f"{count} of {len(bad)} rows of {name} hold {why}; the first is index {int(bad.int().argmax())}. "
            "Leave these items out or repair their features."
        )


class Cosine:
    """Cosines among n items in float64: the product, over the factors, of the dot products of unit rows."""

    def __init__(self, factors: tuple[Tensor, ...]):
        self.factors = factors

    def __len__(self) -> int:
        return len(self.factors[0])

    @property
    def width(self) -> int:
        """Columns of all factors together: how many terms a dot product sums."""
        return sum(factor.shape[1] for factor in self.factors)

    def subset(self, index: Tensor) -> Cosine:
        """The same similarity among the items of `index` only."""
        return Cosine(tuple(factor[index] for factor in self.factors))

    def row(self, i: int) -> np.ndarray:
        """Cosines of item i to all items, float64[n], on the host."""
        return self._dots(slice(None), i).cpu().numpy()

    def column_sums(self, ground: Tensor) -> np.ndarray:
        """Sum of each item's cosines to the items of ground, bool[n]: float64[n] on the host, in O(n)."""
        if len(self.factors) == 1:
            (x,) = self.factors
            return (x @ (ground.to(x) @ x)).cpu().numpy()
        b, e = self.factors
        return ((b @ ((b * ground.to(b)[:, None]).T @ e)) * e).sum(1).cpu().numpy()

    def matrix(self) -> np.ndarray:
        """All cosines, float64[n, n], on the host; computed once per pair, a block of rows at a time."""
        n = len(self)
        out = torch.empty(n, n, dtype=torch.float64)
        for start in range(0, n, _BLOCK_ROWS):
            stop = min(start + _BLOCK_ROWS, n)
            block = self._dots(slice(start, stop), slice(start, n)).cpu()
            out[start:stop, start:] = block
            out[stop:, start:stop] = block[:, stop - start :].T
        return out.numpy()

    def _dots(self, rows: slice, columns: slice | int) -> Tensor:
        first, *others = (torch.inner(factor[rows], factor[columns]) for factor in self.factors)
        for other in others:
            first *= other
        return first


def cosine(features: Features, index: Tensor | None = None) -> Cosine:
    """The cosine similarity of `features` (checked by `check_features`), of the items of `index` if given."""

    def take(values: Tensor) -> Tensor:
        return values if index is None else values[index]

    if isinstance(features, GradientFeatures):
        embedding = take(features.embedding).double()
        # |g|² = |b|²·(1 + |e|²): the bias gradient is one more embedding column of ones.
        ones = embedding.new_ones(len(embedding), 1)
        return Cosine((_unit_rows(take(features.residual)), _unit_rows(torch.cat([ones, embedding], 1))))
    return Cosine((_unit_rows(take(features)),))


def _unit_rows(values: Tensor) -> Tensor:
    # Dividing by the largest entry first keeps the squares of very small gradients from vanishing.
    unit = values.to(torch.float64, copy=True).div_(_largest(values).double()[:, None])
    return unit.div_(torch.linalg.vector_norm(unit, dim=1, keepdim=True))


def last_layer_residual(logits: Tensor, labels: Tensor, *, softmax_in_loss: bool = False) -> Tensor:
    """Gradient of each item's loss at its logits, float64[N, C], with p = softmax(logits).

    softmax_in_loss=False: cross-entropy as usual (DeepCore): b = p − onehot.
    softmax_in_loss=True: DQ's published code, which feeds p to a cross-entropy that applies softmax again:
    b = p ⊙ (r − ⟨p, r⟩) with r = softmax(p) − onehot. (Its division by the batch size cancels in the cosine.)

    logits: float[N, C]; labels: int[N] in 0..C-1. Raises ValueError for other shapes or labels.
    Each row sums to zero, so its largest entry is taken as minus the sum of the others: exact relative to the
    row's size at any margin, where float32, or 1 − p, leaves only rounding noise.
    """
    check_matrix(logits, "logits")
    if labels.dim() != 1 or len(labels) != len(logits) or labels.is_floating_point():
        raise ValueError(f"labels must be int[{len(logits)}], got {labels.dtype} of shape {list(labels.shape)}")
    classes = logits.shape[1]
    label = labels.to(logits.device, torch.int64)[:, None]
    if bool(((label < 0) | (label >= classes)).any()):
        raise ValueError(f"labels must lie in 0..{classes - 1}, the columns of logits")
    p = torch.softmax(logits.double(), dim=1)
    if softmax_in_loss:
        r = torch.softmax(p, dim=1).scatter_add(1, label, -torch.ones_like(p))
        residual = p * (r - (p * r).sum(1, keepdim=True))
        balance = p.argmax(1, keepdim=True)
    else:
        residual, balance = p, label
    residual = residual.scatter(1, balance, 0.0)
    return residual.scatter(1, balance, -residual.sum(1, keepdim=True))
