"""Orders by the geometry of the features within a class: herding and k-center.

Both need only inner products, so factored last-layer gradients (`GradientFeatures`) serve as well as dense features,
and distances between them are exact although the gradients are never materialised.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from dqv2.arguments import check_limit, device_of_draws
from dqv2.select.budget import UNRANKED, Budget, class_budgets
from dqv2.select.graphcut import MAX_BYTES, members_of_classes
from dqv2.select.similarity import (
    Array,
    Cosine,
    Features,
    as_features,
    check_features,
    device_of,
    factors_of,
    largest_of,
    matrix_vector,
    take,
)
from dqv2.select.threads import torch_threads

_ROWS = 64  # rows converted to float64 at once, to stay in the CPU's cache
_FEW = 64  # candidates examined first
_NUMBERS = 2**22  # limit on features copied, and on products computed, at once


class Products(Cosine):
    """Inner products ⟨g_i, g_j⟩ in float64: `Cosine`'s arithmetic on rows that keep their lengths.

    given: the factors in their original precision. Converted to float64, which few orders need for all items, they are
    `factors`, computed on first use.
    """

    def __init__(self, given: tuple[Tensor, ...], threads: int | None = None):
        self.given, self.threads = given, threads

    @cached_property
    def factors(self) -> tuple[Tensor, ...]:
        """The factors in float64."""
        return tuple(factor.double() for factor in self.given)

    def __len__(self) -> int:
        return len(self.given[0])

    @property
    def width(self) -> int:
        """Total number of columns of the factors."""
        return sum(factor.shape[1] for factor in self.given)

    @classmethod
    def of(cls, features: Features, members: Tensor, threads: int | None = None) -> Self:
        """The products among the items at `members`, int64[n]; threads: as in `Cosine`."""
        return cls(factors_of(take(features, members, directed=False)), threads)

    def in_range(self) -> Self:
        """Scaled by powers of two, which changes no mantissa, where squares might over- or underflow in float32."""
        powers = [max(math.frexp(float(largest_of(factor).max()))[1], -1000) for factor in self.given]
        if all(abs(power) < 20 for power in powers):
            return self
        scaled = zip(self.given, powers, strict=True)
        return type(self)(tuple(factor.double() * 2.0**-power for factor, power in scaled), self.threads)

    def squares(self) -> np.ndarray:
        """Squared lengths ⟨g_i, g_i⟩, float64[n], on the host."""
        parts = zip(*(factor.split(_ROWS) for factor in self.given), strict=True)
        found = [math.prod(block.double().square().sum(1) for block in blocks) for blocks in parts]
        return torch.cat(found).cpu().numpy()

    def means(self) -> np.ndarray:
        """⟨g_i, mean g⟩, float64[n], on the host, in O(n)."""
        if len(self.given) > 1:
            return self.column_sums(torch.ones(len(self), dtype=torch.bool)) / len(self)
        blocks = self.given[0].split(_ROWS)
        mean = sum(block.double().sum(0) for block in blocks) / len(self)
        return torch.cat([block.double() @ mean for block in blocks]).cpu().numpy()

    def rows(self, max_bytes: int, count: int) -> Callable[[int], np.ndarray]:
        """A function from an item to its row of products, for `count` calls: looked up in a matrix, or computed."""
        # One row in 8 takes about as long as the whole matrix: each is a pass over all features
        whole = len(self) ** 2 * 8 <= max_bytes and 8 * count > len(self)
        return self.matrix().__getitem__ if whole else self.row

    def between(self, index: np.ndarray, others: np.ndarray) -> np.ndarray:
        """⟨g_i, g_j⟩ of the items at `index`, int64[k], with those at `others`, int64[m]: float64[k, m] on the host."""
        out = None
        for factor in self.given:
            rows, columns = (factor[torch.from_numpy(each).to(factor.device)].double() for each in (index, others))
            out = rows @ columns.T if out is None else out * (rows @ columns.T)
        return out.cpu().numpy()

    def of_pairs(self, index: np.ndarray, others: np.ndarray) -> np.ndarray:
        """⟨g_i, g_j⟩ of the pairs (index[m], others[m]), each int64[k]: float64[k] on the host."""
        most = max(1, _NUMBERS // self.width)
        if len(index) > most:
            starts = range(0, len(index), most)
            return np.concatenate([self.of_pairs(index[k : k + most], others[k : k + most]) for k in starts])
        both, found = torch.from_numpy(np.concatenate([index, others])), np.ones(len(index))
        for factor in self.given:
            rows = factor[both.to(factor.device)].double().cpu().numpy()
            found *= np.einsum("kd,kd->k", rows[: len(index)], rows[len(index) :])
        return found

    def weighted_sums(self, index: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Σ_j w_j·⟨g_i, g_j⟩ over the items at `index`, int64[k], for every item i: float64[n] on the host."""
        first, *others = self.factors
        chosen, weight = (torch.from_numpy(each).to(first.device) for each in (index, weights))
        rows = first[chosen] * weight[:, None]
        if not others:
            return matrix_vector(first, rows.sum(0))
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

    Item k + 1 minimises ‖(k + 1)·μ − Σ_{s∈S} x_s − x‖ over the items not yet chosen: it brings the mean of the chosen
    as near to the class mean μ as one more item can. The first is the item nearest to μ. Source: Welling 2009, Herding
    Dynamical Weights to Learn; Chen et al. 2010, Super-Samples from Kernel Herding, without replacement as in iCaRL
    (Rebuffi et al. 2017, algorithm 4). DeepCore computes the same norm, but published versions of its code take the
    item where it is largest.

    features: float[N, D] (a tensor, or a NumPy array, which may be memory-mapped and is read class by class),
    `GradientFeatures`, or `FeatureRows`, which are computed class by class. labels: int[N], or None for one order over
    all items. Sums are float64; candidates that differ by at most 1e-12 of the largest squared length, such as
    duplicates, go to the lowest index. So where all features share an offset of 10^6 times their spread, most
    candidates count as equal: subtract the mean first. budget: the number of items to rank, shared among the classes by
    largest remainder as in `sample_ranked`, or int64[C], one number per class by ascending label; None ranks all.
    Ranked items have the ranks that they have without a budget, the others `dqv2.select.budget.UNRANKED`, the largest
    int64, which `sample_ranked` refuses to choose. max_bytes: where n²·8 for a class of n items exceeds it, products
    are computed when needed, with the same result.

    The result is on the device of the features. Raises ValueError for NaN or infinite values, and for other shapes,
    labels, budgets or max_bytes.
    """
    return order_by_class(features, labels, budget, max_bytes, lambda items, count: _herd(items, count, max_bytes))


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
    each class, as in DeepCore. Other arguments, ties, offsets, device and errors as in `herding_order`.
    """

    def one_class(products: Products, count: int) -> np.ndarray:
        first = None
        if generator is not None:
            first = int(torch.randint(len(products), (1,), generator=generator, device=device_of_draws(generator)))
        return _spread(products, first, count, max_bytes)

    return order_by_class(features, labels, budget, max_bytes, one_class)


def first_largest(values: np.ndarray, scale: float) -> int:
    """Lowest index whose value is the largest up to rounding, taken as 1e-12 of `scale`.

    A running sum of n terms of size `scale` errs by about eps·√n of it: 2e-14 at n = 5000.
    """
    return int((values >= values.max() - 1e-12 * scale).argmax())


def order_by_class(
    features: Features | Array,
    labels: Tensor | Array | None,
    budget: Budget,
    max_bytes: int,
    one_class: Callable[[Products, int], np.ndarray],
) -> Tensor:
    """Rank of each item within its class, int64[N], `UNRANKED` beyond the budget.

    one_class: from the products of a class and a count to the indices of that many items, in order, int64[count].
    max_bytes: what it may hold; only checked here.
    """
    check_limit(max_bytes, "max_bytes")
    features, threads = as_features(features), torch.get_num_threads()
    n = check_features(features, directed=False)
    classes = members_of_classes(labels, n)
    rank = torch.full((n,), UNRANKED)
    with torch_threads(1):  # except for passes over all features: a small operation split over threads is slower
        for members, count in zip(classes, class_budgets(budget, [len(each) for each in classes]), strict=True):
            # Also called for a count of 0: the class's values are checked, and its start may be drawn
            chosen = one_class(Products.of(features, members, threads), count)
            rank[members[torch.from_numpy(chosen)]] = torch.arange(count)
    return rank.to(device_of(features))


def _herd(products: Products, count: int, max_bytes: int) -> np.ndarray:
    """`count` items in order. With x centred on μ, ‖S + x‖² is smallest where −‖x‖²/2 − ⟨x, S⟩ is largest."""
    products = products.in_range()
    row, squares, means = products.rows(max_bytes, count), products.squares(), products.means()
    scale = squares.max()
    gain = means - squares / 2
    chosen = np.empty(count, dtype=np.int64)
    for step in range(count):
        chosen[step] = i = first_largest(gain, scale)
        if step + 1 < count:
            # ⟨x − μ, x_i − μ⟩, up to terms that are the same for every candidate x.
            gain += means - row(i)
            gain[i] = -np.inf
    return chosen


def _spread(products: Products, first: int | None, count: int, max_bytes: int) -> np.ndarray:
    """`count` items, each the farthest from those before it."""
    if count == 0:
        return np.empty(0, dtype=np.int64)
    products = products.in_range()
    squares = products.squares()
    if first is None:
        first = first_largest(2 * products.means() - squares, squares.max())
    # With many picks every item gets a near one; with few, most items' distances need no update
    many = 16 * count > len(squares) and 4 * count * len(squares) <= max_bytes
    return (_spread_in_rows if many else _spread_at_the_edge)(products, squares, first, count)


def _spread_in_rows(products: Products, squares: np.ndarray, first: int, count: int) -> np.ndarray:
    """`_spread` with a row of approximate distances for each pick, in a float32[count, n] matrix.

    On a CPU rows are computed in float32, at twice the speed, and used as bounds: rounding changes a sum of d products,
    in any order, by at most γ_d = d·u / (1 - d·u) times the sum of their absolute values (Higham 2002, section 3.1),
    which is at most (‖x‖² + ‖y‖²) / 2. Only where the bounds leave several candidates for the farthest item are their
    relevant distances computed in float64.
    """
    scale, bounds = squares.max(), _rough_rows(products, squares)
    chosen = np.empty(count, dtype=np.int64)
    low = np.empty((count, len(squares)), np.float32)  # lower bounds of each pick's distances; inf once in `exact`
    least, most, exact = (np.full(len(squares), np.inf) for _ in range(3))  # of the distance to the nearest pick
    chosen[0] = i = first
    for step in range(1, count):
        low[step - 1], high = bounds(i)
        np.minimum(least, low[step - 1], out=least)
        np.minimum(most, high, out=most)
        least[i] = most[i] = -np.inf
        index = np.flatnonzero(most >= least.max() - 1e-12 * scale)
        if len(index) > 1:
            picks, place = np.nonzero(low[:step, index] <= most[index])
            item = index[place]
            low[picks, item] = np.inf
            found = squares[item] + squares[chosen[picks]] - 2 * products.of_pairs(item, chosen[picks])
            np.minimum.at(exact, item, found)
            least[index] = most[index] = exact[index]
            index = index[first_largest(exact[index], scale) :]
        chosen[step] = i = index[0]
    return chosen


def _rough_rows(products: Products, squares: np.ndarray) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """A function from an item to lower and upper bounds on the squared distances of all items to it, float64[n] each,
    from a row of products in float32; in float64 on GPUs, which may round more."""
    dtype = torch.float32 if products.given[0].device.type == "cpu" else torch.float64
    factors = [factor.to(dtype) for factor in products.given]
    terms = (products.width + 16) * torch.finfo(dtype).eps / 2

    def bounds(i: int) -> tuple[np.ndarray, np.ndarray]:
        row, *others = (matrix_vector(factor, factor[i]) for factor in factors)
        for other in others:
            row *= other
        sizes = squares + squares[i]
        distance, error = sizes - 2.0 * row, terms / (1 - terms) * sizes
        return distance - error, distance + error

    return bounds


def _spread_at_the_edge(products: Products, squares: np.ndarray, first: int, count: int) -> np.ndarray:
    """`_spread` with only the distances of the items that may be the farthest."""
    chosen = np.empty(count, dtype=np.int64)
    nearest = np.full(len(squares), np.inf)  # squared distance of each item to its nearest chosen one
    seen = np.zeros(len(squares), dtype=np.int64)  # how many of the chosen items `nearest` accounts for
    chosen[0] = i = first
    scale = squares.max()
    for step in range(1, count):
        nearest[i] = -np.inf
        _see_farthest(products, squares, chosen[:step], nearest, seen, 1e-12 * scale)
        chosen[step] = i = first_largest(nearest, scale)
    return chosen


def _see_farthest(
    products: Products, squares: np.ndarray, chosen: np.ndarray, nearest: np.ndarray, seen: np.ndarray, slack: float
) -> None:
    """Update `nearest` in place, for the items that may be the farthest.

    The distance to the nearest chosen item only falls, so one computed from the first of them is an upper bound: most
    items never come close to the farthest, and the products of the others are computed many at a time.
    """
    best, width = -np.inf, _FEW
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
