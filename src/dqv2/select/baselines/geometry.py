"""Orders by the geometry of the features within a class: herding and k-center.

Both need inner products only, so factored last-layer gradients (`GradientFeatures`) serve as well as dense
features, and distances between them are exact though the gradients are never built.
"""

from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from torch import Tensor

from dqv2.select.graphcut import MAX_BYTES, members_of_classes
from dqv2.select.similarity import Cosine, Features, check_finite, device_of, factors_of, take


class Products(Cosine):
    """Inner products ⟨g_i, g_j⟩ in float64: `Cosine`'s arithmetic on rows that keep their lengths."""

    @classmethod
    def of(cls, features: Features, members: Tensor) -> Self:
        """Among the items of `members`, int64[n]."""
        return cls(tuple(factor.double() for factor in factors_of(take(features, members))))

    def squares(self) -> np.ndarray:
        """Squared lengths ⟨g_i, g_i⟩, float64[n], on the host."""
        first, *others = (factor.square().sum(1) for factor in self.factors)
        for other in others:
            first = first * other
        return first.cpu().numpy()

    def means(self) -> np.ndarray:
        """⟨g_i, mean g⟩, float64[n], on the host, in O(n)."""
        return self.column_sums(torch.ones(len(self), dtype=torch.bool)) / len(self)

    def rows(self, max_bytes: int) -> Callable[[int], np.ndarray]:
        """The row of products of an item: from a matrix where n²·8 bytes fit max_bytes, else computed when asked."""
        return self.matrix().__getitem__ if len(self) ** 2 * 8 <= max_bytes else self.row


def herding_order(features: Features, labels: Tensor | None = None, *, max_bytes: int = MAX_BYTES) -> Tensor:
    """Herding rank of each item within its class: int64[N], 0 = chosen first.

    Item k + 1 minimises ‖(k + 1)·μ − Σ_{s∈S} x_s − x‖ over the items not yet chosen: the mean of the chosen
    stays as near the class mean μ as one more item can bring it, and the first is the item nearest to μ.
    Source: Welling 2009, Herding Dynamical Weights to Learn; Chen et al. 2010, Super-Samples from Kernel
    Herding, without replacement as in iCaRL (Rebuffi et al. 2017, algorithm 4). DeepCore computes the same
    norm, but published versions of its code take the item where it is largest.

    features: float[N, D] or `GradientFeatures`; labels: int[N], or None for one order over all items. Sums are
    float64; candidates equal to 1e-12 of the largest squared length, as duplicates are, go to the lowest
    index. max_bytes: above n²·8 for n items of a class, products are computed when needed; same result.
    The result lies on the device of the features. Raises ValueError for NaN or infinite values.
    """
    return order_by_class(features, labels, lambda products: _herd(products, max_bytes))


def k_center_order(
    features: Features,
    labels: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """Farthest-point rank of each item within its class: int64[N], 0 = chosen first.

    Every next item is the one farthest (Euclidean) from its nearest chosen item: the greedy 2-approximation
    of the k-center problem. Source: Sener & Savarese 2018, Active Learning for CNNs: A Core-Set Approach,
    algorithm 1. The start is the item nearest to the class mean; with a generator it is drawn at random in
    each class, as in DeepCore. Other arguments, ties, device and errors as in `herding_order`.
    """

    def one_class(products: Products) -> np.ndarray:
        first = None
        if generator is not None:
            first = int(torch.randint(len(products), (1,), generator=generator, device=generator.device))
        return _spread(products, first, max_bytes)

    return order_by_class(features, labels, one_class)


def first_largest(values: np.ndarray, scale: float) -> int:
    """Lowest index whose value is the largest up to rounding, which is 1e-12 of `scale`.

    A running sum of n terms of size `scale` errs by about eps·√n of it: 2e-14 at n = 5000.
    """
    return int((values >= values.max() - 1e-12 * scale).argmax())


def order_by_class(features: Features, labels: Tensor | None, one_class: Callable[[Products], np.ndarray]) -> Tensor:
    """Rank of each item within its class, int64[N], where `one_class` gives the items of a class in order."""
    n = check_finite(features)
    rank = torch.empty(n, dtype=torch.int64)
    for members in members_of_classes(labels, n):
        rank[members[torch.from_numpy(one_class(Products.of(features, members)))]] = torch.arange(len(members))
    return rank.to(device_of(features))


def _herd(products: Products, max_bytes: int) -> np.ndarray:
    """The items in order. With x centred on μ, ‖S + x‖² is least where −‖x‖²/2 − ⟨x, S⟩ is greatest."""
    row, squares, means = products.rows(max_bytes), products.squares(), products.means()
    scale = squares.max()
    gain = means - squares / 2
    chosen = np.empty(len(gain), dtype=np.int64)
    for step in range(len(gain)):
        chosen[step] = i = first_largest(gain, scale)
        # ⟨x − μ, x_i − μ⟩ but for what is the same for every candidate x.
        gain += means - row(i)
        gain[i] = -np.inf
    return chosen


def _spread(products: Products, first: int | None, max_bytes: int) -> np.ndarray:
    row, squares = products.rows(max_bytes), products.squares()
    scale = squares.max()
    if first is None:
        first = first_largest(2 * products.means() - squares, scale)
    nearest = np.full(len(squares), np.inf)  # squared distance of each item to its nearest chosen one
    chosen = np.empty(len(squares), dtype=np.int64)
    chosen[0] = i = first
    for step in range(1, len(squares)):
        np.minimum(nearest, squares + squares[i] - 2 * row(i), out=nearest)
        nearest[i] = -np.inf
        chosen[step] = i = first_largest(nearest, scale)
    return chosen
