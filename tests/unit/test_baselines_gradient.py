"""GradMatch against pursuit on whole gradients, CRAIG against greedy by brute force."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, nnls

from dqv2 import GradientFeatures, craig_order, gradmatch, gradmatch_order
from dqv2.select.baselines.geometry import Products
from dqv2.select.baselines.gradient import craig_weights, gradmatch_weights


def pursuit(g, count, lam):
    """Orthogonal matching pursuit on rows g, every system solved afresh."""
    mean, chosen, left = g.mean(0), [], g.mean(0)
    for _ in range(count):
        rest = [i for i in range(len(g)) if i not in chosen]
        gain = {i: g[i] @ left for i in rest}
        chosen.append(next(i for i in rest if gain[i] >= max(gain.values()) - 1e-10))
        a = g[chosen]
        left = mean - a.T @ np.linalg.solve(a @ a.T + lam * np.eye(len(chosen)), a @ mean)
    return chosen


def objective(w, a, mean, lam):
    return ((a.T @ w - mean) ** 2).sum() + lam * (w**2).sum()


@pytest.mark.parametrize("seed", range(20))
def test_gradmatch_picks_what_pursuit_on_whole_gradients_picks(seed):
    rng = np.random.default_rng(seed)
    n, lam = int(rng.integers(2, 25)), [1.0, 0.1, 1e-3][seed % 3]
    b, e = rng.normal(size=(n, 3)), rng.normal(size=(n, 4))
    g = np.concatenate([b, np.einsum("nc,ne->nce", b, e).reshape(n, -1)], 1)
    count = int(rng.integers(1, n + 1))
    features = GradientFeatures(torch.from_numpy(b), torch.from_numpy(e))
    indices, weights = gradmatch(features, None, count, lam=lam)
    assert indices.tolist() == sorted(pursuit(g, count, lam))
    dense, dense_weights = gradmatch(torch.from_numpy(g), None, count, lam=lam)
    assert dense.tolist() == indices.tolist()
    torch.testing.assert_close(dense_weights, weights, rtol=1e-6, atol=1e-9)
    # The weights minimise the objective under w >= 0: gradient 0 where w > 0, at least 0 where w = 0.
    a, w = g[indices.numpy()], weights.numpy()
    slope = 2 * (a @ (a.T @ w - g.mean(0)) + lam * w)
    assert (w >= 0).all()
    assert np.abs(slope[w > 0]).max(initial=0) < 1e-9
    assert slope[w == 0].min(initial=0) > -1e-9
    found = minimize(objective, np.full(count, 0.1), (a, g.mean(0), lam), bounds=[(0, None)] * count)
    assert objective(w, a, g.mean(0), lam) <= found.fun + 1e-9


def test_gradmatch_takes_the_gradient_along_the_mean():
    g = torch.tensor([[1.0, 0.0], [0.0, 0.1], [-1.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
    indices, weights = gradmatch(g, None, 1, lam=1e-9)
    assert indices.tolist() == [3]
    assert float(weights) == pytest.approx(0.75 / 3)  # 3·w = the mean's first entry, 3/4


def test_gradmatch_shares_the_count_and_matches_each_class_alone():
    rng = np.random.default_rng(1)
    g, labels = torch.from_numpy(rng.normal(size=(61, 6))), torch.from_numpy(rng.integers(0, 4, 61))
    indices, weights = gradmatch(g, labels, 0.3)
    assert len(indices) == len(weights) == 18
    assert indices.dtype == torch.int64
    assert bool((indices.diff() > 0).all())
    for c in range(4):
        members = (labels == c).nonzero().flatten()
        part = labels[indices] == c
        assert abs(int(part.sum()) - 0.3 * len(members)) < 1
        alone, alone_weights = gradmatch(g[members], None, int(part.sum()))
        assert members[alone].tolist() == indices[part].tolist()
        torch.testing.assert_close(weights[part], alone_weights)


@pytest.mark.parametrize("count", [1, 3, 8, 20])
def test_the_first_of_the_order_are_gradmatchs_items(count):
    generator = torch.Generator().manual_seed(count)
    features = torch.randn(20, 6, generator=generator)
    rank = gradmatch_order(features)
    assert sorted(rank.tolist()) == list(range(20))
    indices, _ = gradmatch(features, None, count)
    assert (rank < count).nonzero().flatten().tolist() == indices.tolist()
    labels = torch.arange(20) % 2
    for c in range(2):
        assert (
            gradmatch_order(features, labels)[labels == c].tolist() == gradmatch_order(features[labels == c]).tolist()
        )


@pytest.mark.parametrize("sign", [1, -1])
def test_gradients_that_cancel_go_by_their_index(sign):
    """Rounding leaves 1e-17 of their mean, and must not choose."""
    g = sign * torch.tensor([[0.1, 0.7], [0.2, -0.3], [-0.3, -0.4]], dtype=torch.float64)
    assert gradmatch_order(g).tolist() == [0, 1, 2]
    g = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert gradmatch_order(sign * (g - g.mean(0))).tolist() == list(range(30))


def test_gradmatch_with_duplicates_zeros_and_all_items():
    g = torch.cat([torch.ones(3, 2), torch.zeros(2, 2)]).double()
    indices, weights = gradmatch(g, None, 2)
    assert indices.tolist() == [0, 1]
    torch.testing.assert_close(weights, torch.full((2,), 1.2 / 5, dtype=torch.float64))  # (4 + 1)·w = 2·0.6
    indices, weights = gradmatch(g * 1e6, None, 1.0, lam=1e-3)
    assert indices.tolist() == [0, 1, 2, 3, 4]
    assert weights[3:].tolist() == [0, 0]
    assert gradmatch(torch.zeros(3, 2), None, 2)[0].tolist() == [0, 1]
    for lam in (0, -1.0, float("nan"), True):
        with pytest.raises(ValueError, match="lam must be a finite number above 0"):
            gradmatch(g, None, 1, lam=lam)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
@pytest.mark.parametrize("twice", [False, True])
def test_gradmatch_is_at_its_optimum_or_says_that_lam_is_too_small(scale, twice):
    g = torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale
    if twice:
        g[1::2] = g[::2]
    refused = []
    for power in range(0, -31, -1):
        lam = 10.0**power * scale**2
        try:
            indices, weights = gradmatch(g, None, 20, lam=lam)
            again = gradmatch_weights(g, None, indices, lam=lam) / len(g)
        except ValueError as error:
            assert "is negligible next to squared gradients" in str(error)  # noqa: PT017
            with pytest.raises(ValueError, match="is negligible"):
                gradmatch_order(g, lam=lam)
            refused.append(power)
            continue
        a, mean = g[indices].numpy(), g.mean(0).numpy()
        best = nnls(np.vstack([a.T, lam**0.5 * np.eye(20)]), np.concatenate([mean, np.zeros(20)]), maxiter=9999)[0]
        for found in (weights, again):
            assert objective(found.numpy(), a, mean, lam) <= 1.01 * objective(best, a, mean, lam)
    assert refused == list(range(refused[0], -31, -1))
    assert -14 <= refused[0] <= -12
    assert len(gradmatch(g, None, 5, lam=1e-30 * scale**2)[0]) == 5, "independent gradients need no lam"


def facilities(x):
    distance = np.linalg.norm(x[:, None] - x[None], axis=2)
    chosen = []
    while len(chosen) < len(x):
        rest = [i for i in range(len(x)) if i not in chosen]
        cost = {i: distance[[*chosen, i]].min(0).sum() for i in rest}
        chosen.append(next(i for i in rest if cost[i] <= min(cost.values()) + 1e-9))
    return chosen


@pytest.mark.parametrize("seed", range(30))
def test_craig_equals_greedy_facility_location(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    x = rng.integers(-2, 3, (n, 3)).astype(float) if seed % 2 else rng.normal(size=(n, 3)) + 5
    assert craig_order(torch.from_numpy(x)).argsort().tolist() == facilities(x)
    labels = rng.integers(0, 2, n)
    rank = craig_order(torch.from_numpy(x), torch.from_numpy(labels))
    for c in (0, 1):
        members = np.flatnonzero(labels == c)
        assert rank[members].argsort().tolist() == facilities(x[members])


def test_craig_is_exact_where_bounds_spare_evaluations():
    # A grid of whole numbers, each point several times: many equal gains, found at different steps.
    x = np.random.default_rng(3).integers(0, 8, (260, 2)).astype(float)
    distance = np.linalg.norm(x[:, None] - x[None], axis=2)
    nearest, chosen = np.full(260, distance.max()), []
    for _ in range(260):
        gain = np.maximum(nearest - distance, 0).sum(1)
        gain[chosen] = -1
        chosen.append(int((gain >= gain.max() - 1e-9).argmax()))
        nearest = np.minimum(nearest, distance[chosen[-1]])
    assert craig_order(torch.from_numpy(x)).argsort().tolist() == chosen


def test_craig_on_factored_gradients_and_the_best_pair():
    rng = np.random.default_rng(0)
    b, e = rng.normal(size=(30, 3)), rng.normal(size=(30, 4))
    g = np.concatenate([b, np.einsum("nc,ne->nce", b, e).reshape(30, -1)], 1)
    assert craig_order(GradientFeatures(torch.from_numpy(b), torch.from_numpy(e))).argsort().tolist() == facilities(g)
    # Two clusters: the first two chosen are the best pair of all.
    x = np.concatenate([rng.normal(size=(6, 2)), rng.normal(size=(5, 2)) + 50])
    distance = np.linalg.norm(x[:, None] - x[None], axis=2)
    best = min(itertools.combinations(range(11), 2), key=lambda s: distance[list(s)].min(0).sum())
    pair = (craig_order(torch.from_numpy(x)) < 2).nonzero().flatten().tolist()
    assert {i < 6 for i in pair} == {i < 6 for i in best} == {True, False}


def test_craig_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"10 items of one class need .* GiB of distances"):
        craig_order(torch.ones(10, 2), max_bytes=799)
    assert craig_order(torch.ones(10, 2), max_bytes=800).tolist() == list(range(10))
    with pytest.raises(ValueError, match="NaN or infinite"):
        craig_order(torch.tensor([[float("inf")]]))


def test_weights_of_gradmatchs_items_are_gradmatchs_times_the_class():
    rng = np.random.default_rng(3)
    g, labels = torch.from_numpy(rng.normal(size=(61, 6))), torch.from_numpy(rng.integers(0, 4, 61))
    indices, weights = gradmatch(g, labels, 0.3)
    order = torch.from_numpy(rng.permutation(len(indices)))
    found = gradmatch_weights(g, labels, indices[order])
    sizes = torch.bincount(labels)[labels[indices]]
    torch.testing.assert_close(found, (weights * sizes)[order], rtol=1e-7, atol=1e-9)


def test_the_weighted_gradients_of_all_items_sum_to_the_sets():
    rng = np.random.default_rng(4)
    g, labels = torch.from_numpy(rng.normal(size=(30, 40))), torch.arange(30) % 3
    weights = gradmatch_weights(g, labels, torch.arange(30), lam=1e-9)
    torch.testing.assert_close(weights, torch.ones(30, dtype=torch.float64), rtol=1e-5, atol=0)


def test_craig_counts_those_nearest_to_each_of_its_items():
    rng = np.random.default_rng(5)
    g, labels = rng.normal(size=(50, 5)), rng.integers(0, 3, 50)
    chosen = np.array([7, 30, 2, 44, 19, 23, 11])
    wanted = np.zeros(len(chosen))
    for i in range(50):
        own = [k for k in range(len(chosen)) if labels[chosen[k]] == labels[i]]
        wanted[min(own, key=lambda k: np.linalg.norm(g[i] - g[chosen[k]]))] += 1
    found = craig_weights(torch.from_numpy(g), torch.from_numpy(labels), torch.from_numpy(chosen))
    assert found.tolist() == wanted.tolist()
    assert found.sum() == 50


@pytest.mark.parametrize("chosen", [[7, 2], [*range(29, -1, -1)]])
def test_craigs_weights_hold_no_more_distances_than_may_be(monkeypatch, chosen):
    g = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)) + 3
    want = craig_weights(g, None, chosen)
    monkeypatch.setattr(Products, "matrix", None)
    assert craig_weights(g, None, chosen, max_bytes=7199).tolist() == want.tolist()


@pytest.mark.parametrize("weights", [gradmatch_weights, craig_weights])
@pytest.mark.parametrize("chosen", [[1, 1, 2], [0, 99], [-1, 0]])
def test_what_is_chosen_are_different_places(weights, chosen):
    with pytest.raises(ValueError, match="chosen must be different places among the 5 items, 0 to 4"):
        weights(torch.rand(5, 3), None, torch.tensor(chosen))


def test_of_equally_near_chosen_items_the_lowest_index_counts():
    assert craig_weights(torch.tensor([[0.0], [0.0], [1.0], [1.0]]), None, torch.tensor([1, 0])).tolist() == [0, 4]


def test_features_too_long_for_their_squares_are_named():
    huge = torch.rand(9, 3, dtype=torch.float64) * 1e160
    with pytest.raises(ValueError, match="scale them down"):
        gradmatch_order(huge)
    with pytest.raises(ValueError, match="scale them down"):
        gradmatch_weights(huge, None, torch.arange(3))
    with pytest.raises(ValueError, match=r"lam = 1 is negligible .* raise it, or scale"):
        gradmatch_order(torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).double() * 1e8)
    with pytest.raises(ValueError, match=r"lam = 1 is negligible .* raise it, or scale"):
        gradmatch_weights(
            torch.randn(20, 4, generator=torch.Generator().manual_seed(0)).double() * 1e8, None, torch.arange(10)
        )
