"""Accuracy of trained weights."""

from typing import Any

import torch
from torch import Tensor, nn

from dqv2.inputs import normalise, resized
from dqv2.runtime.device import send
from dqv2.train.feed import Feed
from dqv2.train.step import autocast


@torch.inference_mode()
def accuracy(
    model: nn.Module,
    images: Any,
    labels: Any,
    *,
    device: torch.device,
    precision: str = "float32",
    batch_size: int = 512,
    crop: float = 1.0,
) -> float:
    """Top-1 accuracy in % of `model` in eval mode, moved to `device`.

    images: uint8[N, 3, H, W], N at least 1, a tensor or anything indexed by rows; batches are read while earlier ones
    are processed. labels: int64[N], a tensor or an array. precision: that of the training, "float32" or "bfloat16".
    crop: `share` of `central_crop`.
    """
    n = len(images)
    model.to(device, memory_format=torch.channels_last).eval()
    labels, right = torch.as_tensor(labels), torch.zeros((), dtype=torch.int64, device=device)
    parts = torch.arange(n).split(batch_size)
    for rows, batch in zip(parts, Feed(images, device, keep=False).batches(parts), strict=True):
        seen = normalise(central_crop(batch, crop)).contiguous(memory_format=torch.channels_last)
        with autocast(device, precision):
            found: Tensor = model(seen).argmax(1)
        right += (found == send(labels[rows], device)).sum()  # read once, after the last batch
    return 100.0 * int(right) / n


def central_crop(images: Tensor, share: float) -> Tensor:
    """Crop the centre of square images, `share` of their side, and resize it to full size (bicubic): uint8[N, 3, S, S].

    timm's evaluation enlarges by 1 / crop_pct first and then crops, which is the same up to one pixel.
    """
    size = images.shape[2]
    inner = round(share * size)
    if inner == size:
        return images
    start = (size - inner) // 2
    return resized(images[:, :, start : start + inner, start : start + inner], size, "bicubic")
