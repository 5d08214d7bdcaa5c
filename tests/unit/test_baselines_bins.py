"""Other divisions, CCS and ADQ against closed forms and the published budgets."""

import math

import pytest
import torch

from dqv2 import (
    adaptive_bin_counts,
    bin_importance,
    ccs_sample,
    ccs_strata,
    graphcut_bins,
    random_bins,
    sample_adaptive,
    score_bins,
    texture_levels,
    uniform_bins,
)
from dqv2.select.baselines import adaptive


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def table(bins, labels, n_bins):
    return [torch.bincount(bins[labels == c], minlength=n_bins).tolist() for c in labels.unique()]


@pytest.mark.parametrize("n_bins", [1, 3, 10])
def test_score_and_random_bins_have_graphcuts_sizes(n_bins):
    labels = torch.randint(0, 4, (237,), generator=rng())
    expected = table(graphcut_bins(torch.randn(237, 3, generator=rng()), labels, n_bins=n_bins), labels, n_bins)
    scores = torch.rand(237, generator=rng(1))
    by_score = score_bins(scores, labels, n_bins=n_bins)
    assert by_score.dtype == torch.int64
    assert table(by_score, labels, n_bins) == expected
    assert table(random_bins(237, n_bins=n_bins, generator=rng(), labels=labels), labels, n_bins) == expected
    for c in labels.unique():
        values, here = scores[labels == c], by_score[labels == c]
        assert bool((here[values.argsort(descending=True)].diff() >= 0).all())  # bin 0 has the highest


def test_score_bins_by_hand():
    assert score_bins(torch.tensor([1.0, 9.0, 5.0, 9.0, 0.0, 7.0]), n_bins=3).tolist() == [2, 0, 1, 0, 2, 1]
    assert score_bins(torch.zeros(4), n_bins=2).tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="n_bins must be an integer of at least 1"):
        score_bins(torch.zeros(4), n_bins=0)


def test_random_bins_follow_the_generator_and_are_uniform():
    assert random_bins(50, n_bins=5, generator=rng(1)).tolist() == random_bins(50, n_bins=5, generator=rng(1)).tolist()
    assert random_bins(50, n_bins=5, generator=rng(1)).tolist() != random_bins(50, n_bins=5, generator=rng(2)).tolist()
    g = rng()
    first = torch.stack([random_bins(20, n_bins=4, generator=g) for _ in range(2000)]) == 0
    # Each item lies in bin 0 with probability 1/4: 500 of 2000, standard deviation 19.4.
    assert float((first.sum(0) - 500).abs().max()) < 5 * 19.4


def test_uniform_bins_deal_in_turn():
    assert uniform_bins(7, n_bins=3).tolist() == [0, 1, 2, 0, 1, 2, 0]
    labels = torch.tensor([1, 0, 1, 0, 0, 1])
    assert uniform_bins(6, n_bins=2, labels=labels).tolist() == [1, 0, 0, 1, 0, 1]
    labels = torch.randint(0, 9, (500,), generator=rng())
    bins = uniform_bins(500, n_bins=7, labels=labels)
    for counts in [*table(bins, labels, 7), bins.bincount().tolist()]:
        assert max(counts) - min(counts) <= 1


def published_ccs_budgets(sizes, count):
    """The published code's bin_allocate, in plain Python."""
    budgets, left = {}, count
    order = sorted(range(len(sizes)), key=lambda i: sizes[i])
    for place, i in enumerate(order):
        budgets[i] = min(sizes[i], left // (len(sizes) - place))
        left -= budgets[i]
    return [budgets[i] for i in range(len(sizes))]


def test_ccs_takes_an_even_part_of_every_stratum():
    # Strata of width 1 over 0..5: 2, 40, 5, 0 and 30 items, and 10 of 87 pruned as hardest.
    scores = torch.cat(
        [torch.full((n,), v) for n, v in ((2, 0.0), (40, 1.5), (5, 2.5), (29, 4.5), (1, 5.0), (10, 99.0))]
    )
    chosen = ccs_sample(scores, 30, n_strata=5, prune_hardest=10 / 87, generator=rng())
    assert len(chosen) == 30
    assert bool((chosen.diff() > 0).all())
    assert float(scores[chosen].max()) < 99
    counts = torch.bincount(scores[chosen].long().clamp(max=4), minlength=5).tolist()
    assert counts == published_ccs_budgets([2, 40, 5, 0, 30], 30) == [2, 12, 5, 0, 11]


@pytest.mark.parametrize("seed", range(20))
def test_ccs_is_exact_and_agrees_with_the_published_budgets(seed):
    g = rng(seed)
    scores = torch.rand(200, generator=g, dtype=torch.float64) ** (1 + seed % 3)
    count = int(torch.randint(1, 180, (1,), generator=g))
    chosen = ccs_sample(scores, count, n_strata=12, prune_hardest=0.1, generator=g)
    assert len(chosen.unique()) == count
    kept = scores.sort().values[:180]
    assert float(scores[chosen].max()) <= float(kept[-1])
    edges = torch.linspace(float(kept[0]), float(kept[-1]), 13, dtype=torch.float64)[1:-1]
    sizes = torch.bincount(torch.bucketize(kept, edges, right=True), minlength=12).tolist()
    counts = torch.bincount(torch.bucketize(scores[chosen], edges, right=True), minlength=12).tolist()
    assert sorted(counts) == sorted(published_ccs_budgets(sizes, count))


def test_ccs_strata_of_scores_whose_range_overflows():
    scores = torch.tensor([1e308, -1e308, 0.0, 5.0, 7.0], dtype=torch.float64)
    want = ccs_strata(scores / 1e4, n_strata=5, prune_hardest=0)
    assert want.tolist() == [4, 0, 2, 2, 2]
    assert ccs_strata(scores, n_strata=5, prune_hardest=0).tolist() == want.tolist()


def test_ccs_edge_cases_and_errors():
    assert ccs_sample(torch.ones(9), 4, prune_hardest=0, generator=rng()).tolist() != [0, 1, 2, 3]
    assert ccs_sample(torch.arange(9), 1.0, prune_hardest=0, generator=rng()).tolist() == list(range(9))
    assert ccs_sample(torch.tensor([3.0, 3.0, 1.0]), 2, prune_hardest=1 / 3, generator=rng()).tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"prune_hardest leaves 5 of 10 items, and keep asks for 6"):
        ccs_sample(torch.rand(10), 6, prune_hardest=0.5, generator=rng())
    with pytest.raises(ValueError, match="1 of 2 scores are NaN or infinite"):
        ccs_sample(torch.tensor([0.0, float("inf")]), 1, generator=rng())


def test_adaptive_counts_are_those_of_the_published_code_where_its_total_is_right():
    sizes = [500, 450, 405, 364, 328, 295, 266, 239, 215, 1938]
    importance = torch.tensor([1, 0.985, 1.031, 1.182, 1.094, 1.176, 1.083, 1.089, 1.011, 1])
    bins = torch.arange(10).repeat_interleave(torch.tensor(sizes))
    counts = adaptive_bin_counts(bins, importance, 0.125)
    weights = [s * float(i) for s, i in zip(sizes, importance, strict=True)]
    quotas = [w / sum(weights) * 625 for w in weights]
    assert int(counts.sum()) == 625
    assert all(abs(int(c) - q) < 1 for c, q in zip(counts, quotas, strict=True))
    assert int(counts[3]) / 364 > int(counts[0]) / 500  # higher importance = a larger share kept


def test_adaptive_counts_stay_within_the_bins():
    bins = torch.tensor([0] * 4 + [1] * 10 + [2] * 10)
    assert adaptive_bin_counts(bins, torch.tensor([100.0, 1.0, 1.0]), 10).tolist() == [4, 3, 3]
    assert adaptive_bin_counts(bins, torch.tensor([100.0, 1.0, 1.0]), 24).tolist() == [4, 10, 10]
    assert adaptive_bin_counts(bins, torch.ones(3), 12).tolist() == [2, 5, 5]
    with pytest.raises(ValueError, match="above 0 for each of 3 bins"):
        adaptive_bin_counts(bins, torch.tensor([1.0, 0.0, 1.0]), 10)
    with pytest.raises(ValueError, match="bin 1 of 3 has no items"):
        adaptive_bin_counts(torch.tensor([0, 2]), torch.ones(3), 1)


@pytest.mark.parametrize("seed", range(10))
def test_adaptive_sampling_draws_the_counts_and_keeps_the_classes(seed):
    g = rng(seed)
    bins = torch.arange(300) % 6
    labels = torch.randint(0, 4, (300,), generator=g)
    importance = torch.rand(6, generator=g) + 0.5
    chosen = sample_adaptive(bins, labels, importance, 0.3, generator=g)
    assert len(chosen.unique()) == 90
    assert bins[chosen].bincount(minlength=6).tolist() == adaptive_bin_counts(bins, importance, 0.3).tolist()
    for c in range(4):
        assert abs(int((labels[chosen] == c).sum()) - 0.3 * int((labels == c).sum())) < 3


def test_texture_of_known_images():
    ramp = torch.arange(8.0).expand(3, 8, 8) / 10  # ∂x = 8·0.1 inside, 0 at the mirrored edges; ∂y = 0
    levels = texture_levels(torch.stack([ramp, ramp.transpose(1, 2), torch.full((3, 8, 8), 0.4)]))
    torch.testing.assert_close(levels, torch.tensor([0.3, 0.3, 0.0], dtype=torch.float64), atol=1e-6, rtol=0)
    images = torch.randint(0, 256, (2, 3, 5, 6), generator=rng(), dtype=torch.uint8)
    torch.testing.assert_close(texture_levels(images), texture_levels(images.double() / 255))
    with pytest.raises(ValueError, match=r"images must be \[N, 3, H, W\]"):
        texture_levels(images[:, :1])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((2, 3, 4, 4), 255.0), r"must lie in \[0, 1\]: clamp them, or divide"),
        (torch.full((2, 3, 4, 4), -0.1), r"must lie in \[0, 1\]"),
        (torch.full((2, 3, 4, 4), math.nan), r"must lie in \[0, 1\]"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.int16), "uint8, or floats in .*, got torch.int16"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.bool), "got torch.bool"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.complex64), "got torch.complex64"),
    ],
)
def test_texture_of_other_values_is_refused(images, message):
    with pytest.raises(ValueError, match=message):
        texture_levels(images)


def test_texture_is_found_for_few_images_at_a_time(monkeypatch):
    sizes, at_once = [], adaptive._textures
    monkeypatch.setattr(adaptive, "_textures", lambda images: sizes.append(len(images)) or at_once(images))
    images = torch.randint(0, 256, (5000, 3, 4, 4), generator=rng(), dtype=torch.uint8)
    assert torch.equal(texture_levels(images), at_once(images))
    assert sizes == [1250] * 4


@pytest.mark.parametrize(
    ("texture", "message"),
    [
        (texture_levels(torch.rand(4, 3, 1, 1, generator=rng()).expand(4, 3, 8, 8)), "every texture level is 0"),
        (torch.tensor([0.1, -0.2, 0.5, 0.5]), "1 of 4 texture levels are negative"),
        (-torch.ones(4), "4 of 4 texture levels are negative"),
    ],
    ids=["flat", "mixed", "negative"],
)
def test_texture_that_says_nothing_is_refused(texture, message):
    with pytest.raises(ValueError, match=message):
        bin_importance(torch.tensor([0, 0, 1, 1]), texture, torch.eye(4))


def test_importance_rises_with_texture_and_with_diversity():
    bins = torch.tensor([0, 0, 1, 1])
    same, spread = [[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]
    texture = torch.tensor([0.1, 0.3, 0.2, 0.6])
    # Texture 0.2 and 0.4, so 2/3 and 4/3 of their mean; mean cosine 1 and 1/2, so diversity 1 and 2, the same.
    torch.testing.assert_close(
        bin_importance(bins, texture, torch.tensor(same + spread)), torch.tensor([2 / 3, 4 / 3], dtype=torch.float64)
    )
    torch.testing.assert_close(
        bin_importance(bins, texture, torch.tensor(spread + same)), torch.tensor([1.0, 1.0], dtype=torch.float64)
    )
    uneven = torch.tensor(same + spread)[[0, 2, 3]]  # bin 0 is one item: similarity 1, whatever the bins' sizes
    torch.testing.assert_close(
        bin_importance(bins[1:], torch.ones(3), uneven), torch.tensor([5 / 6, 7 / 6], dtype=torch.float64)
    )
    with pytest.raises(ValueError, match="mean cosine similarity in bin 0"):
        bin_importance(bins, texture, torch.tensor([[1.0, 0.0], [-1.0, 0.0], *spread]))
