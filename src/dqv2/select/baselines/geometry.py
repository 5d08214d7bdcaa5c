"""Orders by the geometry of the features within a class: herding and k-center.

Both need inner products only, so factored last-layer gradients (`GradientFeatures`) serve as well as dense
features, and distances between them are exact though the gradients are never built.
"""

from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from torch import Tensor

from dqv2.select.budget import UNRANKED, Budget, class_budgets
from dqv2.select.graphcut import MAX_BYTES, members_of_classes
from dqv2.select.similarity import (
    Array,
    Cosine,
    Features,
    as_features,
    check_finite,
    device_of,
    factors_of,
    take,
    torch_threads,
)

_FEW, _NUMBERS = 64, 2**22  # items looked at first; features copied, and products computed, at once


class Products(Cosine):
    """Inner products ⟨g_i, g_j⟩ in float64: `Cosine`'s arithmetic on rows that keep their lengths."""

    @classmethod
    def of(cls, features: Features, members: Tensor, threads: int | None = None) -> Self:
        """Among the items of `members`, int64[n]; threads: as in `Cosine`."""
        return cls(tuple(factor.double() for factor in factors_of(take(features, members, directed=False))), threads)

    def squares(self) -> np.ndarray:
        """Squared lengths ⟨g_i, g_i⟩, float64[n], on the host."""
        first, *others = (factor.square().sum(1) for factor in self.factors)
        for other in others:
            first = first * other
        return first.cpu().numpy()

    def means(self) -> np.ndarray:
        """⟨g_i, mean g⟩, float64[n], on the host, in O(n)."""
        return self.column_sums(torch.ones(len(self), dtype=torch.bool)) / len(self)

    def keep_matrix(self, max_bytes: int, count: int) -> bool:
        """Whether a matrix fits and `count` rows are more than one in 16, which take about as long by themselves: each
        is a pass over all features."""
        return len(self) ** 2 * 8 <= max_bytes and 16 * count > len(self)

    def rows(self, max_bytes: int, count: int) -> Callable[[int], np.ndarray]:
        """The row of products of an item, of which `count` will be asked for: from a matrix, or computed when asked."""
        return self.matrix().__getitem__ if self.keep_matrix(max_bytes, count) else self.row

    def between(self, index: np.ndarray, others: np.ndarray) -> np.ndarray:
        """⟨g_i, g_j⟩ of the items of `index`, int64[k], with `others`, int64[m]: float64[k, m] on the host."""
        out = None
        for factor in self.factors:
            rows, columns = (factor[torch.from_numpy(each).to(factor.device)] for each in (index, others))
            out = rows @ columns.T if out is None else out * (rows @ columns.T)
        return out.cpu().numpy()

    def weighted_sums(self, index: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Σ_j w_j·⟨g_i, g_j⟩ over the items of `index`, int64[k], for every item i: float64[n] on the host."""
        first, *others = self.factors
        chosen, weight = (torch.from_numpy(each).to(first.device) for each in (index, weights))
        rows = first[chosen] * weight[:, None]
        if not others:
            total = rows.sum(0)
            with torch_threads(self.threads):
                return (first @ total).cpu().numpy()
        (other,) = others
        with torch_threads(self.threads):
            return ((first @ (rows.T @ other[chosen])) * other).sum(1).cpu().numpy()


def herding_order(
    features: Features | Array,
    labels: Tensor | Array | None = None,
    *,
    budget: Budget = None,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """Herding rank of each item within its class: int64[N], 0 = chosen first.

    Item k + 1 minimises ‖(k + 1)·μ − Σ_{s∈S} x_s − x‖ over the items not yet chosen: the mean of the chosen
    stays as near the class mean μ as one more item can bring it, and the first is the item nearest to μ.
    Source: Welling 2009, Herding Dynamical Weights to Learn; Chen et al. 2010, Super-Samples from Kernel
    Herding, without replacement as in iCaRL (Rebuffi et al. 2017, algorithm 4). DeepCore computes the same
    norm, but published versions of its code take the item where it is largest.

    features: float[N, D], `GradientFeatures`, or `FeatureRows`, which are read or made class by class, as are those of
    a numpy array, which may be memory-mapped; labels: int[N], or None for one order over all items. Sums are
    float64; candidates equal to 1e-12 of the largest squared length, as duplicates are, go to the lowest
    index.
    budget: how many items are ranked, in all, shared among the classes as `sample_ranked` does it (by largest
    remainder), or int64[C] a class, by ascending label; None ranks all. Those ranked have the ranks that they have
    without a budget, the others `dqv2.select.budget.UNRANKED`, the largest int64, which `sample_ranked` refuses to
    choose.
    max_bytes: above n²·8 for n items of a class, products are computed when needed; same result.
    The result lies on the device of the features. Raises ValueError for NaN or infinite values.
    """
    return order_by_class(features, labels, budget, lambda items, count: _herd(items, count, max_bytes))


def k_center_order(
    features: Features | Array,
    labels: Tensor | Array | None = None,
    *,
    generator: torch.Generator | None = None,
    budget: Budget = None,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """Farthest-point rank of each item within its class: int64[N], 0 = chosen first.

    Every next item is the one farthest (Euclidean) from its nearest chosen item: the greedy 2-approximation
    of the k-center problem. Source: Sener & Savarese 2018, Active Learning for CNNs: A Core-Set Approach,
    algorithm 1. The start is the item nearest to the class mean; with a generator it is drawn at random in
    each class, as in DeepCore. Other arguments, ties, device and errors as in `herding_order`.
    """

    def one_class(products: Products, count: int) -> np.ndarray:
        first = None
        if generator is not None:
            first = int(torch.randint(len(products), (1,), generator=generator, device=generator.device))
        return _spread(products, first, count, max_bytes)

    return order_by_class(features, labels, budget, one_class)


def first_largest(values: np.ndarray, scale: float) -> int:
    """Lowest index whose value is the largest up to rounding, which is 1e-12 of `scale`.

    A running sum of n terms of size `scale` errs by about eps·√n of it: 2e-14 at n = 5000.
    """
    return int((values >= values.max() - 1e-12 * scale).argmax())


def order_by_class(
    features: Features | Array,
    labels: Tensor | Array | None,
    budget: Budget,
    one_class: Callable[[Products, int], np.ndarray],
) -> Tensor:
    """Rank of each item within its class, int64[N], where `one_class` gives so many items of a class in order."""
    features, threads = as_features(features), torch.get_num_threads()
    n = check_finite(features)
    classes = members_of_classes(labels, n)
    rank = torch.full((n,), UNRANKED)
    with torch_threads(1):  # but for passes over all features: small steps shared by threads wait for the slowest
        for members, count in zip(classes, class_budgets(budget, [len(each) for each in classes]), strict=True):
            # A class of which nothing is ranked is read too: its values are checked, its start may be drawn
            chosen = one_class(Products.of(features, members, threads), count)
            rank[members[torch.from_numpy(chosen)]] = torch.arange(count)
    return rank.to(device_of(features))


def _herd(products: Products, count: int, max_bytes: int) -> np.ndarray:
    """`count` items in order. With x centred on μ, ‖S + x‖² is least where −‖x‖²/2 − ⟨x, S⟩ is greatest."""
    row, squares, means = products.rows(max_bytes, count), products.squares(), products.means()
    scale = squares.max()
    gain = means - squares / 2
    chosen = np.empty(count, dtype=np.int64)
    for step in range(count):
        chosen[step] = i = first_largest(gain, scale)
        if step + 1 < count:
            # ⟨x − μ, x_i − μ⟩ but for what is the same for every candidate x.
            gain += means - row(i)
            gain[i] = -np.inf
    return chosen


def _spread(products: Products, first: int | None, count: int, max_bytes: int) -> np.ndarray:
    """`count` items, each the farthest from those before it."""
    squares, chosen = products.squares(), np.empty(count, dtype=np.int64)
    if count == 0:
        return chosen
    scale = squares.max()
    if first is None:
        first = first_largest(2 * products.means() - squares, scale)
    in_matrix, row = products.keep_matrix(max_bytes, count), products.rows(max_bytes, count)
    nearest = np.full(len(squares), np.inf)  # squared distance of each item to its nearest chosen one
    seen = np.zeros(len(squares), dtype=np.int64)  # how many of the chosen it takes account of, where these are less
    chosen[0] = i = first
    for step in range(1, count):
        if in_matrix or step == 1:
            np.minimum(nearest, squares + squares[i] - 2 * row(i), out=nearest)
            seen[:] = step
        nearest[i] = -np.inf
        if not in_matrix:
            _see_farthest(products, squares, chosen[:step], nearest, seen)
        chosen[step] = i = first_largest(nearest, scale)
    return chosen


def _see_farthest(
    products: Products, squares: np.ndarray, chosen: np.ndarray, nearest: np.ndarray, seen: np.ndarray
) -> None:
    """Bring `nearest` up to date where the largest are, in place.

    A distance to the nearest chosen item only falls, so one that takes account of the first of them alone bounds it
    from above: most items never come near the farthest, and the others' products are computed many at a time.
    """
    best, width = -np.inf, _FEW
    slack = 1e-12 * squares.max()
    while True:
        index = np.flatnonzero((nearest >= best - slack) & (seen < len(chosen)) & (nearest > -np.inf))
        if len(index) == 0:
            return
        if len(index) > width:
            index = index[np.argpartition(-nearest[index], width)[:width]]
            width *= 4
        others = chosen[seen[index].min() :]
        for part in np.array_split(index, -(-len(index) * max(len(others), products.width) // _NUMBERS)):
            found = squares[part, None] + squares[others] - 2 * products.between(part, others)
            nearest[part] = np.minimum(nearest[part], found.min(1))
        seen[index] = len(chosen)
        best = max(best, nearest[index].max())
