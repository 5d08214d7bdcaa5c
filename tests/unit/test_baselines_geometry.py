"""Herding and k-center against plain evaluations of their definitions on whole vectors."""

import numpy as np
import pytest
import torch

from dqv2 import GradientFeatures, herding_order, k_center_order


def case(seed):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 30)), int(rng.integers(1, 6))
    # Whole numbers: ties and duplicates are common, and squares exact.
    x = rng.integers(-2, 3, (n, d)).astype(float) if seed % 2 else rng.normal(size=(n, d)) + 3
    return x, rng.integers(0, 3, n)


def first_best(cost, rest):
    return next(i for i in rest if cost[i] <= min(cost[j] for j in rest) + 1e-10)


def herding(x):
    chosen = []
    while len(chosen) < len(x):
        rest = [i for i in range(len(x)) if i not in chosen]
        target = (len(chosen) + 1) * x.mean(0)
        chosen.append(first_best({i: ((target - x[chosen].sum(0) - x[i]) ** 2).sum() for i in rest}, rest))
    return chosen


def k_center(x):
    chosen = []
    while len(chosen) < len(x):
        rest = [i for i in range(len(x)) if i not in chosen]
        if chosen:
            cost = {i: -min(((x[i] - x[s]) ** 2).sum() for s in chosen) for i in rest}
        else:
            cost = {i: ((x[i] - x.mean(0)) ** 2).sum() for i in rest}
        chosen.append(first_best(cost, rest))
    return chosen


def per_class(order, x, labels):
    rank = np.empty(len(x), int)
    for c in set(labels.tolist()):
        members = np.flatnonzero(labels == c)
        rank[members[order(x[members])]] = range(len(members))
    return rank.tolist()


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize(("order", "oracle"), [(herding_order, herding), (k_center_order, k_center)])
def test_orders_equal_their_definition(order, oracle, seed):
    x, labels = case(seed)
    rank = order(torch.from_numpy(x))
    assert rank.dtype == torch.int64
    assert rank.tolist() == per_class(oracle, x, np.zeros(len(x)))
    classes = order(torch.from_numpy(x), torch.from_numpy(labels))
    assert classes.tolist() == per_class(oracle, x, labels)
    assert order(torch.from_numpy(x), torch.from_numpy(labels), max_bytes=0).tolist() == classes.tolist()


@pytest.mark.parametrize(("order", "oracle"), [(herding_order, herding), (k_center_order, k_center)])
def test_factored_gradients_equal_the_gradients_themselves(order, oracle):
    rng = np.random.default_rng(0)
    b, e = rng.normal(size=(25, 3)), rng.normal(size=(25, 4))
    gradients = np.concatenate([b, np.einsum("nc,ne->nce", b, e).reshape(25, -1)], 1)
    features = GradientFeatures(torch.from_numpy(b), torch.from_numpy(e))
    assert order(features).tolist() == per_class(oracle, gradients, np.zeros(25))


def test_herding_starts_at_the_mean_and_keeps_the_mean():
    line = torch.tensor([[-10.0], [-1.0], [0.5], [1.0], [10.0]])
    assert herding_order(line).argsort().tolist()[0] == 2
    x = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    distance = (x[herding_order(x) < 20].mean(0) - x.mean(0)).norm()
    at_random = (x[:20].mean(0) - x.mean(0)).norm()
    assert distance < at_random / 5


def test_k_center_takes_the_farthest():
    line = torch.tensor([[0.0], [1.0], [2.0], [3.0], [10.0]])
    # Nearest to the mean 3.2 is item 3; farthest from it item 4 (7), then item 0 (3), then 1 and 2 tie at 1.
    assert k_center_order(line).argsort().tolist() == [3, 4, 0, 1, 2]


def test_k_center_can_start_at_random():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 2

    def first(seed):
        rank = k_center_order(x, labels, generator=torch.Generator().manual_seed(seed))
        return tuple((rank == 0).nonzero().flatten().tolist())

    assert first(1) == first(1)
    starts = {first(seed) for seed in range(8)}
    assert len(starts) > 4
    assert all({i % 2 for i in start} == {0, 1} for start in starts)


@pytest.mark.parametrize("order", [herding_order, k_center_order])
def test_zero_rows_are_items_and_nan_is_refused(order):
    assert sorted(order(torch.zeros(4, 2)).tolist()) == [0, 1, 2, 3]
    assert order(torch.zeros(4, 2)).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="1 of 2 rows of features hold NaN or infinite values; the first is index 1"):
        order(torch.tensor([[0.0], [float("nan")]]))
    with pytest.raises(ValueError, match="one label for each of 2 items"):
        order(torch.ones(2, 2), torch.tensor([0]))


def oracle_of_k_center(x, count, tie=1e-12):
    """Picks in float64 by differences of whole vectors; candidates equal to `tie` of the largest squared length tie."""
    slack = tie * (x**2).sum(1).max()
    cost = ((x - x.mean(0)) ** 2).sum(1)
    chosen = [int((cost <= cost.min() + slack).argmax())]
    nearest = np.full(len(x), np.inf)
    for _ in range(count - 1):
        nearest = np.minimum(nearest, ((x - x[chosen[-1]]) ** 2).sum(1))
        nearest[chosen] = -np.inf
        chosen.append(int((nearest >= nearest.max() - slack).argmax()))
    return chosen


def features_of(kind, seed):
    rng = np.random.default_rng(seed)
    x = np.abs(rng.normal(size=(300, 96)))
    if kind == "close":  # distances differ by less than float32 can tell
        x = 100 + x / 100
    elif kind == "duplicates":  # more picks than different items
        x = x[rng.integers(0, 40, 300)]
    elif kind == "outlier":
        x[7] *= 1e6
    return x


@pytest.mark.parametrize("kind", ["spread", "close", "duplicates", "outlier"])
@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1), ("float64", 1), ("float64", 1e30), ("float64", 1e-30)])
def test_k_center_by_rough_rows_takes_what_float64_takes(kind, dtype, scale):
    found = ((features_of(kind, seed) * scale).astype(dtype) for seed in range(12))
    found = list(filter(without_edges, found))[:3]
    assert len(found) == 3
    for x in found:
        for share in (0.1, 0.5, 1):
            count = round(share * len(x))
            expected = oracle_of_k_center(x.astype(np.float64), count)
            assert k_center_order(x, budget=count).argsort()[:count].tolist() == expected
        assert k_center_order(x, max_bytes=0).argsort().tolist() == expected


def without_edges(x):
    """Whether no pick is at the edge of a tie, where a processor's rounding decides (an Intel with AMX: 5e-15)."""
    first, second = (oracle_of_k_center(x.astype(np.float64), len(x), tie) for tie in (0.98e-12, 1.02e-12))
    return first == second


def test_k_center_of_gradients_by_rough_rows_takes_what_float64_takes():
    rng = np.random.default_rng(0)
    b, e = rng.normal(size=(300, 5)) * 1e-12, rng.normal(size=(300, 12)) * 1e12
    gradients = np.concatenate([b, np.einsum("nc,ne->nce", b, e).reshape(300, -1)], 1)
    for factor in (1, 1e20):
        features = GradientFeatures(torch.from_numpy(b / factor), torch.from_numpy(e))
        assert k_center_order(features).argsort().tolist() == oracle_of_k_center(gradients / factor, 300)
