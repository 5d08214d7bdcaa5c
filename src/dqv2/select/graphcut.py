"""GraphCut selection: DQ's division of a dataset into bins, and the plain greedy order (the GC baseline).

Source: Zhou et al. 2023, Dataset Quantization (section 3.2 and its published code); Iyer et al. 2021 for
GraphCut.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from dqv2.select.similarity import Cosine, Features, GradientFeatures, check_features, cosine

MAX_BYTES = 4 * 2**30
"""Largest similarity matrix held in memory; above it rows are computed on the fly, several times slower."""


def graphcut_bins(
    features: Features,
    labels: Tensor | None = None,
    *,
    n_bins: int = 10,
    lam: float = 1.0,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """Divide the items into bins by GraphCut, exactly as DQ does: int64[N], bin 0 is chosen first.

    With sim(a, b) = 0.5 + 0.5·cos(a, b), bin after bin is filled greedily from what earlier bins left (G):
    the next item maximises lam·Σ_{j∈G} sim(i, j) − 2·Σ_{s∈S} sim(i, s), where S is the open bin so far and G
    stays the same until the bin closes. The last bin is the remainder. Computed in float64; gains that are
    equal up to rounding, as those of exact duplicates are, go to the lowest index, on every device.

    features: float[N, D] or `GradientFeatures`; labels: int[N], or None for one division over all items. Bin
    sizes follow DQ: round(N / n_bins) in all, and with labels round(size / remaining · the class's remaining)
    per class, Python's round; a class of few items may have no item in some bins.
    max_bytes: above n²·8 bytes for n items of one class the matrix is not built; the result is the same.
    The result lies on the device of the features. Raises ValueError for zero, NaN or infinite rows.
    """
    n = check_features(features)
    if isinstance(n_bins, bool) or not isinstance(n_bins, numbers.Integral) or n_bins < 1:
        raise ValueError(f"n_bins must be an integer of at least 1, got {n_bins!r}")
    _check_lam(lam)
    bins = torch.full((n,), int(n_bins) - 1, dtype=torch.int64)
    classes = _classes(labels, n)
    for members, budgets in zip(classes, bin_sizes([len(c) for c in classes], int(n_bins)), strict=True):
        similarity = _of_class(features, members)
        for e, chosen in enumerate(_greedy(similarity, budgets[:-1], lam, max_bytes)):
            bins[members[chosen]] = e
    return bins.to(_device(features))


def graphcut_order(
    features: Features, labels: Tensor | None = None, *, lam: float = 1.0, max_bytes: int = MAX_BYTES
) -> Tensor:
    """Rank of each item in the greedy GraphCut order of its class (0 is chosen first): int64[N].

    The first k of the order are the GC baseline's coreset of k items: one greedy run whose ground set is all
    items of the class throughout. Arguments, ties, device and errors as in `graphcut_bins`.
    """
    n = check_features(features)
    _check_lam(lam)
    rank = torch.empty(n, dtype=torch.int64)
    for members in _classes(labels, n):
        (chosen,) = _greedy(_of_class(features, members), [len(members)], lam, max_bytes)
        rank[members[chosen]] = torch.arange(len(members))
    return rank.to(_device(features))


def bin_sizes(class_counts: Sequence[int], n_bins: int) -> list[list[int]]:
    """DQ's bin sizes, one list of n_bins counts per class; each list sums to the class's count.

    Unlike DQ, which stops with an error, a class may get 0 of a bin, and never more than it has left.
    """
    left = list(class_counts)
    size = round(sum(left) / n_bins)
    sizes: list[list[int]] = [[] for _ in left]
    for _ in range(n_bins - 1):
        fraction = size / max(sum(left), 1)
        for c, count in enumerate(left):
            sizes[c].append(min(round(fraction * count), count))
            left[c] -= sizes[c][-1]
    return [[*taken, rest] for taken, rest in zip(sizes, left, strict=True)]


def _greedy(similarity: Cosine, budgets: Sequence[int], lam: float, max_bytes: int) -> Iterator[torch.Tensor]:
    """Yield for each budget the chosen items, int64[budget] in the order of choice, never an item twice.

    The steps run on the host, one vector update each: their cost is the calls, not the arithmetic.
    """
    n = len(similarity)
    # Rounding moves a gain (below n·max(1, lam) in size) by about eps/2·n in each of up to n updates, and its
    # cosines by about eps·√width, in random directions: about eps·n·√(n + width) in all, here with a margin
    # of 4. At n = 5000 that is 3e-10, where the two best gains differ by less than 1e-3 in about 4 % of the
    # steps, so by less than the tolerance in about one step in 10^8, unless the items are duplicates.
    tolerance = 4 * np.finfo(np.float64).eps * n * math.sqrt(n + similarity.width) * max(1.0, lam)
    items = np.arange(n)  # the item of each row of `similarity`
    free = np.ones(n, dtype=bool)  # which rows no closed bin has taken
    matrix = None
    for budget in budgets:
        if budget == 0:
            yield torch.empty(0, dtype=torch.int64)
            continue
        if matrix is None:
            if not free.all():
                similarity, items = similarity.subset(torch.from_numpy(np.flatnonzero(free))), items[free]
                free = free[free]
            if len(items) ** 2 * 8 <= max_bytes:
                matrix = similarity.matrix()
        row = similarity.row if matrix is None else matrix.__getitem__
        gain = similarity.column_sums(torch.from_numpy(free)) * (lam / 2)
        gain[~free] = -np.inf
        best = np.empty(len(items), dtype=bool)
        chosen = np.empty(budget, dtype=np.int64)
        for step in range(budget):
            np.greater_equal(gain, gain[gain.argmax()] - tolerance, out=best)
            chosen[step] = i = best.argmax()
            np.subtract(gain, row(i), out=gain)
            gain[i] = -np.inf
        free[chosen] = False
        yield torch.from_numpy(items[chosen])


def _classes(labels: Tensor | None, n: int) -> list[Tensor]:
    """Indices of each class, ascending; one class of all items without labels."""
    if labels is None:
        return [torch.arange(n)]
    if not isinstance(labels, Tensor) or labels.is_floating_point() or tuple(labels.shape) != (n,):
        got = f"{labels.dtype} of shape {list(labels.shape)}" if isinstance(labels, Tensor) else type(labels)
        raise ValueError(f"labels must be an integer tensor with one label for each of {n} items, got {got}")
    _, counts = (ordered := labels.cpu().sort(stable=True)).values.unique_consecutive(return_counts=True)
    return list(ordered.indices.split(counts.tolist()))


def _of_class(features: Features, members: Tensor) -> Cosine:
    whole = len(members) == len(features)
    return cosine(features, None if whole else members.to(_device(features)))


def _device(features: Features) -> torch.device:
    return features.residual.device if isinstance(features, GradientFeatures) else features.device


def _check_lam(lam: float) -> None:
    if isinstance(lam, bool) or not isinstance(lam, numbers.Real) or not 0 <= lam < math.inf:
        raise ValueError(f"lam must be a finite number of at least 0, got {lam!r}")
