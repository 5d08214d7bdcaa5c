"""Augmentation of a batch on its device, drawn anew for each image."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def augment(images: Tensor, *, crop: str, pad: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Random crop and horizontal flip.

    Args:
        images: float[N, 3, H, W].
        crop: "none"; "pad" (zero-pad by `pad` pixels and crop back, as usual on CIFAR); "resized" (area 8 to 100 %,
            aspect 3/4 to 4/3, resized bilinearly: Szegedy et al. 2015, as torchvision's RandomResizedCrop).
        pad: pixels for "pad".
        flip: mirror half of the images.
        generator: on the CPU, so that the draws are the same on every device.

    Returns:
        float[N, 3, H, W].
    """
    n = len(images)
    if crop == "pad" and pad:
        images = _shift(images, pad, torch.randint(0, 2 * pad + 1, (2, n), generator=generator).to(images.device))
    elif crop == "resized":
        images = _resized_crop(images, *_boxes(n, images.shape[2:], generator))
    if flip:
        mirrored = (torch.rand(n, generator=generator) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def mix_pairs(
    images: Tensor, *, kind: str, mixup_alpha: float, cutmix_alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, float]:
    """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019) of a batch with itself.

    Args:
        images: float[N, 3, H, W].
        kind: "mixup", "cutmix", or "both" (each batch takes one of the two at even odds, as in timm).
        mixup_alpha, cutmix_alpha: of the Beta distribution from which the batch's share is drawn.
        generator: on the CPU.

    Returns:
        The mixed images; the partner of each image, int64[N]; the share of each image's own label in [0, 1].
    """
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    if kind == "both":
        kind = "mixup" if rng.random() < 0.5 else "cutmix"
    alpha = mixup_alpha if kind == "mixup" else cutmix_alpha
    share = float(rng.beta(alpha, alpha))
    if kind == "mixup":
        return share * images + (1 - share) * images[partner], partner, share
    height, width = images.shape[2:]
    half = math.sqrt(1 - share) / 2
    row, column = rng.integers(height), rng.integers(width)
    top, bottom = (int(np.clip(row + sign * round(half * height), 0, height)) for sign in (-1, 1))
    left, right = (int(np.clip(column + sign * round(half * width), 0, width)) for sign in (-1, 1))
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner][:, :, top:bottom, left:right]
    return mixed, partner, 1 - (bottom - top) * (right - left) / (height * width)


def _shift(images: Tensor, pad: int, offsets: Tensor) -> Tensor:
    n, channels, height, width = images.shape
    padded = F.pad(images, (pad,) * 4)
    rows = offsets[0][:, None] + torch.arange(height, device=images.device)
    columns = offsets[1][:, None] + torch.arange(width, device=images.device)
    index = torch.arange(n, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[index, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _boxes(n: int, size: torch.Size, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Centres and half sides of n boxes in [-1, 1] coordinates, each inside the image."""
    height, width = size
    area = torch.empty(n).uniform_(0.08, 1.0, generator=generator)
    log_aspect = torch.empty(n).uniform_(math.log(3 / 4), math.log(4 / 3), generator=generator)
    aspect = torch.exp(log_aspect) * (height / width)
    half = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], 1).clamp(max=1)
    centre = (torch.rand(n, 2, generator=generator) * 2 - 1) * (1 - half)
    return centre, half


def _resized_crop(images: Tensor, centre: Tensor, half: Tensor) -> Tensor:
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = half[:, 0], half[:, 1]
    theta[:, :, 2] = centre
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="reflection", align_corners=False)
