"""Class budgets by expected error reduction: against plain numpy, exact, within what there is, more where it helps."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqv2.apportion import within_room
from dqv2.runtime.seeding import generator
from dqv2.select.baselines import class_adaptive
from dqv2.select.baselines.class_adaptive import HALVES, class_errors, even_order, expected_fall, sample_class_adaptive


def clusters(n=60, spread=(0.0, 2.0, 0.3), dimensions=12):
    """Features of three classes of so many items, each about its own place, and the classes, in one mixed order."""
    draws = np.random.default_rng(0)
    centres = np.eye(dimensions)[: len(spread)] * 3
    classes = draws.permutation(np.repeat(np.arange(len(spread)), n))
    noise = draws.normal(size=(len(classes), dimensions)) * np.array(spread)[classes][:, None]
    return torch.from_numpy(centres[classes] + noise), torch.from_numpy(classes)


def errors_by_numpy(features, classes, chosen, over=None):
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    x, y = np.c_[units, np.ones(len(units))], np.eye(classes.max() + 1)[classes]
    weights = np.linalg.inv(x[chosen].T @ x[chosen] + np.eye(x.shape[1])) @ x[chosen].T @ y[chosen]
    squares = ((x @ weights - y) ** 2).sum(1)
    return [squares[(~chosen if over is None else over) & (classes == c)].mean() for c in range(classes.max() + 1)]


@pytest.mark.parametrize("rows", [7, 2**14])
@pytest.mark.parametrize("share", [0.05, 0.5])  # fewer items than dimensions, and more
def test_errors_are_those_of_ridge_regression(share, rows, monkeypatch):
    monkeypatch.setattr(class_adaptive, "ROWS", rows)
    features, classes = clusters()
    chosen = torch.rand(len(classes), generator=generator(1)) < share
    wanted = errors_by_numpy(features.numpy(), classes.numpy(), chosen.numpy())
    np.testing.assert_allclose(class_errors(features, classes, chosen, ~chosen), wanted, rtol=1e-9)
    assert class_errors(features, classes, chosen, torch.zeros_like(chosen)).tolist() == [0, 0, 0]


def test_the_expected_fall_is_what_the_other_half_took_off():
    features, classes = clusters()
    chosen = torch.rand(len(classes), generator=generator(1)) < 0.3
    found = expected_fall(features, classes, chosen, generator=generator(2))
    draws, own = generator(2), chosen.numpy()
    falls = []
    for _ in range(HALVES):
        priority, seen = torch.randperm(len(classes), generator=draws).numpy(), np.zeros(len(classes), bool)
        for c in range(3):
            members = np.flatnonzero(own & (classes.numpy() == c))
            seen[members[priority[members].argsort()][: (len(members) + 1) // 2]] = True
        # Both errors are over the same images: those that are not chosen
        falls.append(
            np.subtract(
                errors_by_numpy(features.numpy(), classes.numpy(), seen, ~own),
                errors_by_numpy(features.numpy(), classes.numpy(), own),
            )
        )
    counts = np.bincount(classes[chosen])
    np.testing.assert_allclose(found, (np.mean(falls, 0) / (counts // 2)).clip(min=0), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_sensitive_classes_get_more_and_stable_ones_fewer(seed):
    """Two classes whose images are alike are known from a few; one of twenty kinds of images is not."""
    classes = torch.arange(300) % 3
    kind = torch.where(classes == 1, 2 + torch.arange(300) // 3 % 20, classes // 2)
    features = torch.eye(22)[kind] + 0.02 * torch.randn(300, 22, generator=generator(seed))
    bins = torch.randint(5, (300,), generator=generator(seed, "bins"))
    chosen = sample_class_adaptive(bins, classes, features, 36, generator=generator(seed, "draw"))
    counts = torch.bincount(classes[chosen])
    assert counts.sum() == len(set(chosen.tolist())) == 36
    assert counts[1] > 15
    assert max(counts[0], counts[2]) < 12, "their share is 12"
    assert counts.min() >= 6, "what the class-wise first half gave"
    again, other = (
        sample_class_adaptive(bins, classes, features, 36, generator=generator(each, "draw")) for each in (seed, 9)
    )
    assert torch.equal(chosen, again)
    assert not torch.equal(chosen, other)


@pytest.mark.parametrize("count", [1, 2, 5, 13, 65, 66])
def test_exactly_as_many_as_asked_and_none_over_its_class(count):
    classes = torch.tensor([0] * 40 + [1] * 20 + [2] * 5 + [3])
    features = torch.randn(66, 4, generator=generator(0))
    chosen = sample_class_adaptive(torch.arange(66) % 3, classes, features, count, generator=generator(1))
    assert len(set(chosen.tolist())) == count
    assert chosen.tolist() == sorted(chosen.tolist())


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 20)), min_size=1, max_size=8), st.data())
def test_parts_within_their_room_add_up(groups, data):
    weights, room = (torch.tensor(each) for each in zip(*groups, strict=True))
    total = data.draw(st.integers(0, int(room.sum())))
    found = within_room(weights.double(), room, total)
    assert found.sum() == total
    assert bool(((found >= 0) & (found <= room)).all())


def test_the_first_of_a_class_are_even_over_its_bins():
    bins, classes = torch.arange(120) % 4, (torch.arange(120) >= 70).long()
    order = even_order(bins, classes, generator=generator(0))
    for c, size in enumerate((70, 50)):
        own = order[classes == c]
        assert sorted(own.tolist()) == list(range(size))
        for first in range(1, size):
            counts = torch.bincount(bins[classes == c][own < first], minlength=4)
            share = torch.bincount(bins[classes == c]) * first / size
            assert (counts - share).abs().max() < 1.5
    assert not torch.equal(order, even_order(bins, classes, generator=generator(1)))
