"""The selectors of `dqv2.select.table` as functions with one signature: candidates and keys in, int64[M] out.

The first line of each docstring appears in the table in docs/stages.md.
"""

import numpy as np
import torch
from torch import Tensor

from dqv2.select.baselines.adaptive import bin_importance, texture_levels
from dqv2.select.baselines.bins import ccs_strata, random_bins, score_bins, uniform_bins
from dqv2.select.baselines.geometry import herding_order, k_center_order
from dqv2.select.baselines.gradient import craig_order, craig_weights, gradmatch_order, gradmatch_weights
from dqv2.select.baselines.scores import rank_by_score
from dqv2.select.candidates import Candidates
from dqv2.select.graphcut import graphcut_bins, graphcut_order


def one_bin(images: Candidates) -> Tensor:
    """Leaves all images in one bin (the control of the paper)."""
    return torch.zeros(len(images), dtype=torch.int64)


def graphcut(images: Candidates, *, lam: float, features: str) -> Tensor:
    """Ranks greedily by GraphCut gains (Iyer et al. 2021; DeepCore, Guo et al. 2022)."""
    return graphcut_order(images.features(features), images.labels, lam=lam, budget=images.budget)


def graphcut_into_bins(images: Candidates, *, n_bins: int, lam: float, features: str) -> Tensor:
    """Fills bin after bin by GraphCut gains, as DQ does (Zhou et al. 2023, Dataset Quantization)."""
    return graphcut_bins(images.features(features), images.labels, n_bins=n_bins, lam=lam)


def at_random(images: Candidates, *, n_bins: int) -> Tensor:
    """Divides at random (DQ_V2, table 3)."""
    return random_bins(len(images), n_bins=n_bins, generator=images.generator, labels=images.labels)


def in_turn(images: Candidates, *, n_bins: int) -> Tensor:
    """Deals the images over the bins in turn (DQ_V2, table 3)."""
    return uniform_bins(len(images), n_bins=n_bins, labels=images.labels)


def by_quantiles(images: Candidates, *, n_bins: int, score: str) -> Tensor:
    """Divides by quantiles of a score of one pass (DQ_V2, table 3, EarlyTrain)."""
    return score_bins(images.score(score), images.labels, n_bins=n_bins)


def by_score(images: Candidates, *, score: str) -> Tensor:
    """Ranks by a score, the highest first (Paul et al. 2021; Toneva et al. 2019; Coleman et al. 2020)."""
    return rank_by_score(images.scores)


def into_strata(images: Candidates, *, score: str, n_strata: int, prune_hardest: float) -> Tensor:
    """Drops the hardest images and cuts the range of a score into strata (Zheng et al. 2023, CCS)."""
    return ccs_strata(images.scores, n_strata=n_strata, prune_hardest=prune_hardest)


def herding(images: Candidates, *, features: str) -> Tensor:
    """Keeps the mean of the chosen near the class mean (Welling 2009; Chen et al. 2010)."""
    return herding_order(images.features(features), images.labels, budget=images.budget)


def k_center(images: Candidates, *, features: str) -> Tensor:
    """Takes the image farthest from those chosen (Sener & Savarese 2018)."""
    return k_center_order(images.features(features), images.labels, budget=images.budget)


def craig(images: Candidates, *, features: str) -> Tensor:
    """Covers the class by facility location (Mirzasoleiman et al. 2020, CRAIG)."""
    return craig_order(images.features(features), images.labels, budget=images.budget)


def gradmatch(images: Candidates, *, features: str) -> Tensor:
    """Matches the class's mean by orthogonal pursuit (Killamsetty et al. 2021, GRAD-MATCH)."""
    return gradmatch_order(images.features(features), images.labels, budget=images.budget)


def weights_of_craig(images: Candidates, chosen: Tensor, *, features: str) -> Tensor:
    """For each chosen image, how many images of its class are nearest to it: float64[K]."""
    return craig_weights(images.features(features), images.labels, chosen)


def weights_of_gradmatch(images: Candidates, chosen: Tensor, *, features: str) -> Tensor:
    """The weights with which the chosen gradients sum to those of their class: float64[K]."""
    return gradmatch_weights(images.features(features), images.labels, chosen)


def importance_of_bins(images: Candidates, bins: Tensor, *, n_bins: int, lam: float, features: str) -> Tensor:
    """Bins of higher importance give more (Li et al. 2025, Adaptive Dataset Quantization).

    Returns the importance of each image's bin, float64[M]; bins that DQ's sizes leave empty do not count.
    """
    parts = np.array_split(np.arange(len(images)), max(1, len(images) // 1024))
    texture = torch.cat([texture_levels(images.pixels(part)) for part in parts])
    bins = bins.unique(return_inverse=True)[1]
    return bin_importance(bins, texture, images.features(features))[bins]
