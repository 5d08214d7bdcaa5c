"""The selectors of `dqv2.select.table` as functions of one form: candidates and keys in, int64[M] out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dqv2.select.baselines.adaptive import bin_importance, texture_levels
from dqv2.select.baselines.bins import ccs_strata, random_bins, score_bins, uniform_bins
from dqv2.select.baselines.geometry import herding_order, k_center_order
from dqv2.select.baselines.gradient import craig_order, gradmatch_order
from dqv2.select.baselines.scores import rank_by_score
from dqv2.select.candidates import Candidates
from dqv2.select.graphcut import graphcut_bins, graphcut_order


def one_bin(images: Candidates) -> Tensor:
    """All images in bin 0."""
    return torch.zeros(len(images), dtype=torch.int64)


def graphcut(images: Candidates, *, lam: float, features: str) -> Tensor:
    """Ranks by `graphcut_order`."""
    return graphcut_order(images.features(features), images.labels, lam=lam)


def graphcut_into_bins(images: Candidates, *, n_bins: int, lam: float, features: str) -> Tensor:
    """Bins by `graphcut_bins`."""
    return graphcut_bins(images.features(features), images.labels, n_bins=n_bins, lam=lam)


def at_random(images: Candidates, *, n_bins: int) -> Tensor:
    """Bins by `random_bins`."""
    return random_bins(len(images), n_bins=n_bins, generator=images.generator, labels=images.labels)


def in_turn(images: Candidates, *, n_bins: int) -> Tensor:
    """Bins by `uniform_bins`."""
    return uniform_bins(len(images), n_bins=n_bins, labels=images.labels)


def by_quantiles(images: Candidates, *, n_bins: int, score: str) -> Tensor:
    """Bins by `score_bins`, of a score of the pass."""
    return score_bins(images.score(score), images.labels, n_bins=n_bins)


def by_score(images: Candidates, *, score: str) -> Tensor:
    """Ranks by `rank_by_score`, of the mean score that the candidates bring."""
    return rank_by_score(images.scores)


def into_strata(images: Candidates, *, score: str, n_strata: int, prune_hardest: float) -> Tensor:
    """Strata by `ccs_strata`, of the mean score that the candidates bring."""
    return ccs_strata(images.scores, n_strata=n_strata, prune_hardest=prune_hardest)


def herding(images: Candidates, *, features: str) -> Tensor:
    """Ranks by `herding_order`."""
    return herding_order(images.features(features), images.labels)


def k_center(images: Candidates, *, features: str) -> Tensor:
    """Ranks by `k_center_order`."""
    return k_center_order(images.features(features), images.labels)


def craig(images: Candidates, *, features: str) -> Tensor:
    """Ranks by `craig_order`."""
    return craig_order(images.features(features), images.labels)


def gradmatch(images: Candidates, *, features: str) -> Tensor:
    """Ranks by `gradmatch_order`."""
    return gradmatch_order(images.features(features), images.labels)


def importance_of_bins(images: Candidates, bins: Tensor, *, n_bins: int, lam: float, features: str) -> Tensor:
    """ADQ's importance of each image's bin: float64[M]; bins that DQ's sizes leave empty do not count."""
    parts = np.array_split(np.arange(len(images)), max(1, len(images) // 1024))
    texture = torch.cat([texture_levels(images.pixels(part)) for part in parts])
    bins = bins.unique(return_inverse=True)[1]
    return bin_importance(bins, texture, images.features(features))[bins]
