"""From stored pixels to network input."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dqv2.arguments import check_tensors

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor, statistics: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Scale uint8[N, 3, H, W] to 0..1, then centre and scale by the channels' statistics: float32.

    statistics: mean and spread, float[1, 3, 1, 1] on the images' device; None: ImageNet's.
    """
    check_tensors(images=images)
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be uint8[N, 3, H, W], got {images.dtype} of shape {list(images.shape)}")
    mean, std = statistics or _statistics(images.device)
    return images.div(255).sub_(mean).div_(std)


def resized(images: Tensor, size: int, interpolation: str) -> Tensor:
    """uint8[N, 3, H, W] -> uint8[N, 3, size, size], antialiased, as Pillow does it, which timm's and torchvision's
    transforms use: across, then down, each rounded. A value in some thousands differs from Pillow's, by 1 or 2.

    interpolation: "bilinear" or "bicubic".
    """
    for shape in ((images.shape[2], size), (size, size)):
        how = {"mode": interpolation, "align_corners": False, "antialias": True}
        images = F.interpolate(images.float(), shape, **how).round_().clamp_(0, 255)
    return images.to(torch.uint8)


def denormalise(values: Tensor) -> Tensor:
    """The way back: float[N, 3, H, W] of normalised values to the nearest uint8, cut off at 0 and 255."""
    mean, std = _statistics(values.device)
    return values.float().mul(std).add_(mean).mul_(255).round_().clamp_(0, 255).to(torch.uint8)


@lru_cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Made once a device: each copy to a GPU makes the host wait for it."""
    with torch.inference_mode(False):
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return mean, std
