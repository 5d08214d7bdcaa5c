"""GraphCut against evaluations of the published algorithm that share no code with it."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from dqv2 import FeatureRows, GradientFeatures, graphcut_bins, graphcut_order, last_layer_residual
from dqv2.select import batched, graphcut
from dqv2.select.batched import group_bytes, groups
from dqv2.select.graphcut import bin_sizes


def exact_similarity(rows):
    """sim = 0.5 + 0.5·cos as fractions, for integer rows whose norms are whole numbers."""
    norms = [round(sum(v * v for v in r) ** 0.5) for r in rows]
    assert all(m * m == sum(v * v for v in r) for r, m in zip(rows, norms, strict=True))
    return [
        [
            Fraction(1, 2) + Fraction(sum(a * b for a, b in zip(r, q, strict=True)), 2 * m * k)
            for q, k in zip(rows, norms, strict=True)
        ]
        for r, m in zip(rows, norms, strict=True)
    ]


def float_similarity(features):
    x = features.double().numpy()
    norms = np.linalg.norm(x, axis=1)
    return 0.5 + 0.5 * (x @ x.T) / (norms[:, None] * norms)


def greedy(sim, ground, budget, lam):
    """Every gain summed afresh at every step; the first of equal gains (up to the rounding of floats)."""
    selected = []
    for _ in range(budget):
        rest = [i for i in ground if i not in selected]
        gains = [lam * sum(sim[i][j] for j in ground) - 2 * sum((sim[i][j] for j in selected), 0 * lam) for i in rest]
        slack = 1e-10 if isinstance(gains[0], float) else 0
        selected.append(next(i for i, gain in zip(rest, gains, strict=True) if gain >= max(gains) - slack))
    return selected


def oracle(sim, labels, n_bins, lam):
    n = len(labels)
    bins, left = [n_bins - 1] * n, list(range(n))
    for e in range(n_bins - 1):
        fraction = round(n / n_bins) / len(left) if left else 0
        taken = []
        for c in sorted(set(labels)):
            ground = [i for i in left if labels[i] == c]
            taken += greedy(sim, ground, min(len(ground), round(fraction * len(ground))), lam)
        for i in taken:
            bins[i] = e
        left = [i for i in left if i not in taken]
    return bins


def random_case(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 45))
    features = torch.from_numpy(rng.normal(size=(n, int(rng.integers(2, 9)))) + rng.uniform(0, 1))
    labels = torch.from_numpy(rng.integers(0, rng.integers(1, 6), size=n)) if seed % 3 else None
    lam = [1.0, 1.0, 0.5, 3.0][seed % 4]
    return features, labels, int(rng.integers(1, 13)), lam


@pytest.mark.parametrize("seed", range(60))
def test_bins_equal_the_published_algorithm(seed):
    features, labels, n_bins, lam = random_case(seed)
    expected = oracle(
        float_similarity(features), [0] * len(features) if labels is None else labels.tolist(), n_bins, lam
    )
    bins = graphcut_bins(features, labels, n_bins=n_bins, lam=lam)
    assert bins.dtype == torch.int64
    assert bins.tolist() == expected
    assert graphcut_bins(features, labels, n_bins=n_bins, lam=lam, max_bytes=0).tolist() == expected


@pytest.mark.parametrize("seed", range(40))
def test_ties_and_duplicates_go_to_the_lowest_index_exactly(seed):
    # Rows of ±1, ±2, 0 with whole norms: cosines are fractions, so many gains are exactly equal.
    rng = np.random.default_rng(seed)
    basis = [
        [1, 0, 0, 0],
        [1, 1, 1, 1],
        [1, -1, 1, 1],
        [0, 2, 0, 0],
        [2, 2, -2, 2],
        [1, 1, 3, 5],
        [0, 0, -1, 0],
    ]
    rows = [basis[k] for k in rng.integers(0, len(basis), size=int(rng.integers(2, 26)))]
    labels = rng.integers(0, 2, size=len(rows)).tolist()
    n_bins, lam = int(rng.integers(1, 8)), [1, Fraction(1, 2), 2][seed % 3]
    expected = oracle(exact_similarity(rows), labels, n_bins, lam)
    # Not on the grid of binary fractions, so that rounding does break the ties if it can.
    features = torch.tensor(rows, dtype=torch.float64) * torch.from_numpy(rng.uniform(0.1, 9, (len(rows), 1)))
    for max_bytes in (0, 600, 2**30):
        bins = graphcut_bins(features, torch.tensor(labels), n_bins=n_bins, lam=float(lam), max_bytes=max_bytes)
        assert bins.tolist() == expected


def test_duplicates_in_a_large_class_are_taken_in_index_order():
    base = torch.randn(40, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rank = graphcut_order(base.repeat(30, 1)).view(30, 40)
    assert bool((rank.diff(dim=0) > 0).all())


def test_order_is_the_greedy_run_over_the_whole_class():
    features, labels, _, _ = random_case(7)
    sim = float_similarity(features)
    rank = graphcut_order(features, labels, lam=1.5)
    for c in set(labels.tolist()):
        members = [i for i, label in enumerate(labels.tolist()) if label == c]
        order = greedy(sim, members, len(members), 1.5)
        assert rank[order].tolist() == list(range(len(members)))


@pytest.mark.parametrize("max_bytes", [0, 2000, 2**30])
def test_gradient_features_equal_their_materialised_form(max_bytes):
    g = torch.Generator().manual_seed(3)
    b, e = torch.randn(70, 4, generator=g).double(), torch.rand(70, 6, generator=g)
    full = torch.cat([b, (b[:, :, None] * e.double()[:, None]).flatten(1)], dim=1)
    labels = torch.randint(0, 3, (70,), generator=g)
    for y in (None, labels):
        bins = graphcut_bins(GradientFeatures(b, e), y, n_bins=5, max_bytes=max_bytes)
        assert bins.tolist() == graphcut_bins(full, y, n_bins=5).tolist()


def test_matrix_block_borders_leave_no_seam():
    features = torch.randn(600, 5, generator=torch.Generator().manual_seed(1))
    order = graphcut_order(features)
    assert order.tolist() == graphcut_order(features, max_bytes=0).tolist()
    assert order.argsort()[:20].tolist() == greedy(float_similarity(features).tolist(), range(600), 2, 1.0) + (
        order.argsort()[2:20].tolist()
    )


def test_scale_of_rows_does_not_matter_even_where_squares_vanish():
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    scale = 10.0 ** torch.linspace(-200, 200, 30, dtype=torch.float64)[:, None]
    assert graphcut_bins(x * scale).tolist() == graphcut_bins(x).tolist()


def test_bin_sizes_follow_dq():
    # 25 items, 10 bins: round(2.5) = 2 in all; per class round(fraction · left), half to even.
    assert bin_sizes([25], 10) == [[2] * 9 + [7]]
    assert bin_sizes([3], 10) == [[0] * 9 + [3]]
    sizes = bin_sizes([7, 1, 12], 4)
    assert [sum(s) for s in sizes] == [7, 1, 12]
    assert sizes[0][0] == round(5 / 20 * 7)


def test_residual_is_the_gradient_of_the_loss():
    g = torch.Generator().manual_seed(4)
    logits, labels = torch.randn(20, 5, generator=g).double() * 4, torch.randint(0, 5, (20,), generator=g)
    for softmax_in_loss in (False, True):
        z = logits.clone().requires_grad_()
        outputs = z.softmax(1) if softmax_in_loss else z
        torch.nn.functional.cross_entropy(outputs, labels, reduction="sum").backward()
        residual = last_layer_residual(logits, labels, softmax_in_loss=softmax_in_loss)
        torch.testing.assert_close(residual, z.grad, rtol=1e-9, atol=1e-14)


def test_residual_keeps_its_digits_at_large_margins():
    margin = torch.tensor([20.0, 60.0, 300.0], dtype=torch.float64)
    logits = torch.stack([margin, torch.zeros(3, dtype=torch.float64)], dim=1)
    residual = last_layer_residual(logits.float(), torch.zeros(3, dtype=torch.int64))
    p = 1 / (1 + margin.exp())
    torch.testing.assert_close(residual, torch.stack([-p, p], dim=1), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.tensor([[1.0], [0.0], [0.0]]), "2 of 3 rows.*zeros.*index 1"),
        (torch.tensor([[1.0], [2.0], [float("nan")]]), "1 of 3 rows.*NaN.*index 2"),
        (torch.tensor([[float("inf")], [2.0]]), "1 of 2 rows.*index 0"),
        (torch.ones(4), "float\\[N, D\\]"),
        (torch.ones(4, 2, dtype=torch.int64), "int64"),
        (GradientFeatures(torch.zeros(2, 3), torch.ones(2, 3)), "2 of 2 rows of residual.*zeros"),
        (GradientFeatures(torch.ones(1, 3), torch.full((1, 3), float("nan"))), "embedding.*NaN"),
    ],
)
def test_features_without_a_direction_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        graphcut_bins(features)


def test_bad_arguments_are_refused():
    x = torch.ones(4, 2)
    for n_bins in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="n_bins"):
            graphcut_bins(x, n_bins=n_bins)
    for lam in (-1.0, float("nan"), float("inf"), "1"):
        with pytest.raises(ValueError, match="lam"):
            graphcut_bins(x, lam=lam)
    for labels in (torch.zeros(3, dtype=torch.int64), torch.zeros(4), torch.zeros(4, 1, dtype=torch.int64)):
        with pytest.raises(ValueError, match="labels"):
            graphcut_bins(x, labels)
    with pytest.raises(ValueError, match="3 rows and embedding 2"):
        GradientFeatures(torch.ones(3, 2), torch.ones(2, 2))
    with pytest.raises(TypeError, match="torch tensor"):
        graphcut_bins([[1.0, 2.0]] * 3)


def test_any_lam_keeps_exact_ties_in_index_order():
    # What bins leave is carried from bin to bin: its rounding must not outgrow the tolerance where lam is large.
    base = torch.randn(30, 16, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    x = base.repeat(8, 1)
    for lam in (0.0, 1.0, 7.0, 1000.0):
        bins, rank = graphcut_bins(x, lam=lam), graphcut_order(x, lam=lam)
        assert bins.tolist() == graphcut_bins(x, lam=lam, max_bytes=0).tolist()
        assert bool((rank.view(8, 30).diff(dim=0) > 0).all())


@pytest.mark.parametrize("slots", [1, 2, 3, 7])
def test_rows_computed_ahead_are_the_right_ones_however_few_fit(slots):
    features = torch.randn(90, 6, generator=torch.Generator().manual_seed(6))
    got = graphcut_bins(features, n_bins=4, max_bytes=slots * 90 * 8)
    assert got.tolist() == graphcut_bins(features, n_bins=4).tolist()


def classes_of(seed):
    """Unequal classes, some of one item, with duplicates and many exact ties."""
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.choice(9, size=int(rng.integers(20, 160)), p=[0.4, 0.2, 0.1, *[0.05] * 6]))
    features = torch.from_numpy(rng.integers(-1, 2, size=(len(labels), 3)) * rng.uniform(0.1, 9, (len(labels), 1)))
    features[(features == 0).all(1)] = 1.0
    return features, labels, [1, 2, 5, 10, 13][seed % 5], [1.0, 0.5, 3.0][seed % 3]


@pytest.mark.parametrize("seed", range(30))
def test_many_classes_at_once_equal_one_after_the_other(seed, monkeypatch):
    features, labels, n_bins, lam = classes_of(seed)
    if seed % 2:
        features = GradientFeatures(features, torch.rand(len(features), 5, generator=torch.Generator().manual_seed(1)))
    monkeypatch.setattr(graphcut, "_batches", lambda device: False)
    bins = graphcut_bins(features, labels, n_bins=n_bins, lam=lam)
    order = graphcut_order(features, labels, lam=lam)
    # The way that GPUs take, on the CPU: all classes in one group, in several, and none that fits.
    monkeypatch.setattr(graphcut, "_batches", lambda device: True)
    for max_bytes in (2**30, 60_000, 0):
        assert graphcut_bins(features, labels, n_bins=n_bins, lam=lam, max_bytes=max_bytes).tolist() == bins.tolist()
        assert graphcut_order(features, labels, lam=lam, max_bytes=max_bytes).tolist() == order.tolist()


def test_groups_hold_every_class_once_and_stay_below_their_limit():
    sizes = [5, 100, 7, 7, 300, 1, 50, 50]
    limit = group_bytes([100, 50], (20, 8))
    found = list(groups(sizes, (20, 8), limit))
    assert sorted(c for group in found for c in group) == list(range(len(sizes)))
    assert len(found) > 2
    for group in found:
        assert len(group) == 1 or group_bytes([sizes[c] for c in group], (20, 8)) <= limit


def test_steps_beyond_a_budget_change_nothing(monkeypatch):
    # CUDA graphs hold several steps, so that a bin may get more steps than it has items.
    features, labels, n_bins, lam = classes_of(3)
    classes = [torch.nonzero(labels == c).flatten() for c in labels.unique()]
    budgets = [sizes[:-1] for sizes in bin_sizes([len(c) for c in classes], n_bins)]
    expected = batched.Groups(features, lam, 1).ranks(classes, budgets)
    exactly = batched._repeated
    monkeypatch.setattr(batched, "_repeated", lambda step, device: lambda times: exactly(step, device)(times + 5))
    for a, b in zip(expected, batched.Groups(features, lam, 1).ranks(classes, budgets), strict=True):
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_classes_side_by_side_give_the_same_bins(threads):
    before = torch.get_num_threads()
    features, labels, n_bins, lam = classes_of(8)
    expected = graphcut_bins(features, labels, n_bins=n_bins, lam=lam)
    try:
        torch.set_num_threads(threads)
        assert graphcut_bins(features, labels, n_bins=n_bins, lam=lam).tolist() == expected.tolist()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_rows_are_asked_for_class_by_class():
    features, labels, n_bins, lam = classes_of(8)
    asked = []

    def rows(index):
        asked.append(index.tolist())
        return features[index]

    lazy = FeatureRows(len(features), rows)
    bins = graphcut_bins(lazy, labels, n_bins=n_bins, lam=lam)
    assert bins.tolist() == graphcut_bins(features, labels, n_bins=n_bins, lam=lam).tolist()
    assert sorted(asked) == sorted(torch.nonzero(labels == c).flatten().tolist() for c in labels.unique())
    assert graphcut_order(lazy).tolist() == graphcut_order(features).tolist()


def test_faults_of_rows_name_the_item():
    features = torch.ones(6, 2)
    features[4] = 0
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    with pytest.raises(ValueError, match=r"1 of 3 rows of features.*zeros.*index 4"):
        graphcut_bins(FeatureRows(6, lambda i: features[i]), labels)
    with pytest.raises(ValueError, match="gave 1 rows for 3 items"):
        graphcut_bins(FeatureRows(6, lambda i: torch.ones(1, 2)), labels)
    with pytest.raises(ValueError, match="at least one item"):
        graphcut_bins(FeatureRows(0, lambda i: features[i]))
