"""Coresets that approximate the full gradient: GradMatch and CRAIG, class by class.

Only inner products of gradients are used, and those factor (see `GradientFeatures`), so that the gradients
themselves, C·(E + 1) numbers per item, are never materialised.
"""

import math
from collections.abc import Callable

import numpy as np
import scipy
import torch
from torch import Tensor

from dqv2.apportion import largest_remainder
from dqv2.arguments import as_tensor, check_limit, check_vector, is_number
from dqv2.select.baselines.geometry import Products, first_largest, order_by_class
from dqv2.select.budget import Budget
from dqv2.select.graphcut import MAX_BYTES, members_of_classes
from dqv2.select.sampling import keep_count
from dqv2.select.similarity import Array, Features, as_features, check_features, device_of

_BATCH, _ROWS = 32, 256


def gradmatch(
    features: Features | Array,
    labels: Tensor | Array | None,
    keep: float | int,
    *,
    lam: float = 1.0,
    max_bytes: int = MAX_BYTES,
) -> tuple[Tensor, Tensor]:
    """GradMatch: the items, and their weights, whose weighted gradients sum to the class's mean gradient.

    Within a class orthogonal matching pursuit minimises ‖Σ w_i·g_i − mean g‖² + lam·‖w‖²: it adds the item whose
    gradient has the largest inner product with the residual of the mean (signed, as weights should be positive), then
    solves for all weights so far, of either sign; once all items of the class are chosen, the weights are solved again
    under w ≥ 0. Source: Killamsetty et al. 2021, GRAD-MATCH, algorithm 2, in its per-class, last-layer form; order of
    steps as in DeepCore. Two differences from DeepCore's code: items whose final weight is 0 stay (it drops them and
    misses the requested size), and the last solve minimises the function above, not the residual of its normal
    equations.

    features, labels, max_bytes: as in `herding_order`; keep: a ratio or a count as in `sample_bins`, K exact and shared
    among the classes by largest remainder; lam: above 0, in units of a squared gradient (DeepCore: 1). Where chosen
    gradients depend on one another, lam must be above the rounding of their squares: of k chosen, about k·2e-16·‖g‖².
    Ties up to rounding go to the lowest index.

    Returns:
        Sorted indices, int64[K], and their weights, float64[K] of at least 0, on the device of the features.

    Raises ValueError for NaN or infinite values, squares that overflow, other shapes, keep, lam or
    max_bytes out of range.
    """
    features = as_features(features)
    n = check_features(features, directed=False)
    _check_lam(lam)
    check_limit(max_bytes, "max_bytes")
    classes = members_of_classes(labels, n)
    counts = largest_remainder(torch.tensor([len(c) for c in classes]), keep_count(keep, n))
    weights = torch.full((n,), -1.0, dtype=torch.float64)  # -1: not chosen
    for members, count in zip(classes, counts.tolist(), strict=True):
        if count:
            chosen, weight = _pursue(Products.of(features, members), count, float(lam), max_bytes)
            weights[members[torch.from_numpy(chosen)]] = torch.from_numpy(weight)
    indices = (weights >= 0).nonzero().flatten()
    return indices.to(device_of(features)), weights[indices].to(device_of(features))


def gradmatch_order(
    features: Features | Array,
    labels: Tensor | Array | None = None,
    *,
    lam: float = 1.0,
    budget: Budget = None,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """GradMatch's rank of each item within its class: int64[N], 0 = chosen first.

    Each step of the pursuit depends only on the steps before it, so the first k of the order are the k items of
    `gradmatch`; for their weights see `gradmatch_weights`. Ranking k items of a class of n takes k²·8 bytes, plus k·n·8
    where that is at most max_bytes. budget: as in `herding_order`. Other arguments, ties, device and errors as in
    `gradmatch`.
    """
    _check_lam(lam)

    def one_class(items: Products, count: int) -> np.ndarray:
        return _pursue(items, count, float(lam), max_bytes, weigh=False)[0]

    return order_by_class(features, labels, budget, max_bytes, one_class)


def _check_lam(lam: float) -> None:
    if not is_number(lam) or not 0 < lam < math.inf:
        raise ValueError(f"lam must be a finite number above 0 (it keeps duplicates solvable), got {lam!r}")


def craig_order(
    features: Features | Array,
    labels: Tensor | Array | None = None,
    *,
    budget: Budget = None,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """CRAIG rank of each item within its class: int64[N], 0 = chosen first.

    Greedy facility location: the next item is the one that lowers Σ_i min_{s∈S} ‖g_i − g_s‖ the most, the sum over the
    class of the distances to the nearest chosen item; the first is the medoid. Exact: the lazy evaluation (gains only
    fall, so earlier ones are upper bounds) changes no result. Source: Mirzasoleiman et al. 2020, Coresets for
    Data-efficient Training of Machine Learning Models, algorithm 1, per class as in DeepCore, whose similarity is the
    largest distance minus the distance.

    features, labels, budget: as in `herding_order`. Gains equal up to rounding go to the lowest index. Distances below
    3e-7 of the items' lengths count as 0: subtract the mean of features that share a large offset. The result lies on
    the device of the features. Raises ValueError for NaN or infinite values, other arguments as in `herding_order`,
    and a class whose n²·8 bytes of distances exceed max_bytes.
    """

    def one_class(items: Products, count: int) -> np.ndarray:
        if len(items) ** 2 * 8 > max_bytes:
            raise ValueError(
                f"{len(items)} items of one class need {len(items) ** 2 * 8 / 2**30:.1f} GiB of distances, more "
                f"than max_bytes = {max_bytes}: give labels so that classes are smaller, or raise max_bytes"
            )
        return _facilities(distances(items.in_range()), count) if count else np.empty(0, dtype=np.int64)

    return order_by_class(features, labels, budget, max_bytes, one_class)


def gradmatch_weights(
    features: Features | Array, labels: Tensor | Array | None, chosen: Tensor | Array, *, lam: float = 1.0
) -> Tensor:
    """The weights of chosen items with which their gradients sum to those of their class: float64[K], at least 0.

    Those of `gradmatch` times the number of items of the class: `gradmatch` matches a class's mean gradient, while in a
    training each class should count by its size. chosen: int64[K], distinct indices among the N items (ValueError
    otherwise). Other arguments and errors as in `gradmatch`.
    """
    _check_lam(lam)
    return _weigh(features, labels, chosen, lambda items, own: len(items) * _matched(items, own, float(lam)))


def craig_weights(
    features: Features | Array,
    labels: Tensor | Array | None,
    chosen: Tensor | Array,
    *,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """How many items of its class are nearest to each chosen item, itself included: float64[K], with sum N where every
    class has a chosen item.

    Source: Mirzasoleiman et al. 2020, algorithm 1, line 8. Ties go to the chosen item of the lowest index. max_bytes:
    where the n²·8 bytes of a class of n items exceed it, only distances to chosen items are computed, whose rounding
    may differ. Other arguments and errors as in `gradmatch_weights`.
    """
    check_limit(max_bytes, "max_bytes")

    def one_class(items: Products, own: np.ndarray) -> np.ndarray:
        if len(items) ** 2 * 8 > max_bytes:
            nearest = distances(items.in_range(), own).argmin(0)
        else:
            nearest = distances(items.in_range())[own].argmin(0)
        return np.bincount(nearest, minlength=len(own)).astype(np.float64)

    return _weigh(features, labels, chosen, one_class)


def _weigh(
    features: Features | Array,
    labels: Tensor | Array | None,
    chosen: Tensor | Array,
    one_class: Callable[[Products, np.ndarray], np.ndarray],
) -> Tensor:
    """Weights of the chosen, class by class.

    one_class: from the products of a class and the indices of its chosen items, int64[k], to their weights, float64[k].
    """
    features = as_features(features)
    n, chosen = check_features(features, directed=False), as_tensor(chosen)
    weights = torch.empty(check_vector(chosen, "chosen"), dtype=torch.float64)
    chosen = chosen.cpu().long()
    if len(chosen.unique()) < len(chosen) or not bool(((chosen >= 0) & (chosen < n)).all()):
        raise ValueError(f"chosen must be different places among the {n} items, 0 to {n - 1}")
    place = torch.full((n,), -1)
    place[chosen] = torch.arange(len(chosen))
    for members in members_of_classes(labels, n):
        own = (place[members] >= 0).nonzero().flatten()
        if len(own):
            found = one_class(Products.of(features, members), own.numpy())
            weights[place[members[own]]] = torch.from_numpy(found)
    return weights.to(device_of(features))


def _matched(products: Products, chosen: np.ndarray, lam: float) -> np.ndarray:
    """Non-negative weights of chosen items for their class's mean, float64[k]."""
    _check_squares(products.squares())
    among = np.stack([products.row(int(i))[chosen] for i in chosen])
    try:
        factor = np.linalg.cholesky(among + lam * np.eye(len(chosen)))
    except np.linalg.LinAlgError:
        factor = np.zeros_like(among)
    _check_pivots(factor.diagonal() ** 2, among.diagonal(), np.arange(1, len(chosen) + 1), lam)
    rhs = scipy.linalg.solve_triangular(factor, products.means()[chosen], lower=True)
    return scipy.optimize.nnls(np.ascontiguousarray(factor.T), rhs, maxiter=30 * len(chosen))[0]


def _check_squares(squares: np.ndarray) -> None:
    """Raise ValueError where squared gradients, or sums of them, overflow."""
    if not np.isfinite(squares.sum()):
        raise ValueError("the features are too large: their squares overflow; scale them down, and lam with them")


def _check_pivots(pivots: np.ndarray, squares: np.ndarray, terms: np.ndarray | int, lam: float) -> None:
    """Raise ValueError unless the squared diagonal of a Cholesky factor is more than rounding: it is at least lam, and
    each entry is what so many `terms` leave of a squared gradient + lam."""
    if not np.all(pivots > np.finfo(np.float64).eps * terms * squares):
        raise ValueError(
            f"lam = {lam:g} is negligible next to squared gradients of up to {np.max(squares):.3g}: raise it, or scale "
            "the features down"
        )


def distances(products: Products, index: np.ndarray | None = None) -> np.ndarray:
    """Euclidean distances of the items at `index`, int64[k] (None: of all n), to all: float64[k, n], 0 to itself."""
    if index is None:
        out, index = products.matrix(), np.arange(len(products))
        squares = out.diagonal().copy()
    else:
        out, squares = products.rows_of(index), products.squares()
    for start in range(0, len(out), _ROWS):  # in blocks, so that no second matrix is held
        block, own = out[start : start + _ROWS], squares[index[start : start + _ROWS], None]
        block *= -2
        block += squares
        block += own
        # Between duplicates cancellation leaves rounding errors, which the square root would magnify.
        block[block < 1e-13 * np.maximum(squares, own)] = 0
    out[np.arange(len(out)), index] = 0
    return np.sqrt(out, out=out)


def _pursue(
    products: Products, count: int, lam: float, max_bytes: int, *, weigh: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """`count` items in the order of choice and, if `weigh`, their non-negative weights, else None."""
    squares, target, n = products.squares(), products.means(), len(products)
    _check_squares(squares)
    # Rows of the chosen are kept where there are many, or where the features are factored, as weighted sums over
    # factors cost more than the rows. Else one pass over the features per step suffices, however many are chosen.
    keeps = count * n * 8 <= max_bytes and (16 * count > n or len(products.given) > 1)
    row, rows = products.rows(max_bytes, count), np.empty((count if keeps else 0, n))
    factor = np.zeros((count, count))  # lower Cholesky factor of the chosen's products + lam·I
    rhs = np.empty(count)  # factor⁻¹ · target of the chosen
    chosen = np.empty(count, dtype=np.int64)
    free = np.ones(n, dtype=bool)
    left = target.copy()  # products of all items with the residual of the mean
    scale = squares.max()  # of rounding: the terms of a mean may cancel
    for k in range(count):
        chosen[k] = i = first_largest(np.where(free, left, -np.inf), scale)
        free[i] = False
        if keeps:
            rows[k] = row(i)
        if k:
            among = rows[:k, i] if keeps else products.between(chosen[:k], chosen[k : k + 1])[:, 0]
            factor[k, :k] = scipy.linalg.solve_triangular(factor[:k, :k], among, lower=True, check_finite=False)
        # The Schur complement is at least lam; rounding may say a little less.
        pivot = squares[i] + lam - factor[k, :k] @ factor[k, :k]
        _check_pivots(pivot, squares[i], k + 1, lam)
        factor[k, k] = math.sqrt(max(pivot, lam))
        rhs[k] = (target[i] - factor[k, :k] @ rhs[:k]) / factor[k, k]
        if k + 1 < count:
            size = k + 1
            weight = scipy.linalg.solve_triangular(
                factor[:size, :size], rhs[:size], lower=True, trans="T", check_finite=False
            )
            left = target - (weight @ rows[:size] if keeps else products.weighted_sums(chosen[:size], weight))
    if not weigh:
        return chosen, None
    # ‖factorᵀ·w − rhs‖² is the objective up to a constant.
    return chosen, scipy.optimize.nnls(np.ascontiguousarray(factor.T), rhs, maxiter=30 * count)[0]


def _facilities(distance: np.ndarray, count: int) -> np.ndarray:
    """`count` items, at least 1, each the one that shortens the sum of the distances to the nearest the most."""
    n = len(distance)
    total = distance.sum(1)
    chosen = np.empty(count, dtype=np.int64)
    chosen[0] = i = first_largest(-total, total.max())
    nearest = distance[i].copy()
    bound = np.full(n, np.inf)  # at least the gain of each item; -inf once chosen
    bound[i] = -np.inf
    for step in range(1, count):
        tolerance = 1e-12 * total.max()
        stale = bound > -np.inf
        best = -np.inf
        while True:
            index = np.flatnonzero(stale & (bound >= best - tolerance))
            if len(index) == 0:
                break
            if len(index) > _BATCH:
                index = index[np.argpartition(-bound[index], _BATCH)[:_BATCH]]
            bound[index] = np.maximum(nearest - distance[index], 0).sum(1)
            stale[index] = False
            best = max(best, bound[index].max())
        chosen[step] = i = int((bound >= best - tolerance).argmax())
        np.minimum(nearest, distance[i], out=nearest)
        bound[i] = -np.inf
    return chosen
