"""ADQ: bins of higher importance give a larger share of the coreset.

Source: Li et al. 2025, Adaptive Dataset Quantization (AAAI 2025, arXiv 2412.16895), as its published code computes it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dqv2.select.graphcut import _device
from dqv2.select.sampling import _first_of_each_group, _length, _share_within_bins, keep_count
from dqv2.select.similarity import Features, check_features, cosine

_GREY = (0.299, 0.587, 0.114)
_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def texture_levels(images: Tensor) -> Tensor:
    """Texture of each image: the mean of (|∂x| + |∂y|)/2 by Sobel filters on its grey values, float64[N].

    images: uint8[N, 3, H, W] or float in [0, 1], H and W at least 2; grey is 0.299·R + 0.587·G + 0.114·B in [0, 1].
    ADQ cuts larger images into patches first, which changes only what the filters see at the patches' edges.
    """
    if not isinstance(images, Tensor) or images.dim() != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 2:
        got = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images must be [N, 3, H, W] with H and W at least 2, got {got}")
    pixels = images.double() if images.is_floating_point() else images.double() / 255
    grey = torch.einsum("nchw,c->nhw", pixels, pixels.new_tensor(_GREY))[:, None]
    kernel = grey.new_tensor(_SOBEL)
    grey = torch.nn.functional.pad(grey, (1, 1, 1, 1), mode="reflect")
    edges = torch.nn.functional.conv2d(grey, torch.stack([kernel, kernel.T])[:, None])
    return edges.abs().mean((1, 2, 3))


def bin_importance(bins: Tensor, texture: Tensor, features: Features) -> Tensor:
    """ADQ's importance of each bin, float64[B] with mean 1. Higher = a larger share of the bin is kept.

    Representativeness is the mean texture level of the bin's items; diversity is 1 / the mean cosine similarity
    of all pairs of the bin, each item with itself included. ADQ normalises both and sums them without saying how; here
    each is divided by its mean over the bins, and importance is the mean of the two. ADQ embeds two random
    crops of every image with a pretrained network; here the features are the caller's.

    bins: int[N] in 0..B-1, none empty; texture: float[N] from `texture_levels`; features: float[N, D] or
    `GradientFeatures`. Raises ValueError for other shapes and where a bin's mean similarity is not above 0.
    """
    n = check_features(features)
    if _length(bins, "bins") != n or _length(texture, "texture", integer=False) != n:
        raise ValueError(
            f"bins has {len(bins)} items, texture {len(texture)} and features {n}; all need one entry an item"
        )
    sizes = _bin_sizes(bins)
    representativeness = torch.bincount(bins.cpu(), weights=texture.cpu().double(), minlength=len(sizes)) / sizes
    similarity = torch.empty(len(sizes), dtype=torch.float64)
    for b, size in enumerate(sizes.tolist()):
        items = cosine(features, (bins.cpu() == b).nonzero().flatten().to(_device(features)))
        similarity[b] = float(items.column_sums(torch.ones(size, dtype=torch.bool)).sum()) / size**2
    if not bool((similarity > 1e-12).all()):
        raise ValueError(
            f"the mean cosine similarity in bin {int(similarity.argmin())} is {float(similarity.min()):.2g}; its "
            "inverse is the bin's diversity, so it must be above 0: use features without negative entries, such as "
            "pooled ReLU outputs"
        )
    diversity = 1 / similarity
    if not bool(representativeness.mean() > 0):
        raise ValueError("every texture level is 0: the images are flat, so representativeness says nothing")
    importance = (representativeness / representativeness.mean() + diversity / diversity.mean()) / 2
    return importance.to(bins.device)


def adaptive_bin_counts(bins: Tensor, importance: Tensor, keep: float | int) -> Tensor:
    """How many items each bin gives: int64[B], in proportion to (size of the bin)·(its importance), K in all.

    K is exact, by largest remainder (of equal ones the first bin); a bin that has fewer items than its part
    gives all, and the others share the rest. (ADQ rounds per bin and may miss K or ask for more than there is.)

    bins: int[N] in 0..B-1, none empty; importance: float[B], finite and above 0; keep as in `sample_bins`.
    """
    _length(bins, "bins")
    sizes = _bin_sizes(bins)
    importance = importance.cpu().double()
    if importance.shape != sizes.shape or not bool((importance.isfinite() & (importance > 0)).all()):
        raise ValueError(
            f"importance must be one finite number above 0 for each of {len(sizes)} bins, got {importance}"
        )
    left = keep_count(keep, len(bins))
    take = torch.zeros_like(sizes)
    weight = sizes * importance
    while True:
        quota = left * weight / weight.sum()
        full = (weight > 0) & (quota >= sizes)
        if not bool(full.any()):
            break
        take[full], weight[full] = sizes[full], 0.0
        left -= int(sizes[full].sum())
        if left == 0:
            return take.to(bins.device)
    part = quota.floor().long()
    more = (quota - part).masked_fill(weight == 0, -1.0).sort(descending=True, stable=True).indices
    part[more[: left - int(part.sum())]] += 1
    return (take + part).to(bins.device)


def sample_adaptive(
    bins: Tensor, labels: Tensor | None, importance: Tensor, keep: float | int, *, generator: torch.Generator
) -> Tensor:
    """Draw `adaptive_bin_counts` items of every bin: sorted indices, int64[K].

    As `sample_bins`, which draws the same share of every bin: classes keep their share of K as far as the bins
    allow, and items are drawn uniformly within (bin, class).
    """
    counts = adaptive_bin_counts(bins, importance, keep)
    labels = torch.zeros_like(bins) if labels is None else labels
    if _length(labels, "labels") != len(bins):
        raise ValueError(f"bins has {len(bins)} items and labels {len(labels)}; both need one entry an item")
    class_id = labels.cpu().unique(return_inverse=True)[1]
    n_classes = int(class_id.max()) + 1
    group = bins.cpu() * n_classes + class_id
    sizes = torch.bincount(group, minlength=len(counts) * n_classes).view(-1, n_classes)
    take = _share_within_bins(sizes, counts.cpu(), int(counts.sum()))
    priority = torch.randperm(len(bins), generator=generator, device=generator.device).cpu()
    return _first_of_each_group(group, priority, take.flatten()).to(bins.device)


def _bin_sizes(bins: Tensor) -> Tensor:
    if int(bins.min()) < 0:
        raise ValueError(f"bins must be numbered from 0, got {int(bins.min())}")
    sizes = torch.bincount(bins.cpu())
    if bool((sizes == 0).any()):
        raise ValueError(
            f"bin {int((sizes == 0).int().argmax())} of {len(sizes)} has no items: number the bins without gaps"
        )
    return sizes
