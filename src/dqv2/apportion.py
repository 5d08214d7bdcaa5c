"""Whole numbers in proportion to weights, exact in total."""

import torch
from torch import Tensor


def largest_remainder(weights: Tensor, total: int) -> Tensor:
    """Share `total` among groups in proportion to their weights: int64[groups] with sum `total`.

    Largest-remainder (Hamilton) method: each group gets its quota rounded down, and the groups with the largest
    remainders get one more, ties to the lowest index. A group of weight 0 gets nothing. Where the weights are the
    groups' sizes and `total` is at most their sum, no group gets more than its size.

    weights: [groups], non-negative. With integer weights, such as sizes, the arithmetic is exact, and so are ties; with
    others remainders that are equal up to rounding are tied.
    """
    if weights.is_floating_point():
        quota = total * weights.double() / weights.double().sum()
        shares = quota.floor().long()
        remainder = ((quota - shares) * 2**30).round()  # so that rounding breaks no tie
    else:
        quota, whole = weights * total, max(int(weights.sum()), 1)  # in units of 1 / whole
        shares, remainder = quota // whole, quota % whole
    order = remainder.masked_fill(weights == 0, -1).sort(descending=True, stable=True).indices
    shares[order[: total - int(shares.sum())]] += 1
    return shares


def within_room(weights: Tensor, room: Tensor, total: int) -> Tensor:
    """Share `total` in proportion to weights, capped by each group's room: int64[groups] with sum `total`.

    A group whose quota reaches its room gets its room, and the others share the rest. Groups of weight 0 get something
    only once the others are full, then in proportion to their room.

    weights: float[groups], non-negative. room: int64[groups], summing to at least `total`.
    """
    if not bool((weights > 0).any()):
        return largest_remainder(room, total)
    take, weights, left = torch.zeros_like(room), weights.clone(), total
    while left:
        quota = left * weights / weights.sum()
        full = (weights > 0) & (quota >= room)
        if not bool(full.any()):
            return take + largest_remainder(weights, left)
        take[full], weights[full] = room[full], 0.0
        left = total - int(take.sum())
        if left and not bool((weights > 0).any()):
            return take + largest_remainder(room - take, left)
    return take
