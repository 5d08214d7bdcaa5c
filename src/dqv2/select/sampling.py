"""Sampling a coreset of an exact size: from bins (DQ's second step), at random, or by rank.

Draws are made on the generator's device, so a CPU generator gives the same coreset wherever the data lie.
"""

import math

import torch
from torch import Tensor

from dqv2.apportion import largest_remainder, within_room
from dqv2.arguments import as_labels, as_tensor, check_positive, check_vector, is_number, is_whole, random_order
from dqv2.select.budget import UNRANKED
from dqv2.select.similarity import Array


def sample_bins(
    bins: Tensor | Array, labels: Tensor | Array | None, keep: float | int, *, generator: torch.Generator
) -> Tensor:
    """Draw the same share of every bin, and within a bin of every class: sorted indices, int64[K].

    DQ's second step (Zhou et al. 2023, section 3.2), with an exact size. bins: int[N], as from `graphcut_bins`; labels:
    int[N] or None; keep: a ratio in (0, 1] (a float: K = keep·N rounded half to even, at least 1) or a count (an int in
    1..N). K is exact: it is shared among the bins by largest remainder, and what a class falls short by in one bin is
    made up in the next, so that class totals stay within about 1 of keep·(items of the class). (DQ rounds per bin and
    class and misses K.) Items are then drawn uniformly without replacement within (bin, class). A bin of -1 is a bin
    like any other. Raises ValueError for other shapes or values, TypeError unless `generator` is a `torch.Generator`.
    """
    bins = as_tensor(bins)
    count = keep_count(keep, check_vector(bins, "bins"))
    bin_id = bins.cpu().unique(return_inverse=True)[1]
    counts = largest_remainder(torch.bincount(bin_id), count)
    return _draw(bin_id, labels, counts, generator).to(bins.device)


def sample_strata(strata: Tensor | Array, keep: float | int, *, generator: torch.Generator) -> Tensor:
    """Draw K items from the strata of `ccs_strata`: sorted indices, int64[K], K as in `sample_bins`.

    Starting with the smallest stratum, each gives an equal part of the remaining budget, or all it has; within a
    stratum items are drawn uniformly at random (Zheng et al. 2023, algorithm 1). strata: int[N], -1 for items that are
    left out. Raises ValueError where fewer than K items have a stratum.
    """
    strata = as_tensor(strata)
    keep = keep_count(keep, check_vector(strata, "strata"))
    strata, device = strata.cpu().long(), strata.device
    rest = (strata >= 0).nonzero().flatten()
    if len(rest) < keep:
        raise ValueError(
            f"prune_hardest leaves {len(rest)} of {len(strata)} items, and keep asks for {keep}: lower prune_hardest "
            "or keep"
        )
    stratum = strata[rest].unique(return_inverse=True)[1]
    sizes = torch.bincount(stratum)
    take = torch.zeros_like(sizes)
    left = keep
    for place, b in enumerate(sizes.argsort(stable=True).tolist()):
        take[b] = min(int(sizes[b]), left // (len(sizes) - place))
        left -= int(take[b])
    priority = random_order(len(rest), generator).cpu()
    return rest[first_of_each_group(stratum, priority, take)].to(device)


def adaptive_bin_counts(bins: Tensor | Array, importance: Tensor | Array, keep: float | int) -> Tensor:
    """How many items ADQ takes from each bin: int64[B] with sum K, in proportion to (size of the bin)·(its importance).

    K is exact, by largest remainder (ties to the lowest bin); a bin that has fewer items than its part gives all, and
    the others share the rest. (ADQ rounds per bin and may miss K or ask for more items than there are.)

    bins: int[N] in 0..B-1, none empty; importance: float[B], finite and above 0; keep as in `sample_bins`. Raises
    ValueError for other shapes or values.
    """
    bins, importance = as_tensor(bins), as_tensor(importance)
    check_vector(bins, "bins")
    check_vector(importance, "importance", integer=False)
    sizes, importance = filled_bin_sizes(bins), importance.cpu().double()
    # len(bins) ** 2 bounds every factor that the products below apply
    finite = (importance * len(bins) ** 2).isfinite()
    if importance.shape != sizes.shape or not bool((finite & (importance > 0)).all()):
        raise ValueError(
            f"importance must be one finite number above 0 for each of {len(sizes)} bins, got {importance}"
        )
    return within_room(sizes * importance, sizes, keep_count(keep, len(bins))).to(bins.device)


def sample_adaptive(
    bins: Tensor | Array,
    labels: Tensor | Array | None,
    importance: Tensor | Array,
    keep: float | int,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Draw `adaptive_bin_counts` items from every bin: sorted indices, int64[K].

    Within the bins as in `sample_bins`: classes keep their share of K as far as the bins allow, and items are drawn
    uniformly within (bin, class). Errors as in `adaptive_bin_counts` and `sample_bins`.
    """
    bins = as_tensor(bins)
    counts = adaptive_bin_counts(bins, importance, keep)
    return _draw(bins.cpu().long(), labels, counts.cpu(), generator).to(bins.device)


def filled_bin_sizes(bins: Tensor) -> Tensor:
    """Number of items in each bin, int64[B]; raises ValueError unless bins are numbered 0..B-1 and none is empty."""
    if int(bins.min()) < 0:
        raise ValueError(f"bins must be numbered from 0, got {int(bins.min())}")
    sizes = torch.bincount(bins.cpu().long().clamp(max=len(bins)))  # larger numbers leave a gap too
    if bool((sizes == 0).any()):
        raise ValueError(
            f"bin {int((sizes == 0).int().argmax())} of {len(sizes)} has no items: number the bins without gaps"
        )
    return sizes


def sample_random(n: int, keep: float | int, *, generator: torch.Generator) -> Tensor:
    """Draw K of n items uniformly without replacement: sorted indices, int64[K], K as in `sample_bins`.

    Raises ValueError for an n or keep out of range.
    """
    check_positive(n, "n")
    count = keep_count(keep, n)
    return random_order(n, generator)[:count].sort().values


def sample_ranked(rank: Tensor | Array, labels: Tensor | Array | None, keep: float | int) -> Tensor:
    """Keep the first items by rank (lowest value first) of every class: sorted indices, int64[K].

    rank: int[N] or float[N], as from `graphcut_order`, ties to the lowest index; K as in `sample_bins`, shared among
    the classes by largest remainder. Raises ValueError for NaN ranks, wrong shapes, and where K would take items beyond
    the budget at which the order stopped.
    """
    rank = as_tensor(rank)
    n = check_vector(rank, "rank", integer=False)
    if bool(rank.isnan().any()):
        raise ValueError(f"rank has {int(rank.isnan().sum())} NaN values; every item needs a rank")
    group = class_ids(labels, n)
    sizes = torch.bincount(group)
    take = largest_remainder(sizes, keep_count(keep, n))
    known = rank.cpu().double() if rank.is_floating_point() else rank.cpu()  # in float16 UNRANKED would be infinite
    ranked = torch.bincount(group[known != UNRANKED], minlength=len(sizes))
    if bool((short := take > ranked).any()):
        c = int(short.int().argmax())
        raise ValueError(
            f"keep takes {int(take[c])} of the {int(sizes[c])} items of a class whose order stopped at its budget of "
            f"{int(ranked[c])}: make the order with a larger budget (in the pipeline: let an experiment ask for this "
            "keep ratio), or keep less"
        )
    return first_of_each_group(group, rank.cpu(), take).to(rank.device)


def keep_count(keep: float | int, n: int) -> int:
    """The number of items that `keep` means for n items: a ratio (float in (0, 1]) or a count (int in 1..n).

    Raises ValueError for anything else.
    """
    if not is_number(keep):
        raise ValueError(f"keep must be a ratio in (0, 1] or a whole number of items, got {keep!r}")
    if is_whole(keep):
        if not 1 <= keep <= n:
            raise ValueError(f"keep = {keep} is a count of items and must lie in 1..{n}; for a share give a float")
        return int(keep)
    if not (math.isfinite(keep) and 0 < keep <= 1):
        raise ValueError(f"keep = {keep} is a ratio and must lie in (0, 1]; for a count of items give an int")
    if n < 1:
        raise ValueError("there are no items to keep")
    return max(1, round(float(keep) * n))


def _draw(bins: Tensor, labels: Tensor | Array | None, counts: Tensor, generator: torch.Generator) -> Tensor:
    """Sorted indices of counts[b] items of each bin b, with the classes in proportion; all on the CPU."""
    class_id = class_ids(labels, len(bins))
    n_classes = int(class_id.max()) + 1
    group = bins * n_classes + class_id
    sizes = torch.bincount(group, minlength=len(counts) * n_classes).view(-1, n_classes)
    take = _share_within_bins(sizes, counts, int(counts.sum()))
    priority = random_order(len(bins), generator).cpu()
    return first_of_each_group(group, priority, take.flatten())


def class_ids(labels: Tensor | Array | None, n: int) -> Tensor:
    """Labels renumbered from 0 without gaps, int64[n] on the CPU; all 0 for None.

    Raises ValueError unless labels are n integers.
    """
    if labels is None:
        return torch.zeros(n, dtype=torch.int64)
    return as_labels(labels, n).cpu().unique(return_inverse=True)[1]


def _share_within_bins(sizes: Tensor, bin_counts: Tensor, count: int) -> Tensor:
    """Split each bin's count among its classes, int64[bins, classes], carrying rounding from bin to bin."""
    total = int(sizes.sum())
    take = torch.zeros_like(sizes)
    due = torch.zeros_like(sizes[0])  # per class, quota minus items taken so far, in units of 1 / total
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


def first_of_each_group(group: Tensor, priority: Tensor, take: Tensor) -> Tensor:
    """Sorted indices of the take[g] items with the lowest priority value in every group g; ties to the lowest index."""
    return (place_in_group(group, priority) < take[group]).nonzero().flatten()


def place_in_group(group: Tensor, priority: Tensor) -> Tensor:
    """The position of each item in its group by ascending priority, int64[N]; ties by index."""
    order = priority.argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    sizes = torch.bincount(group)
    place = torch.empty_like(group)
    place[order] = torch.arange(len(group)) - (sizes.cumsum(0) - sizes)[group[order]]
    return place
