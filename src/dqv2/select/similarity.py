"""Cosine similarity between items, as a matrix or row by row, for dense and for factored features.

GraphCut uses sim(a, b) = 0.5 + 0.5·cos(a, b). Its gains are only compared within a step, where the constant 0.5 adds
the same amount to every candidate, so only cosines are computed here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dqv2.arguments import as_labels, check_tensors, is_whole, kind_of
from dqv2.select.threads import torch_threads

# Rows of a Gram matrix computed at once: smaller blocks leave the cores waiting for memory.
_BLOCK_ROWS = 512
_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class GradientFeatures:
    """Last-layer gradients g = [b, b ⊗ e], as DQ uses them, kept as their two factors and never materialised.

    ⟨g_i, g_j⟩ = ⟨b_i, b_j⟩·(1 + ⟨e_i, e_j⟩), so N·(C + E) numbers stand for N·C·(E + 1). Raises TypeError unless both
    factors are tensors, ValueError for other shapes or dtypes, or different numbers of rows.
    """

    residual: Tensor  # float[N, C], gradient of the loss at the logits (`last_layer_residual`; prefer float64)
    embedding: Tensor  # float[N, E], the input of the last layer

    def __post_init__(self):
        check_matrix(self.residual, "residual")
        check_matrix(self.embedding, "embedding")
        if len(self.residual) != len(self.embedding):
            raise ValueError(
                f"residual has {len(self.residual)} rows and embedding {len(self.embedding)}; both need one row an item"
            )

    def __len__(self) -> int:
        return len(self.residual)


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Features that are read or computed when needed, one class at a time, and never held all at once.

    For a memory-mapped array x: `FeatureRows(len(x), lambda i: torch.from_numpy(x[i.numpy()]))`.
    """

    count: int  # N, the number of items
    # From indices, int64[k], to the features of these items, [k, ...]. It is called with the indices of one class in
    # ascending order, and from several threads at once, with the caller's gradient mode, inference mode and autocast
    rows: Callable[[Tensor], Tensor | GradientFeatures]
    device: torch.device = _CPU  # the device of what `rows` returns, of the computation, and of the results

    def __len__(self) -> int:
        return self.count


Features = Tensor | GradientFeatures | FeatureRows
Array = np.ndarray  # may be memory-mapped


def as_features(features: Features | Array) -> Features:
    """Wrap a NumPy array, float[N, D], memory-mapped or not, as `FeatureRows`; return other features unchanged.

    Raises ValueError for an array of another shape or dtype, or with masked values.
    """
    if not isinstance(features, np.ndarray):
        return features
    native = features.dtype.newbyteorder("=")
    wrong = features.ndim != 2 or 0 in features.shape or native not in (np.float16, np.float32, np.float64)
    if wrong or np.ma.is_masked(features):
        raise ValueError(
            f"features must be float[N, D] of at most 64 bits with N and D at least 1, got {kind_of(features)}"
        )

    def rows(index: Tensor) -> Tensor:
        first, last = int(index[0]), int(index[-1])
        if last - first + 1 == len(index):  # data sorted by class: read the contiguous slice
            return torch.from_numpy(np.array(features[first : last + 1], native))
        return torch.from_numpy(features[index.numpy()].astype(native, copy=False))

    return FeatureRows(len(features), rows)


def device_of(features: Features) -> torch.device:
    """The device of the features."""
    return features.residual.device if isinstance(features, GradientFeatures) else features.device


def take(features: Features, index: Tensor, *, directed: bool = True) -> Tensor | GradientFeatures:
    """The features of the items at `index`, int64[k] on any device.

    Raises ValueError where `FeatureRows.rows` returns another number of rows, or rows that are not finite or (if
    `directed`) zero.
    """
    if isinstance(features, FeatureRows):
        found = features.rows(index)
        if check_features(found, directed=directed, index=index) != len(index):
            raise ValueError(f"FeatureRows.rows gave {len(found)} rows for {len(index)} items")
        return found
    index = index.to(device_of(features))
    if isinstance(features, GradientFeatures):
        return GradientFeatures(features.residual[index], features.embedding[index])
    return features[index]


def check_matrix(values: Tensor, name: str) -> None:
    """Raise TypeError unless `values` is a tensor, ValueError unless it is dense float[N, D] with N, D at least 1."""
    check_tensors(**{name: values})
    if values.layout != torch.strided:
        raise ValueError(f"{name} must be a dense tensor, got one of layout {values.layout}: call its to_dense()")
    if values.dim() != 2 or 0 in values.shape or not values.is_floating_point():
        raise ValueError(f"{name} must be float[N, D] with N and D at least 1, got {kind_of(values)}")


def check_features(
    features: Features, name: str = "features", *, directed: bool = True, index: Tensor | None = None
) -> int:
    """Return the number of items; raise ValueError for rows that are NaN, infinite or, if `directed`, all zeros.

    index: int64[N], the item numbers to use in messages; None: 0..N-1. `FeatureRows` are checked later, by `take`.
    """
    if isinstance(features, FeatureRows):
        if not is_whole(features.count):
            raise ValueError(f"FeatureRows need a whole number of items, got {features.count!r}")
        if features.count < 1:
            raise ValueError(f"FeatureRows need at least one item, got {features.count}")
        return features.count
    values = features
    if isinstance(features, GradientFeatures):
        refuse_rows(~torch.isfinite(largest_of(features.embedding)), "embedding", "NaN or infinite values", index)
        values, name = features.residual, "residual"
    check_matrix(values, name)
    largest = largest_of(values)
    refuse_rows(~torch.isfinite(largest), name, "NaN or infinite values", index)
    if directed:
        refuse_rows(largest == 0, name, "only zeros, so no direction to compare", index)
    return len(values)


def largest_of(values: Tensor) -> Tensor:
    """The largest absolute value in each row of [N, D]: [N]."""
    return torch.maximum(values.amax(1), -values.amin(1))


def refuse_rows(bad: Tensor, name: str, why: str, index: Tensor | None = None) -> None:
    """Raise ValueError if any entry of `bad`, bool[N], is true; the message has their number and the first (in `index`
    where given)."""
    count = int(bad.sum())
    if count:
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"{count} of {len(bad)} rows of {name} hold {why}; the first is index "
            f"{first if index is None else int(index[first])}. "
            "Leave these items out or repair their features."
        )


def matrix_vector(matrix: Tensor, vector: Tensor) -> np.ndarray:
    """The product of [n, d] and [d] on the host, [n]; on a CPU with NumPy, which is up to five times as fast as torch
    there."""
    if matrix.device.type == "cpu":
        return matrix.numpy() @ vector.numpy()
    return (matrix @ vector).cpu().numpy()


class Cosine:
    """Cosines among n items in float64: the product, over the factors, of the dot products of unit rows.

    threads: torch's threads for matrix products; None: its current number.
    """

    def __init__(self, factors: tuple[Tensor, ...], threads: int | None = None):
        self.factors, self.threads = factors, threads

    def __len__(self) -> int:
        return len(self.factors[0])

    @property
    def width(self) -> int:
        """Total number of columns of the factors."""
        return sum(factor.shape[1] for factor in self.factors)

    def keep(self, index: np.ndarray) -> None:
        """Keep only the items at `index`, int64[k] ascending; in place, as the factors may take most of the memory."""
        for start in range(0, len(index), _BLOCK_ROWS):
            part = torch.from_numpy(index[start : start + _BLOCK_ROWS])
            for factor in self.factors:
                factor[start : start + len(part)] = factor[part.to(factor.device)]
        self.factors = tuple(factor[: len(index)] for factor in self.factors)

    def row(self, i: int) -> np.ndarray:
        """Cosines of item i to all items, float64[n], on the host."""
        first, *others = (matrix_vector(factor, factor[i]) for factor in self.factors)
        for other in others:
            first *= other
        return first

    def rows_of(self, index: np.ndarray) -> np.ndarray:
        """Cosines of the items at `index`, int64[k], to all items: float64[k, n] on the host."""
        chosen = torch.from_numpy(index).to(self.factors[0].device)
        out = torch.empty(len(index), len(self), dtype=torch.float64)
        with torch_threads(self.threads):
            self._products([factor[chosen] for factor in self.factors], 0, out)
        return out.numpy()

    def column_sums(self, ground: Tensor) -> np.ndarray:
        """Sum of each item's cosines to the items where `ground`, bool[n], is true: float64[n] on the host, in O(n)."""
        if len(self.factors) == 1:
            (x,) = self.factors
            return (x @ (ground.to(x) @ x)).cpu().numpy()
        b, e = self.factors
        return ((b @ ((b * ground.to(b)[:, None]).T @ e)) * e).sum(1).cpu().numpy()

    def matrix(self) -> np.ndarray:
        """All cosines, float64[n, n], on the host; computed once per pair, a block of rows at a time."""
        n = len(self)
        out = torch.empty(n, n, dtype=torch.float64)
        with torch_threads(self.threads):
            for start in range(0, n, _BLOCK_ROWS):
                stop = min(start + _BLOCK_ROWS, n)
                self._products([factor[start:stop] for factor in self.factors], start, out[start:stop, start:])
                # On the same threads: it is bound by memory, and by new memory that is touched for the first time.
                out[stop:, start:stop] = out[start:stop, stop:].T
        return out.numpy()

    def _products(self, rows: list[Tensor], start: int, out: Tensor) -> None:
        """Write the cosines of `rows`, one tensor per factor, to the items from `start` on into `out`, on the host."""
        parts = [(row, factor[start:].T) for row, factor in zip(rows, self.factors, strict=True)]
        if rows[0].device == out.device:
            result = torch.mm(*parts[0], out=out)
        else:
            result = torch.mm(*parts[0])
        for part in parts[1:]:
            result *= torch.mm(*part)
        if result is not out:
            out.copy_(result)


def cosine(features: Features, index: Tensor | None = None, *, threads: int | None = None) -> Cosine:
    """The `Cosine` of `features` (already checked by `check_features`), of the items at `index` if given."""
    if index is not None:
        features = take(features, index)
    elif isinstance(features, FeatureRows):
        features = take(features, torch.arange(len(features)))
    return Cosine(unit_factors(features), threads)


def factors_of(features: Tensor | GradientFeatures) -> tuple[Tensor, ...]:
    """Factors whose inner products multiply to those of the features: [N, D]; for gradients [N, C] and [N, E + 1]."""
    if isinstance(features, Tensor):
        return (features.detach(),)
    # ⟨g_i, g_j⟩ = ⟨b_i, b_j⟩·(1 + ⟨e_i, e_j⟩): the bias gradient is one more embedding column of ones.
    embedding = features.embedding.detach()
    return features.residual.detach(), torch.cat([embedding.new_ones(len(embedding), 1), embedding], 1)


def unit_factors(features: Tensor | GradientFeatures) -> tuple[Tensor, ...]:
    """The factors of a `Cosine`: rows of length 1 in float64, in new memory."""
    return tuple(_unit_rows(factor) for factor in factors_of(features))


def _unit_rows(values: Tensor) -> Tensor:
    unit = values.detach().to(torch.float64, copy=True)
    norm = torch.linalg.vector_norm(unit, dim=1, keepdim=True)
    least, most = torch.stack(torch.aminmax(norm)).tolist()
    if not 1e-140 < least <= most < 1e140:
        # Squares of very small gradients underflow, those of very large ones overflow.
        unit.div_(largest_of(values.detach()).double()[:, None])
        norm = torch.linalg.vector_norm(unit, dim=1, keepdim=True)
    return unit.div_(norm)


def last_layer_residual(logits: Tensor, labels: Tensor, *, softmax_in_loss: bool = False) -> Tensor:
    """Gradient of each item's loss at its logits, float64[N, C], with p = softmax(logits).

    softmax_in_loss=False: the usual cross-entropy (as in DeepCore): b = p − onehot.
    softmax_in_loss=True: as DQ's published code, which feeds p to a cross-entropy that applies softmax again:
    b = p ⊙ (r − ⟨p, r⟩) with r = softmax(p) − onehot. (Its division by the batch size cancels in the cosine.)

    logits: float[N, C]; labels: int[N] in 0..C-1. Raises ValueError for other shapes or labels. Each row sums to zero,
    so its largest entry is computed as minus the sum of the others: accurate relative to the row's norm at any margin,
    where float32, or 1 − p, leaves only rounding noise.
    """
    check_matrix(logits, "logits")
    classes = logits.shape[1]
    label = as_labels(labels, len(logits)).to(logits.device, torch.int64)[:, None]
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
