"""Functions that somebody adds to a table: what they return is checked, and what they draw can be repeated."""

import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dqv2.runtime.seeding import generator
from dqv2.select import selectors
from dqv2.select.budget import UNRANKED
from dqv2.select.coreset import Pool, draw_places
from dqv2.select.table import Kind
from dqv2.semantic import sources
from dqv2.semantic.table import MaskSource

N = 12
PACK = SimpleNamespace(labels=np.arange(N) % 2)


class Pack(SimpleNamespace):
    def __len__(self):
        return N


def pool(bins=None):
    bins = np.zeros(N, np.int64) if bins is None else np.array(bins)
    return Pool(np.arange(N), np.zeros(N, bool), bins, np.full(N, -1))


@pytest.fixture
def own(monkeypatch):
    """Puts functions into a module `mine` and a kind that names them into the table; returns how it divides."""

    def own(function, sampler="bins", largest=None, **more):
        module = SimpleNamespace(function=function, importance=more.pop("importance", None), weights=None)
        monkeypatch.setitem(sys.modules, "mine", module)
        more |= {"importance": "mine:importance"} if sampler == "adaptive" else {}
        kind = Kind("mine", "mine:function", sampler, **more)
        monkeypatch.setitem(selectors.SELECTORS, "mine", kind)
        how = {"kind": "mine", "generator": generator(0), "largest": largest}
        return selectors.divide(pool(), Pack(labels=PACK.labels), [], [], **how)

    return own


@pytest.mark.parametrize("sampler", ["bins", "rank"])
@pytest.mark.parametrize(
    ("found", "got"),
    [
        (torch.rand(N), r"float32 of shape \[12\]"),
        (np.full(N, np.nan), r"float64 of shape \[12\]"),
        (torch.ones(N, dtype=torch.bool), r"bool of shape \[12\]"),
        (torch.zeros(N, 1, dtype=torch.int64), r"int64 of shape \[12, 1\]"),
        (torch.arange(N - 1), r"int64 of shape \[11\]"),
        (list(range(N + 1)), "list"),
        (torch.arange(N) - 2, "the (bin|rank) -2"),
        (None, "NoneType"),
    ],
)
def test_what_a_selector_returns_is_checked_before_it_is_written(own, sampler, found, got):
    with pytest.raises(
        ValueError, match=rf"selector kind mine \(mine:function\) must return int64\[12\], .*; got {got}"
    ):
        own(lambda images: found, sampler)


@pytest.mark.parametrize("as_", [torch.tensor, np.array, list, lambda bins: np.array(bins, np.int32)])
def test_lists_and_arrays_of_whole_numbers_are_taken(own, as_):
    bins = [0, 1, -1, 2] * 3
    divided = own(lambda images: as_(bins))
    assert divided.bins.tolist() == bins
    assert divided.bins.dtype == np.int64


def test_ranks_are_distinct_within_a_class_and_complete(own):
    apart = np.arange(N) // 2
    assert own(lambda images: apart, "rank").rank.tolist() == apart.tolist()
    with pytest.raises(ValueError, match="got equal ranks in a class"):
        own(lambda images: apart * 0, "rank")
    some = np.where(apart < 3, apart, UNRANKED)
    with pytest.raises(
        ValueError, match=r"got ranks of 3 of the 6 images .* \(UNRANKED is for kinds with stops=True\)"
    ):
        own(lambda images: some, "rank", largest=6)
    assert own(lambda images: some, "rank", largest=6, stops=True).rank.max() == 2
    with pytest.raises(ValueError, match=r"got ranks of 3 of the 4 images of a class that need one$"):
        own(lambda images: some, "rank", largest=8, stops=True)


@pytest.mark.parametrize(
    ("importance", "got"),
    [
        (np.ones(N - 1), r"float64 of shape \[11\]"),
        (np.arange(1.0, N + 1), "values that are not, or that vary within a bin"),
        (np.zeros(N), "values that are not"),
        (np.full(N, np.nan), "values that are not"),
    ],
)
def test_importance_is_one_number_above_0_for_each_bin(own, importance, got):
    bins = np.array([0, 1, 1, -1] * 3)
    with pytest.raises(ValueError, match=rf"mine \(mine:importance\) must return float64\[12\], .*; got {got}"):
        own(lambda images: bins, "adaptive", importance=lambda images, found: importance)
    divided = own(lambda images: bins, "adaptive", importance=lambda images, found: np.array([2.0, 1, 1, np.nan] * 3))
    chosen = draw_places(divided, PACK.labels, 6, sampler="adaptive", generator=generator(1))
    assert np.bincount(divided.bins[chosen]).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("weights", "got"),
    [
        (torch.tensor([1.0, -3, 1]), "values that are not"),
        (torch.tensor([1.0, torch.inf, 1]), "values that are not"),
        (torch.tensor([1.0, torch.nan, 1]), "values that are not"),
        (torch.ones(3, 1), r"float32 of shape \[3, 1\]"),
        (torch.ones(N), r"float32 of shape \[12\]"),
    ],
)
def test_weights_are_finite_and_one_for_each_chosen_image(own, weights, got):
    own(lambda images: np.arange(N), "rank", weights="mine:weights")
    sys.modules["mine"].weights = lambda images, chosen: weights
    with pytest.raises(ValueError, match=rf"mine \(mine:weights\) must return float64\[3\], .*; got {got}"):
        selectors.weigh(pool(), np.array([0, 3, 5]), PACK, [], [], kind="mine")


@pytest.mark.parametrize("sampler", ["bins", "adaptive", "classes", "strata"])
def test_images_that_a_selector_leaves_out_are_not_drawn(sampler):
    divided = pool([-1, 0, 1] * 4)
    divided = Pool(*(getattr(divided, name) for name in ("rows", "tobias", "bins", "rank")), np.ones(N))
    how = {"sampler": sampler, "embedding": torch.rand(N, 4, generator=generator(0)) if sampler == "classes" else None}
    for count in (3, 8):
        chosen = draw_places(divided, PACK.labels, count, generator=generator(1), **how)
        assert len(set(chosen.tolist())) == count
        assert (divided.bins[chosen] >= 0).all()
        assert (np.diff(chosen) > 0).all()
    with pytest.raises(ValueError, match=r"leaves out 4 of 12 images|leaves 8 of 12 items"):
        draw_places(divided, PACK.labels, 9, generator=generator(1), **how)


@pytest.mark.parametrize("draw", [lambda: torch.randperm(N), lambda: np.random.permutation(N)])  # noqa: NPY002
def test_what_a_selector_draws_from_a_global_generator_is_repeated(own, draw):
    states = (torch.get_rng_state(), random.getstate())
    first, second = (own(lambda images: draw(), "rank").rank.tolist() for _ in range(2))
    assert first == second != list(range(N))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


@pytest.mark.parametrize("maps", [torch.rand(3, 4, 4), torch.rand(4, 4), torch.ones(4, 4, 4, dtype=torch.int64), None])
def test_a_mask_source_gives_a_map_for_each_image(monkeypatch, maps):
    monkeypatch.setitem(sys.modules, "mine", SimpleNamespace(maps=lambda given: maps))
    monkeypatch.setitem(sources.MASK_SOURCES, "mine", MaskSource("mine", "mine:maps"))
    message = r"mask source mine \(mine:maps\) must return maps, a float tensor \[4, h, w\]; got "
    with pytest.raises(ValueError, match=message):
        sources.mask_saliency("mine", n=4, size=4)
    right = torch.rand(4, 3, 3)
    sys.modules["mine"].maps = lambda given: right
    assert sources.mask_saliency("mine", n=4, size=4) is right
