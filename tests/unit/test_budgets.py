"""Orders with a budget: the first of the full order and no more, from arrays as from tensors, one class at a time."""

import numpy as np
import pytest
import torch

from dqv2 import (
    FeatureRows,
    GradientFeatures,
    craig_order,
    gradmatch_order,
    graphcut_order,
    herding_order,
    k_center_order,
    sample_ranked,
)
from dqv2.apportion import largest_remainder
from dqv2.select.budget import UNRANKED, class_budgets, enough_for

ORDERS = (graphcut_order, herding_order, k_center_order, craig_order, gradmatch_order)
every_order = pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.__name__)


def case(seed, n=60):
    """Features, in odd seeds with many ties, and labels of three classes of unlike sizes."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 4, (n, 3)).astype(np.float32) if seed % 2 else rng.standard_normal((n, 5)).astype(np.float32)
    labels = np.sort(rng.integers(0, 9, n)) // 4
    return x, rng.permutation(labels)


@every_order
@pytest.mark.parametrize("seed", range(12))
def test_the_ranked_are_the_first_of_the_full_order_and_no_others(order, seed):
    x, labels = case(seed)
    features, of = torch.from_numpy(x), torch.from_numpy(labels)
    full = order(features, of)
    assert sorted(full.unique().tolist()) == list(range(int(full.max()) + 1))
    for budget in (1, 2, 7, 23, 59, 60, 100):
        rank = order(features, of, budget=budget)
        assert rank.dtype == torch.int64
        ranked = rank != UNRANKED
        assert int(ranked.sum()) == min(budget, 60)
        assert rank[ranked].tolist() == full[ranked].tolist()
        count = min(budget, 60)
        assert sample_ranked(rank, of, count).tolist() == sample_ranked(full, of, count).tolist()
        assert ranked.nonzero().flatten().tolist() == sample_ranked(full, of, count).tolist()
        alone, whole = order(features, budget=budget), order(features)
        assert alone.argsort()[:count].tolist() == whole.argsort()[:count].tolist()
        assert int((alone < UNRANKED).sum()) == count


@every_order
def test_without_a_matrix_the_ranked_are_the_same(order):
    for seed in range(8):
        x, labels = (torch.from_numpy(values) for values in case(seed, 200))
        for budget in (30, 200):
            want = order(x, labels, budget=budget)
            limits = {} if order is craig_order else {"max_bytes": 0}
            assert order(x, labels, budget=budget, **limits).tolist() == want.tolist()


@every_order
def test_factored_gradients_stop_there_too(order):
    rng = np.random.default_rng(0)
    g = GradientFeatures(torch.from_numpy(rng.normal(size=(40, 3))), torch.from_numpy(rng.normal(size=(40, 4))))
    full, few = order(g), order(g, budget=9)
    assert few.argsort()[:9].tolist() == full.argsort()[:9].tolist()
    limits = {} if order is craig_order else {"max_bytes": 0}
    assert order(g, budget=9, **limits).tolist() == few.tolist()


def test_a_start_at_random_is_the_same_with_a_budget():
    x, labels = (torch.from_numpy(values) for values in case(0))
    full, few = (
        k_center_order(x, labels, budget=budget, generator=torch.Generator().manual_seed(4)) for budget in (None, 2)
    )
    assert full[few != UNRANKED].tolist() == few[few != UNRANKED].tolist() == [0, 0]


@every_order
def test_numpy_arrays_are_taken_and_read_class_by_class(order, tmp_path):
    x, labels = case(2)
    want = order(torch.from_numpy(x), torch.from_numpy(labels), budget=11)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for features in (x, mapped, x.astype(np.float64)):
        for of in (labels, labels.astype(np.uint8), torch.from_numpy(labels)):
            assert order(features, of, budget=11).tolist() == want.tolist()
    assert order(x).tolist() == order(torch.from_numpy(x)).tolist()
    read = []

    def rows(index):
        read.append(len(index))
        return torch.from_numpy(x[index.numpy()])

    assert order(FeatureRows(len(x), rows), labels, budget=11).tolist() == want.tolist()
    assert sorted(read) == sorted(np.bincount(labels).tolist())
    bad = x.copy()
    bad[17] = np.nan
    with pytest.raises(ValueError, match=r"hold NaN or infinite values; the first is index 17"):
        order(bad, labels)
    for wrong in (np.ones(4), np.ones((4, 2), int), np.ones((0, 2))):
        with pytest.raises(ValueError, match=r"features must be float\[N, D\]"):
            order(wrong)
    with pytest.raises(ValueError, match="labels must be integers"):
        order(x, labels.astype(float))


@every_order
def test_a_budget_that_makes_no_sense_is_refused_in_a_sentence(order):
    x, labels = case(0)
    for budget in (0, -3, 0.1, True, "7"):
        with pytest.raises(ValueError, match="budget must be a whole number of items, at least 1"):
            order(x, labels, budget=budget)
    with pytest.raises(ValueError, match="one whole number for each of 3 classes"):
        order(x, labels, budget=torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"budget of class 1 \(by ascending label\) is 99, and it has \d+ items"):
        order(x, labels, budget=torch.tensor([1, 99, 1]))


@every_order
def test_a_sampler_takes_nothing_beyond_the_budget(order):
    x, labels = case(4)
    rank = order(x, labels, budget=12)
    for count in (13, 30, 60):
        with pytest.raises(ValueError, match=r"whose order stopped at its budget of \d+: make the order with a larger"):
            sample_ranked(rank, labels, count)
        with pytest.raises(ValueError, match="whose order stopped at its budget"):
            sample_ranked(rank.float(), labels, count)
    for dtype in (torch.float16, torch.float64):
        assert sample_ranked(torch.tensor([torch.inf, 1, 2, 0], dtype=dtype), None, 4).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="4 of the 60 items of a class whose order stopped at its budget of 3"):
        sample_ranked(order(x, budget=3), None, 4)


def test_a_coreset_of_any_size_up_to_a_count_can_be_drawn():
    """By largest remainder a class of 2 of 14 gets 2 of 10, but 1 of 11: the Alabama paradox."""
    sizes = torch.tensor([6, 6, 2])
    assert largest_remainder(sizes, 10).tolist() == [4, 4, 2]
    assert class_budgets(11, sizes.tolist()) == [5, 5, 1]
    labels = torch.arange(3).repeat_interleave(sizes)
    x = torch.randn(14, 4, generator=torch.Generator().manual_seed(0))
    full = herding_order(x, labels)
    draws = np.random.default_rng(0)
    for count in range(1, 15):
        enough = herding_order(x, labels, budget=enough_for(sizes, count))
        for fewer in range(1, count + 1):
            assert sample_ranked(enough, labels, fewer).tolist() == sample_ranked(full, labels, fewer).tolist()
    for _ in range(40):
        sizes = torch.from_numpy(draws.integers(1, 40, draws.integers(1, 8)))
        count = int(draws.integers(1, int(sizes.sum()) + 1))
        enough = enough_for(sizes, count)
        assert int(enough.sum()) < count + len(sizes)
        for fewer in range(1, count + 1):
            assert bool((largest_remainder(sizes, fewer) <= enough).all())


@every_order
def test_features_as_networks_leave_them_are_taken(order):
    """With a gradient attached, in half precision, as a view, in column order."""
    x = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    want = order(x, budget=40)
    array = x.numpy()
    views = [x.clone().requires_grad_(), torch.cat([x, x], 1)[:, :16], x.T.contiguous().T, x.double()]
    for same in [*views, np.asfortranarray(array), np.flip(np.flip(array, 0).copy(), 0)]:
        assert torch.equal(order(same, budget=40), want)
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(order(x.to(dtype), budget=40), order(x.to(dtype).double(), budget=40))
    b, e = x[:, :4].clone(), x[:, 4:].clone()
    plain, attached = GradientFeatures(b, e), GradientFeatures(b.clone().requires_grad_(), e.clone().requires_grad_())
    assert torch.equal(order(attached, budget=40), order(plain, budget=40))


@pytest.mark.parametrize("order", [graphcut_order, herding_order, k_center_order, craig_order])
def test_orders_are_those_of_any_unit(order):
    """Also where squares are out of float64's range. GradMatch is left out: its lam is in the features' unit."""
    x = torch.randn(200, 16, generator=torch.Generator().manual_seed(0)).double()
    want = order(x, budget=40)
    for power in (-1000, -300, 300, 1000):
        assert torch.equal(order(x * 2.0**power, budget=40), want)
