"""Augmentation of a batch, independent for each image: parameters are drawn on the CPU, then applied on the device.

Drawn parameters can be applied to a part of the batch (`take`), so that processes that share a batch draw the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dqv2.runtime.device import send


@dataclass(frozen=True)
class Augmentation:
    """The parameters drawn for each of N images, on the CPU; None where an operation is not applied."""

    pad: int = 0  # pixels of zeros around an image before it is cropped back
    offsets: Tensor | None = None  # int64[2, N], row and column at which the crop begins in the padded image
    centre: Tensor | None = None  # float[N, 2], of boxes (x, y) in [-1, 1] coordinates, inside the image
    half: Tensor | None = None  # float[N, 2], half their sides
    mirrored: Tensor | None = None  # bool[N]

    @classmethod
    def draw(
        cls, n: int, size: tuple[int, int], *, crop: str, pad: int, flip: bool, generator: torch.Generator
    ) -> Augmentation:
        """Random crop and horizontal flip of n images of this height and width.

        crop: "none"; "pad" (zero-pad by `pad` pixels and crop back, as usual on CIFAR); "resized" (area 8 to 100 %,
        aspect 3/4 to 4/3, resized bilinearly: Szegedy et al. 2015). Unlike in torchvision's RandomResizedCrop, a box
        longer than the image is cut to it, not drawn again: the mean area is 53 %, not 48 %. flip: mirror each image
        with probability 1/2. generator: on the CPU, so that the draws are the same on every device.
        """
        offsets = centre = half = None
        if crop == "pad" and pad:
            offsets = torch.randint(0, 2 * pad + 1, (2, n), generator=generator)
        elif crop == "resized":
            centre, half = _boxes(n, size, generator)
        mirrored = torch.rand(n, generator=generator) < 0.5 if flip else None
        return cls(pad, offsets, centre, half, mirrored)

    def take(self, places: Tensor) -> Augmentation:
        """The parameters of the images at `places`, int64[K]."""
        offsets = None if self.offsets is None else self.offsets[:, places]
        rest = (None if part is None else part[places] for part in (self.centre, self.half, self.mirrored))
        return Augmentation(self.pad, offsets, *rest)

    def __call__(self, images: Tensor) -> Tensor:
        """Apply to float[N, 3, H, W]; returns the same shape."""
        if self.centre is not None:
            return _resized_crop(images, self.centre, self.half, self.mirrored)
        if self.offsets is not None:
            images = F.pad(images, (self.pad,) * 4)
            if images.device.type == "cpu":
                return _cropped(images, self.pad, self.offsets, self.mirrored)
            images = _windows(images, self.pad, send(self.offsets, images.device))
        if self.mirrored is not None:
            mirrored = send(self.mirrored, images.device)
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return images


@dataclass(frozen=True)
class Mix:
    """How a batch of N images is mixed with itself."""

    partner: Tensor  # int64[N], on the CPU: the image that each is mixed with
    share: float  # weight of each image's own label, in [0, 1]
    # Top, bottom, left, right of the box from the partner (CutMix); None where all pixels are blended (Mixup)
    box: tuple[int, int, int, int] | None = None

    @classmethod
    def draw(
        cls,
        n: int,
        size: tuple[int, int],
        *,
        kind: str,
        mixup_alpha: float,
        cutmix_alpha: float,
        generator: torch.Generator,
    ) -> Mix:
        """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019) of a batch of n images of this size with itself.

        kind: "mixup", "cutmix", or "both" (each batch takes one of the two at even odds, as in timm). mixup_alpha,
        cutmix_alpha: of the Beta distribution from which the batch's share is drawn. generator: on the CPU.
        """
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        partner = torch.randperm(n, generator=generator)
        if kind == "both":
            kind = "mixup" if rng.random() < 0.5 else "cutmix"
        alpha = mixup_alpha if kind == "mixup" else cutmix_alpha
        share = float(rng.beta(alpha, alpha))
        if kind == "mixup":
            return cls(partner, share)
        height, width = size
        half = math.sqrt(1 - share) / 2
        row, column = rng.integers(height), rng.integers(width)
        top, bottom = (int(np.clip(row + sign * round(half * height), 0, height)) for sign in (-1, 1))
        left, right = (int(np.clip(column + sign * round(half * width), 0, width)) for sign in (-1, 1))
        return cls(partner, 1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))

    def __call__(self, images: Tensor, partners: Tensor) -> Tensor:
        """Mix float[K, 3, H, W] with their partners, of the same shape; returns the same shape."""
        if self.box is None:
            return self.share * images + (1 - self.share) * partners
        top, bottom, left, right = self.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
        return mixed


def _windows(padded: Tensor, pad: int, offsets: Tensor) -> Tensor:
    """Each image's own window of the padded batch: one gather over a view of all windows, for a GPU."""
    n, _, height, width = padded.shape
    windows = padded.unfold(2, height - 2 * pad, 1).unfold(3, width - 2 * pad, 1)
    return windows[torch.arange(n, device=padded.device), :, offsets[0], offsets[1]]


def _cropped(padded: Tensor, pad: int, offsets: Tensor, mirrored: Tensor | None) -> Tensor:
    """Each image's own window, mirrored where it is asked for: one copy for each image, the fastest on a CPU."""
    n, channels, height, width = padded.shape
    height, width = height - 2 * pad, width - 2 * pad
    crops = torch.empty(n, channels, height, width, dtype=padded.dtype)
    steps = [1] * n if mirrored is None else (1 - 2 * mirrored.int()).tolist()
    for crop, image, row, column, step in zip(crops.numpy(), padded.numpy(), *offsets.tolist(), steps, strict=True):
        crop[...] = image[:, row : row + height, column : column + width][..., ::step]
    return crops


def _boxes(n: int, size: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Centres and half sides of n boxes in [-1, 1] coordinates, each inside the image."""
    height, width = size
    area = torch.empty(n).uniform_(0.08, 1.0, generator=generator)
    log_aspect = torch.empty(n).uniform_(math.log(3 / 4), math.log(4 / 3), generator=generator)
    aspect = torch.exp(log_aspect) * (height / width)
    half = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], 1).clamp(max=1)
    centre = (torch.rand(n, 2, generator=generator) * 2 - 1) * (1 - half)
    return centre, half


def _resized_crop(images: Tensor, centre: Tensor, half: Tensor, mirrored: Tensor | None) -> Tensor:
    """Each image's own box, bilinearly resized. The order of sampling mirrors it: no passes over the batch."""
    if not len(images):  # a process's part of a small last batch
        return images
    n, _, height, width = images.shape
    whole = F.affine_grid(torch.eye(2, 3)[None], [1, 1, height, width], align_corners=False)[0]
    # The boxes are axis-aligned, so a row of pixels has one y and a column one x
    x = whole[0, :, 0] * half[:, :1] + centre[:, :1]
    y = whole[:, 0, 1] * half[:, 1:] + centre[:, 1:]
    if mirrored is not None:
        x = torch.where(mirrored[:, None], x.flip(1), x)
    x, y = send(x, images.device)[:, None, :], send(y, images.device)[:, :, None]
    grid = torch.stack([x.expand(n, height, width), y.expand(n, height, width)], 3).to(images.dtype)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
