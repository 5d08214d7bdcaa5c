"""GraphCut selection: DQ's division of a dataset into bins, and the plain greedy order (the GC baseline).

Source: Zhou et al. 2023, Dataset Quantization (section 3.2 and its published code); Iyer et al. 2021 for GraphCut.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from dqv2.arguments import as_labels, check_limit, check_positive, is_number
from dqv2.select.batched import Groups, group_bytes, groups
from dqv2.select.budget import UNRANKED, Budget, class_budgets
from dqv2.select.greedy import greedy_ranks
from dqv2.select.similarity import (
    Array,
    Features,
    as_features,
    check_features,
    cosine,
    device_of,
    factors_of,
    take,
)
from dqv2.select.threads import as_here, torch_threads

MAX_BYTES = 4 * 2**30
"""Limit on the similarity matrices held at once, in bytes; rows of a class above it are computed as needed."""


def graphcut_bins(
    features: Features | Array,
    labels: Tensor | Array | None = None,
    *,
    n_bins: int = 10,
    lam: float = 1.0,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """Divide the items into bins by GraphCut, as DQ does: int64[N] in 0..n_bins-1, bin 0 is chosen first.

    With sim(a, b) = 0.5 + 0.5·cos(a, b), the bins are filled greedily one after the other from the items that earlier
    bins left (G): the next item maximises lam·Σ_{j∈G} sim(i, j) − 2·Σ_{s∈S} sim(i, s), where S is the open bin so far
    and G stays the same until the bin closes. The last bin is the remainder. Computed in float64; gains that are equal
    up to rounding, such as those of exact duplicates, go to the lowest index, on every device. Source: Zhou et al.
    2023, section 3.2 and its published code.

    features: float[N, D] (a tensor, or a NumPy array, which may be memory-mapped and is read class by class),
    `GradientFeatures`, or `FeatureRows`, which are computed class by class. labels: int[N], or None for one division
    over all items. Bin sizes follow DQ: round(N / n_bins) in total, and with labels round(size / remaining · the
    class's remaining) per class, with Python's round; a small class may have no item in some bins. lam: finite, at
    least 0. max_bytes: limit on the similarity matrices, n²·8 bytes for a class of n items; as many classes as fit are
    processed in parallel on torch's threads, or in groups on a GPU. A class above it is processed without its matrix,
    with the same result.

    The result is on the device of the features. Raises ValueError for rows that are zero, NaN or infinite, and for
    other shapes, labels, n_bins, lam or max_bytes.
    """
    check_positive(n_bins, "n_bins")
    _check_lam(lam)
    features, threads = as_features(features), torch.get_num_threads()
    with torch_threads(1):
        classes = members_of_classes(labels, check_features(features))
        budgets = [sizes[:-1] for sizes in bin_sizes([len(c) for c in classes], int(n_bins))]
        rank = _ranks(features, classes, budgets, lam, max_bytes, threads).numpy()
    bins = np.empty(len(rank), dtype=np.int64)
    for members, sizes in zip(classes, budgets, strict=True):
        bins[members] = np.searchsorted(np.cumsum(sizes), rank[members], side="right")
    return torch.from_numpy(bins).to(device_of(features))


def graphcut_order(
    features: Features | Array,
    labels: Tensor | Array | None = None,
    *,
    lam: float = 1.0,
    budget: Budget = None,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """Rank of each item in the greedy GraphCut order of its class (0 is chosen first): int64[N].

    The first k of the order are the GC baseline's coreset of k items: one greedy run whose ground set is all items of
    the class throughout (Iyer et al. 2021; DeepCore). budget: as in `herding_order`. Other arguments, ties, device and
    errors: as in `graphcut_bins`.
    """
    _check_lam(lam)
    features, threads = as_features(features), torch.get_num_threads()
    with torch_threads(1):
        classes = members_of_classes(labels, check_features(features))
        budgets = class_budgets(budget, [len(members) for members in classes])
        rank = _ranks(features, classes, [[each] for each in budgets], lam, max_bytes, threads)
        for members, each in zip(classes, budgets, strict=True):
            rank[members[rank[members] >= each]] = UNRANKED
    return rank.to(device_of(features))


def bin_sizes(class_counts: Sequence[int], n_bins: int) -> list[list[int]]:
    """DQ's bin sizes: for each class a list of n_bins counts, which sum to the class's count.

    Where DQ stops with an error, a class gets 0 items in a bin, and it never gets more than it has left.
    """
    left = list(class_counts)
    size = round(sum(left) / n_bins)
    sizes: list[list[int]] = [[] for _ in left]
    for _ in range(n_bins - 1):
        fraction = size / max(sum(left), 1)
        for c, count in enumerate(left):
            sizes[c].append(min(round(fraction * count), count))
            left[c] -= sizes[c][-1]
    return [[*taken, rest] for taken, rest in zip(sizes, left, strict=True)]


def _ranks(
    features: Features,
    classes: Sequence[Tensor],
    budgets: Sequence[Sequence[int]],
    lam: float,
    max_bytes: int,
    threads: int,
) -> Tensor:
    """`greedy_ranks` of each class, int64[N] on the CPU, by the method that suits the device and the sizes.

    threads: to use in total. The caller sets torch to one thread: only matrix products gain from more, while a small
    operation split over threads waits for the slowest of them, for milliseconds where other jobs keep the cores busy.
    """
    check_limit(max_bytes, "max_bytes")
    rank = torch.empty(len(features), dtype=torch.int64)
    sizes = [len(members) for members in classes]
    rest, turn = list(range(len(classes))), Lock()
    if _batches(device_of(features)):
        rest = _ranks_in_groups(rank, features, classes, budgets, lam, max_bytes, threads)
    # Classes run in parallel in threads, one core each, as BLAS releases the GIL (processes would compute just as much
    # and take seconds to start): as many as have matrices that fit into max_bytes; spare cores are shared among them.
    largest = max((sizes[c] for c in rest), default=1)
    workers = max(1, min(threads, len(rest), max_bytes // (8 * largest**2)))

    def one_class(c: int) -> None:
        # Several threads write to `rank`, each at its own indices.
        members = classes[c]
        whole = len(members) == len(features)
        similarity = cosine(features, None if whole else members, threads=threads // workers)
        rank[members] = torch.from_numpy(greedy_ranks(similarity, budgets[c], lam, max_bytes, turn))

    if workers == 1:
        for c in rest:
            one_class(c)
        return rank
    pool = ThreadPoolExecutor(workers, "graphcut", torch.set_num_threads, (1,))
    try:
        for _ in pool.map(as_here(one_class), rest):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or a signal no further class is started
    return rank


def _batches(device: torch.device) -> bool:
    """Whether classes are batched on this device; a CPU is faster with one class per core."""
    return device.type == "cuda"


def _ranks_in_groups(
    rank: Tensor,
    features: Features,
    classes: Sequence[Tensor],
    budgets: Sequence[Sequence[int]],
    lam: float,
    max_bytes: int,
    threads: int,
) -> list[int]:
    """Write the ranks of the classes that fit into max_bytes, group by group; return the other classes."""
    widths = [factor.shape[1] for factor in factors_of(take(features, classes[0][:1]))]
    small = [c for c, members in enumerate(classes) if group_bytes([len(members)], widths) <= max_bytes]
    ranked = Groups(features, lam, threads)
    for group in groups([len(classes[c]) for c in small], widths, max_bytes):
        members = [classes[small[k]] for k in group]
        found = ranked.ranks(members, [budgets[small[k]] for k in group])
        rank[torch.cat(members)] = torch.cat(found).cpu()
    return sorted(set(range(len(classes))) - set(small))


def members_of_classes(labels: Tensor | Array | None, n: int) -> list[Tensor]:
    """Indices of each class, int64, ascending, by ascending label; without labels one class of all n items.

    Raises ValueError unless labels are n integers.
    """
    if labels is None:
        return [torch.arange(n)]
    _, counts = (ordered := as_labels(labels, n).cpu().sort(stable=True)).values.unique_consecutive(return_counts=True)
    return list(ordered.indices.split(counts.tolist()))


def _check_lam(lam: float) -> None:
    if not is_number(lam) or not 0 <= lam < math.inf:
        raise ValueError(f"lam must be a finite number of at least 0, got {lam!r}")
