"""From stored pixels to network input and back."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dqv2.arguments import check_images, kind_of

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# As a number, 255 would divide integers in torch's default dtype
_WHITE = torch.tensor(255, dtype=torch.float32, device="cpu")


def normalise(images: Tensor, statistics: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Normalise uint8[N, 3, H, W] to float32[N, 3, H, W]: (images / 255 - mean) / std, per channel.

    statistics: mean and standard deviation for values in [0, 1], each float[1, 3, 1, 1] on the images' device; None:
    ImageNet's. Their values are not checked: a standard deviation of 0 gives infinite or NaN values. Raises TypeError
    unless `images` is a tensor, ValueError for another dtype or shape.
    """
    check_images(images=images)
    mean, std = _statistics(images.device) if statistics is None else _checked(statistics)
    return images.div(_WHITE).sub_(mean).div_(std)


def resized(images: Tensor, size: int, interpolation: str) -> Tensor:
    """Resize uint8[N, 3, H, W] to uint8[N, 3, size, size] with antialiasing, as Pillow does and hence the transforms of
    timm and torchvision: horizontally, then vertically, each rounded. Values differ from Pillow's by at most 2:
    bilinear ones nowhere from 32 to 224 pixels, but where sides have small ratios (64 to 224) halves are frequent,
    which go to the even number and in Pillow up, and up to a quarter of the values differ; bicubic ones in up to 2 %.

    interpolation: "bilinear" or "bicubic".
    """
    for shape in ((images.shape[2], size), (size, size)):
        how = {"mode": interpolation, "align_corners": False, "antialias": True}
        images = F.interpolate(images.float(), shape, **how).round_().clamp_(0, 255)
    return images.to(torch.uint8)


def denormalise(values: Tensor) -> Tensor:
    """Inverse of `normalise` with ImageNet's statistics: float[N, 3, H, W] to uint8[N, 3, H, W], rounded to the nearest
    integer and clipped to 0..255."""
    mean, std = _statistics(values.device)
    return values.float().mul(std).add_(mean).mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def _checked(statistics: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The same, if their number, types and shapes are right; looking at values would make the host wait for a GPU."""
    pair = isinstance(statistics, tuple | list) and len(statistics) == 2
    for values in statistics if pair else (statistics,):
        if not pair or not isinstance(values, Tensor) or values.shape != (1, 3, 1, 1) or not values.is_floating_point():
            raise ValueError(
                f"statistics must be a mean and a standard deviation, each float[1, 3, 1, 1], got {kind_of(values)}"
            )
    return statistics


@lru_cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Cached per device: a copy to a GPU makes the host wait."""
    with torch.inference_mode(False):
        known = torch.tensor([IMAGENET_MEAN, IMAGENET_STD], dtype=torch.float32, device=device)
    mean, std = known.view(2, 1, 3, 1, 1)
    return mean, std
