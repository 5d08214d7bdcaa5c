"""Whole numbers in proportion to weights, exact in total."""

import torch
from torch import Tensor


def largest_remainder(weights: Tensor, total: int) -> Tensor:
    """Share `total` among groups in proportion to their weights: int64[groups], which add up to it.

    Each group gets its quota rounded down, those of the largest remainders one more, of equal ones the first. Nothing
    goes to a weight of 0, and no group gets more than a weight that is its size, as long as `total` is at most their
    sum.

    weights: [groups], none negative. Integers, such as sizes, are shared without rounding, so that ties are exact.
    """
    if weights.is_floating_point():
        quota = total * weights / weights.sum()
        shares = quota.floor().long()
        remainder = quota - shares
    else:
        quota, whole = weights * total, max(int(weights.sum()), 1)  # in units of 1 / whole
        shares, remainder = quota // whole, quota % whole
    order = remainder.masked_fill(weights == 0, -1).sort(descending=True, stable=True).indices
    shares[order[: total - int(shares.sum())]] += 1
    return shares


def within_room(weights: Tensor, room: Tensor, total: int) -> Tensor:
    """Share `total` in proportion to weights, no group more than its room: int64[groups], which add up to it.

    A group whose part is its room or more gets its room, and the others share the rest; those of weight 0 get something
    only where the others are full, then in proportion to their room.

    weights: float[groups], none negative. room: int64[groups], at least `total` in all.
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
