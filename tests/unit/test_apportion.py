"""Largest remainder."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqv2.apportion import largest_remainder


@pytest.mark.parametrize(
    ("weights", "total", "shares"),
    [
        ([3, 3, 3], 4, [2, 1, 1]),  # quotas 4/3 each: of equal remainders the first gets the one that is left
        ([1, 0, 5], 6, [1, 0, 5]),
        ([1, 2, 3], 4, [1, 1, 2]),  # 0.67, 1.33, 2
        ([5, 1, 3, 1], 5, [3, 1, 1, 0]),  # 2.5, 0.5, 1.5, 0.5: the first two of four equal remainders
        ([0, 7, 0], 3, [0, 3, 0]),
        ([2, 2], 0, [0, 0]),
        ([0, 0], 0, [0, 0]),
        ([0.5, 1.5, 2.0], 3, [0, 1, 2]),  # 0.375, 1.125, 1.5
        ([0.5, 0.0, 0.5], 1, [1, 0, 0]),
        ([0.1, 0.2, 0.3], 6, [1, 2, 3]),
        ([2.0, 2.0, 5.0], 3, [1, 1, 1]),  # remainders 2/3 each, which rounding makes different
        ([0.2, 0.6, 0.3, 0.3, 0.1], 3, [0, 1, 1, 1, 0]),  # 0.4, 1.2, 0.6, 0.6, 0.2
    ],
)
def test_by_hand(weights, total, shares):
    found = largest_remainder(torch.tensor(weights), total)
    assert found.dtype == torch.int64
    assert found.tolist() == shares


def test_of_no_group():
    assert largest_remainder(torch.zeros(0, dtype=torch.int64), 0).tolist() == []


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(any), st.data())
def test_largest_remainder_is_exact_and_within_one_of_the_quota(sizes, data):
    count = data.draw(st.integers(0, sum(sizes)))
    take = largest_remainder(torch.tensor(sizes), count).tolist()
    assert sum(take) == count
    assert all(t <= s and abs(t - count * s / sum(sizes)) < 1 for t, s in zip(take, sizes, strict=True))
