"""Sampling a coreset of an exact size: from bins (DQ's second step), at random, or by rank.

Draws are made on the generator's device, so a CPU generator gives the same coreset wherever the data lie.
"""

from __future__ import annotations

import math
import numbers

import torch
from torch import Tensor


def sample_bins(bins: Tensor, labels: Tensor | None, keep: float | int, *, generator: torch.Generator) -> Tensor:
    """Draw the same share of every bin, and within a bin of every class: sorted indices, int64[K].

    bins: int[N], as from `graphcut_bins`; labels: int[N] or None; keep: a ratio in (0, 1] (a float: K =
    keep·N rounded half to even, at least 1) or a count (an int in 1..N). K is exact: bins share it by largest
    remainder, and what rounding leaves a class short of in one bin is made up in the next, so that class
    totals stay within about 1 of keep·(items of the class). (DQ rounds per bin and class and misses K.) Items
    are then drawn uniformly without replacement within (bin, class). Raises ValueError for other shapes or
    values.
    """
    n = _length(bins, "bins")
    labels = torch.zeros_like(bins) if labels is None else labels
    if _length(labels, "labels") != n:
        raise ValueError(f"bins has {n} items and labels {len(labels)}; both need one entry an item")
    count = keep_count(keep, n)
    bin_id, class_id = (values.cpu().unique(return_inverse=True)[1] for values in (bins, labels))
    n_classes = int(class_id.max()) + 1
    group = bin_id * n_classes + class_id
    sizes = torch.bincount(group, minlength=(int(bin_id.max()) + 1) * n_classes).view(-1, n_classes)
    take = _share_within_bins(sizes, largest_remainder(sizes.sum(1), count), count)
    priority = torch.randperm(n, generator=generator, device=generator.device).cpu()
    return _first_of_each_group(group, priority, take.flatten()).to(bins.device)


def sample_random(n: int, keep: float | int, *, generator: torch.Generator) -> Tensor:
    """Draw K of n items uniformly without replacement: sorted indices, int64[K], K as in `sample_bins`."""
    count = keep_count(keep, n)
    return torch.randperm(n, generator=generator, device=generator.device)[:count].sort().values


def sample_ranked(rank: Tensor, labels: Tensor | None, keep: float | int) -> Tensor:
    """Keep the first items by rank (lowest value first) of every class: sorted indices, int64[K].

    rank: int[N] or float[N], such as `graphcut_order` gives, ties to the lowest index; K as in `sample_bins`,
    shared among the classes by largest remainder. Raises ValueError for NaN ranks and wrong shapes.
    """
    n = _length(rank, "rank", integer=False)
    if bool(rank.isnan().any()):
        raise ValueError(f"rank has {int(rank.isnan().sum())} NaN values; every item needs a rank")
    labels = torch.zeros(n, dtype=torch.int64) if labels is None else labels
    if _length(labels, "labels") != n:
        raise ValueError(f"rank has {n} items and labels {len(labels)}; both need one entry an item")
    _, group, sizes = labels.cpu().unique(return_inverse=True, return_counts=True)
    take = largest_remainder(sizes, keep_count(keep, n))
    return _first_of_each_group(group, rank.cpu(), take).to(rank.device)


def keep_count(keep: float | int, n: int) -> int:
    """How many of n items a keep ratio (float in (0, 1]) or count (int in 1..n) means, else ValueError."""
    if isinstance(keep, bool) or not isinstance(keep, numbers.Real):
        raise ValueError(f"keep must be a ratio in (0, 1] or a whole number of items, got {keep!r}")
    if isinstance(keep, numbers.Integral):
        if not 1 <= keep <= n:
            raise ValueError(f"keep = {keep} is a count of items and must lie in 1..{n}; for a share give a float")
        return int(keep)
    if not (math.isfinite(keep) and 0 < keep <= 1):
        raise ValueError(f"keep = {keep} is a ratio and must lie in (0, 1]; for a count of items give an int")
    if n < 1:
        raise ValueError("there are no items to keep any of")
    return max(1, round(float(keep) * n))


def largest_remainder(sizes: Tensor, count: int) -> Tensor:
    """Share `count` among groups in proportion to their sizes: int64[groups], exact in total.

    Each group gets its quota rounded down, the largest remainders one more (of equal ones the first), never
    more than its size.
    """
    quota = sizes * count  # in units of 1 / total: integers, so that ties are exact
    total = int(sizes.sum())
    take, remainder = quota // total, quota % total
    order = remainder.sort(descending=True, stable=True).indices
    take[order[: count - int(take.sum())]] += 1
    return take


def _share_within_bins(sizes: Tensor, bin_counts: Tensor, count: int) -> Tensor:
    """Split each bin's count among its classes, int64[bins, classes], carrying rounding from bin to bin."""
    total = int(sizes.sum())
    take = torch.zeros_like(sizes)
    due = torch.zeros_like(sizes[0])  # per class, what its quota is ahead of its items so far, in units of 1 / total
    for b, here in enumerate(sizes):
        due += here * count
        share = torch.minimum((due // total).clamp(min=0), here)
        missing = int(bin_counts[b] - share.sum())
        while missing:
            step = 1 if missing > 0 else -1
            room = here > share if step > 0 else share > 0
            want = torch.where(room, step * (due - share * total), torch.iinfo(torch.int64).min)
            chosen = want.sort(descending=True, stable=True).indices[: min(abs(missing), int(room.sum()))]
            share[chosen] += step
            missing -= step * len(chosen)
        take[b] = share
        due -= share * total
    return take


def _first_of_each_group(group: Tensor, priority: Tensor, take: Tensor) -> Tensor:
    """Sorted indices of the take[g] items of lowest priority of every group g; ties to the lowest index."""
    order = priority.sort(stable=True).indices
    order = order[group[order].sort(stable=True).indices]
    ordered = group[order]
    starts = torch.bincount(group, minlength=len(take)).cumsum(0).roll(1)
    starts[0] = 0
    place = torch.arange(len(group)) - starts[ordered]
    return order[place < take[ordered]].sort().values


def _length(values: Tensor, name: str, *, integer: bool = True) -> int:
    if not isinstance(values, Tensor) or values.dim() != 1 or len(values) == 0:
        got = f"shape {list(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{name} must be a tensor of one dimension with one entry an item, got {got}")
    if integer and (values.is_floating_point() or values.dtype == torch.bool):
        raise ValueError(f"{name} must hold integers, got {values.dtype}")
    return len(values)
