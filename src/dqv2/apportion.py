"""Whole numbers in proportion to weights, exact in total."""

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
