import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dqv2 import sample_bins, sample_random, sample_ranked
from dqv2.select.sampling import keep_count, sample_adaptive, sample_strata


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def divisions(draw):
    n = draw(st.integers(1, 120))
    bins = draw(st.lists(st.integers(0, draw(st.integers(0, 9))), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(-2, draw(st.integers(-2, 7))), min_size=n, max_size=n))
    return torch.tensor(bins), torch.tensor(labels), draw(st.integers(1, n))


@settings(max_examples=150, deadline=None)
@given(divisions(), st.booleans())
def test_every_bin_and_class_gives_its_share(division, with_labels):
    bins, labels, count = division
    chosen = sample_bins(bins, labels if with_labels else None, count, generator=rng())
    assert chosen.dtype == torch.int64
    assert len(chosen) == count
    assert bool((chosen.diff() > 0).all())
    assert 0 <= int(chosen[0]) <= int(chosen[-1]) < len(bins)
    for values, slack in ((bins, 1.0), (labels, 2.0 if with_labels else float("inf"))):
        for v in values.unique():
            quota = count * int((values == v).sum()) / len(bins)
            assert abs(int((values[chosen] == v).sum()) - quota) < slack


def test_balanced_bins_and_classes_are_exact():
    labels = torch.arange(1000) % 10
    bins = torch.arange(1000) // 100
    chosen = sample_bins(bins, labels, 0.125, generator=rng())
    assert len(chosen) == 125
    assert set(bins[chosen].bincount().tolist()) <= {12, 13}
    assert set(labels[chosen].bincount().tolist()) <= {12, 13}


def test_items_are_drawn_uniformly_within_a_bin():
    bins = torch.arange(20) // 10
    g = rng(1)
    counts = torch.stack([sample_bins(bins, None, 6, generator=g) for _ in range(2000)]).flatten().bincount()
    # Each item is drawn with probability 0.3: 600 of 2000, standard deviation 20.5.
    assert int(counts.min()) > 600 - 5 * 20.5
    assert int(counts.max()) < 600 + 5 * 20.5


def test_the_generator_decides_the_draw():
    bins, labels = torch.arange(300) % 7, torch.arange(300) % 4
    first = sample_bins(bins, labels, 0.3, generator=rng(5))
    assert first.tolist() == sample_bins(bins, labels, 0.3, generator=rng(5)).tolist()
    assert first.tolist() != sample_bins(bins, labels, 0.3, generator=rng(6)).tolist()
    assert sample_bins(bins, labels, 1.0, generator=rng()).tolist() == list(range(300))


def test_random_draw():
    chosen = sample_random(50, 0.5, generator=rng())
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == 25
    assert chosen.tolist() != sample_random(50, 0.5, generator=rng(1)).tolist()


def test_ranked_keeps_the_first_of_each_class():
    rank = torch.tensor([2, 0, 1, 1, 0, 0, 5, 3])
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 0, 0])
    # Quotas 2.5, 1 and 0.5: of equal remainders the first class gets the item.
    assert sample_ranked(rank, labels, 4).tolist() == [0, 1, 2, 4]
    assert sample_ranked(rank, None, 3).tolist() == [1, 4, 5]
    assert sample_ranked(-rank.float(), labels, 2).tolist() == [3, 6]


@pytest.mark.parametrize(
    ("keep", "n", "count"),
    [(0.125, 50_000, 6250), (0.25, 10, 2), (0.35, 10, 4), (1.0, 7, 7), (1, 7, 1), (0.001, 7, 1), (7, 7, 7)],
)
def test_keep_ratio_and_count(keep, n, count):
    assert keep_count(keep, n) == count


@pytest.mark.parametrize("keep", [True, float("nan"), float("inf"), 4.0, 0.0, -0.1, 0, 11, -3, "0.5", None])
def test_bad_keep_is_refused(keep):
    for call in (
        lambda: sample_random(10, keep, generator=rng()),
        lambda: sample_bins(torch.zeros(10, dtype=torch.int64), None, keep, generator=rng()),
        lambda: sample_ranked(torch.arange(10), None, keep),
    ):
        with pytest.raises(ValueError, match="keep"):
            call()


def test_bad_bins_labels_and_ranks_are_refused():
    good = torch.zeros(4, dtype=torch.int64)
    for bad in (torch.zeros(4), torch.zeros(2, 2, dtype=torch.int64), good[:0], good.bool(), "0000"):
        with pytest.raises(ValueError, match="bins must"):
            sample_bins(bad, None, 0.5, generator=rng())
    with pytest.raises(ValueError, match="one label for each of 4 items"):
        sample_bins(good, good[:3], 0.5, generator=rng())
    with pytest.raises(ValueError, match="one label for each of 4 items"):
        sample_ranked(good, good[:3], 0.5)
    with pytest.raises(ValueError, match="1 NaN"):
        sample_ranked(torch.tensor([0.0, float("nan")]), None, 0.5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_small_integers_number_bins_and_strata_as_well(dtype):
    """bin · classes overflowed, and sampling never ended."""
    bins, labels = torch.arange(600) % 20, torch.arange(600) % 30
    importance = torch.linspace(1, 2, 20)
    drawn = [sample_adaptive(b, labels, importance, 0.3, generator=rng()) for b in (bins, bins.to(dtype))]
    assert torch.equal(*drawn)
    drawn = [sample_strata(b, 100, generator=rng()) for b in (bins, bins.to(dtype))]
    assert torch.equal(*drawn)
