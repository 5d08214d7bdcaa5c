"""Divisions into bins other than GraphCut's (table 3), and coverage-centric sampling over strata of a score."""

import torch
from torch import Tensor

from dqv2.arguments import as_tensor, check_positive, is_number, random_order
from dqv2.select.baselines.scores import check_scores, rank_by_score
from dqv2.select.graphcut import bin_sizes, members_of_classes
from dqv2.select.sampling import sample_strata
from dqv2.select.similarity import Array


def score_bins(scores: Tensor | Array, labels: Tensor | Array | None = None, *, n_bins: int = 10) -> Tensor:
    """Divide by quantiles of a score, class by class: int64[N], bin 0 holds the highest scores.

    With a score of early training, such as EL2N, this is table 3's EarlyTrain division (the paper does not say
    which score). Bin sizes are those of `graphcut_bins`; ties go to the lowest index. scores: real[N];
    labels: int[N] or None. Raises ValueError for NaN scores and wrong shapes.
    """
    scores = as_tensor(scores)
    rank = rank_by_score(scores).cpu()
    check_positive(n_bins, "n_bins")
    classes = members_of_classes(labels, len(rank))
    bins = torch.empty_like(rank)
    for members, sizes in zip(classes, bin_sizes([len(c) for c in classes], int(n_bins)), strict=True):
        bins[members[rank[members].argsort()]] = torch.arange(int(n_bins)).repeat_interleave(torch.tensor(sizes))
    return bins.to(scores.device)


def random_bins(
    n: int, *, n_bins: int = 10, generator: torch.Generator, labels: Tensor | Array | None = None
) -> Tensor:
    """Divide n items at random, class by class: int64[n]. Table 3's Random; bin sizes are those of `graphcut_bins`.

    Raises ValueError for n or n_bins below 1 and wrong labels, TypeError unless `generator` is a `torch.Generator`.
    """
    check_positive(n, "n")
    order = random_order(int(n), generator).cpu()
    return score_bins(order, labels, n_bins=n_bins)


def uniform_bins(n: int, *, n_bins: int = 10, labels: Tensor | Array | None = None) -> Tensor:
    """Deal n items in their order over the bins in turn, class after class: int64[n].

    Table 3's Uniform, which the paper does not define; this reading has no randomness: every bin gets every n_bins-th
    item of a class. Each class continues where the one before stopped, so that the bins' sizes, per class and in total,
    differ by at most 1. Raises ValueError for n or n_bins below 1 and wrong labels.
    """
    check_positive(n, "n")
    check_positive(n_bins, "n_bins")
    bins = torch.empty(int(n), dtype=torch.int64)
    bins[torch.cat(members_of_classes(labels, int(n)))] = torch.arange(int(n)) % int(n_bins)
    return bins


def ccs_strata(scores: Tensor | Array, *, n_strata: int = 50, prune_hardest: float = 0.1) -> Tensor:
    """Strata of coverage-centric coreset selection: int64[N], -1 for an item that is dropped as too hard.

    The round(prune_hardest·N) items of the highest score are dropped as likely mislabelled (ties: the lowest index
    first); the score range of the rest is cut into n_strata of equal width, stratum 0 the easiest. Source: Zheng et
    al. 2023, Coverage-centric Coreset Selection for High Pruning Rates, algorithm 1: k = 50 strata, and the share
    dropped (β) chosen per keep ratio by a search, so 0.1 is only a start. Classes play no part, as there.

    scores: real[N], higher = harder (EL2N, forgetting; for AUM give its negative). Raises ValueError for scores
    that are NaN or infinite, and for values out of range.
    """
    scores = as_tensor(scores)
    check_scores(scores)
    check_positive(n_strata, "n_strata")
    if not is_number(prune_hardest) or not 0 <= prune_hardest < 1:
        raise ValueError(f"prune_hardest must be a share in [0, 1), got {prune_hardest!r}")
    strata = torch.full((len(scores),), -1, dtype=torch.int64)
    rest = (rank_by_score(scores).cpu() >= round(prune_hardest * len(scores))).nonzero().flatten()
    if len(rest) == 0:
        raise ValueError(f"prune_hardest = {prune_hardest} drops all {len(scores)} items: lower it")
    easier = scores.cpu().double()[rest]
    if not bool((easier.max() - easier.min()).isfinite()):
        easier = easier / 2  # of the same strata
    width = (easier.max() - easier.min()) / int(n_strata)
    strata[rest] = 0
    if width > 0:
        strata[rest] = ((easier - easier.min()) / width).long().clamp(max=int(n_strata) - 1)
    return strata.to(scores.device)


def ccs_sample(
    scores: Tensor | Array,
    keep: float | int,
    *,
    n_strata: int = 50,
    prune_hardest: float = 0.1,
    generator: torch.Generator,
) -> Tensor:
    """Coverage-centric coreset selection: sorted indices, int64[K]; `ccs_strata`, then `sample_strata`.

    keep: a ratio or a count as in `sample_bins`; K is exact. Other arguments and errors as in these two.
    """
    strata = ccs_strata(scores, n_strata=n_strata, prune_hardest=prune_hardest)
    return sample_strata(strata, keep, generator=generator)
