"""Accuracy of trained weights."""

from typing import Any

import torch
from torch import Tensor, nn

from dqv2.inputs import normalise, resized
from dqv2.runtime.device import send
from dqv2.runtime.sentences import counted
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
    crop: `share` of `central_crop`. Raises FloatingPointError where outputs are not finite, as they are no guess.
    """
    n = len(images)
    model.to(device, memory_format=torch.channels_last).eval()
    labels, counts = torch.as_tensor(labels), torch.zeros(2, dtype=torch.int64, device=device)
    parts = torch.arange(n).split(batch_size)
    for rows, batch in zip(parts, Feed(images, device, keep=False).batches(parts), strict=True):
        seen = normalise(central_crop(batch, crop)).contiguous(memory_format=torch.channels_last)
        with autocast(device, precision):
            logits: Tensor = model(seen)
        right, lost = logits.argmax(1) == send(labels[rows], device), ~logits.isfinite().all(1)
        counts += torch.stack([right, lost]).sum(1)  # read once, after the last batch
    right, lost = counts.tolist()
    if lost:
        raise FloatingPointError(
            f"the network's outputs for {counted(lost, 'image')} of {n:,} are not finite, as its training diverged: "
            "lower its learning_rate"
        )
    return 100.0 * right / n


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
