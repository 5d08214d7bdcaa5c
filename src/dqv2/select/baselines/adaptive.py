"""ADQ: bins of higher importance give a larger share of the coreset.

Source: Li et al. 2025, Adaptive Dataset Quantization (AAAI 2025, arXiv 2412.16895), as its published code computes it.
"""

import torch
from torch import Tensor

from dqv2.arguments import as_tensor, check_vector
from dqv2.select.sampling import filled_bin_sizes
from dqv2.select.similarity import Array, Features, as_features, check_features, cosine, device_of

_GREY = (0.299, 0.587, 0.114)
_FLAT = 1e-14  # above what rounding leaves of a flat image, below one step of one of 10^9 pixels
_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def texture_levels(images: Tensor) -> Tensor:
    """Texture of each image: the mean of (|∂x| + |∂y|)/2 by Sobel filters on its grey values, float64[N].

    images: uint8[N, 3, H, W] or float in [0, 1], H and W at least 2; grey is 0.299·R + 0.587·G + 0.114·B in [0, 1]. A
    flat image has 0 up to rounding. ADQ cuts larger images into patches first, which changes only what the filters see
    at the patches' edges. Working memory is for 2,047 images at most. Raises ValueError for other shapes, dtypes
    or values.
    """
    if not isinstance(images, Tensor) or images.dim() != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 2:
        got = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images must be [N, 3, H, W] with H and W at least 2, got {got}")
    parts = images.tensor_split(max(1, len(images) // 1024))  # of fewer, rounding differs
    return torch.cat([_textures(part) for part in parts])


def _textures(images: Tensor) -> Tensor:
    """`texture_levels` of so many images at once."""
    if images.is_floating_point():
        # Also where they are NaN
        if not bool(((images >= 0) & (images <= 1)).all()):
            raise ValueError("images of floats must lie in [0, 1]: clamp them, or divide those in 0..255 by 255")
        pixels = images.double()
    elif images.dtype == torch.uint8:
        pixels = images.double().div_(255)
    else:
        raise ValueError(f"images must be uint8, or floats in [0, 1], got {images.dtype}")
    grey = torch.einsum("nchw,c->nhw", pixels, pixels.new_tensor(_GREY))[:, None]
    del pixels
    kernel = grey.new_tensor(_SOBEL)
    grey = torch.nn.functional.pad(grey, (1, 1, 1, 1), mode="reflect")
    edges = torch.nn.functional.conv2d(grey, torch.stack([kernel, kernel.T])[:, None])
    return edges.abs_().mean((1, 2, 3))


def bin_importance(bins: Tensor | Array, texture: Tensor | Array, features: Features | Array) -> Tensor:
    """ADQ's importance of each bin, float64[B] with mean 1. Higher = a larger share of the bin is kept.

    Representativeness is the mean texture level of the bin's items; diversity is 1 / the mean cosine similarity
    of all pairs of the bin, each item with itself included. ADQ normalises both and sums them without saying how; here
    each is divided by its mean over the bins, and importance is the mean of the two. ADQ embeds two random
    crops of every image with a pretrained network; here the features are the caller's.

    bins: int[N] in 0..B-1, none empty; texture: float[N] from `texture_levels`; features: float[N, D] or
    `GradientFeatures`. Raises ValueError for other shapes, texture levels that are not finite, negative or all 0 (up to
    rounding), and where a bin's mean similarity is not above 0.
    """
    bins, texture, features = as_tensor(bins), as_tensor(texture), as_features(features)
    n = check_features(features)
    if check_vector(bins, "bins") != n or check_vector(texture, "texture", integer=False) != n:
        raise ValueError(
            f"bins has {len(bins)} items, texture {len(texture)} and features {n}; all need one entry an item"
        )
    if not bool(texture.isfinite().all()):
        raise ValueError(f"{int((~texture.isfinite()).sum())} of {n} texture levels are NaN or infinite")
    if bool((texture < 0).any()):
        raise ValueError(f"{int((texture < 0).sum())} of {n} texture levels are negative: they must be at least 0")
    if not bool((texture > _FLAT).any()):
        raise ValueError("every texture level is 0: the images are flat, so representativeness says nothing")
    sizes = filled_bin_sizes(bins)
    representativeness = torch.bincount(bins.cpu(), weights=texture.cpu().double(), minlength=len(sizes)) / sizes
    similarity = torch.empty(len(sizes), dtype=torch.float64)
    for b, size in enumerate(sizes.tolist()):
        items = cosine(features, (bins.cpu() == b).nonzero().flatten().to(device_of(features)))
        similarity[b] = float(items.column_sums(torch.ones(size, dtype=torch.bool)).sum()) / size**2
    if not bool((similarity > 1e-12).all()):
        raise ValueError(
            f"the mean cosine similarity in bin {int(similarity.argmin())} is {float(similarity.min()):.2g}; its "
            "inverse is the bin's diversity, so it must be above 0: use features without negative entries, such as "
            "pooled ReLU outputs"
        )
    diversity = 1 / similarity
    importance = (representativeness / representativeness.mean() + diversity / diversity.mean()) / 2
    return importance.to(bins.device)
