"""Accuracy of trained weights."""

from typing import Any

import torch
from torch import Tensor, nn

from dqv2.arguments import as_classes, check_positive, is_number
from dqv2.inputs import normalise, resized
from dqv2.runtime.device import send
from dqv2.runtime.sentences import counted
from dqv2.semantic.saliency import evaluating
from dqv2.train.feed import Feed
from dqv2.train.step import autocast, check_logits


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
    """Top-1 accuracy in % of `model` in eval mode, moved to `device`; its training flags are restored.

    images: uint8[N, 3, H, W], N at least 1, a tensor or anything indexed by rows; batches are read while earlier ones
    are processed, in the model's dtype. labels: int[N] in 0..C-1, a tensor, an array or a list. precision: that of the
    training, "float32" or "bfloat16". crop: `share` of `central_crop`. Raises FloatingPointError where outputs are not
    finite, as they are no guess; ValueError for no images, other labels, or settings that are not possible.
    """
    n = len(images)
    if n == 0:
        raise ValueError("there are no images, so there is no accuracy: take at least one")
    labels = as_classes(labels, n)
    classes = int(labels.max()) + 1
    check_positive(batch_size, "batch_size")
    model.to(device, memory_format=torch.channels_last)
    dtype = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), torch.float32)
    counts, parts = torch.zeros(2, dtype=torch.int64, device=device), torch.arange(n).split(batch_size)
    with evaluating(model):
        for rows, batch in zip(parts, Feed(images, device, keep=False).batches(parts), strict=True):
            seen = normalise(central_crop(batch, crop)).contiguous(memory_format=torch.channels_last).to(dtype)
            with autocast(device, precision):
                logits: Tensor = model(seen)
            check_logits(logits, classes)
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

    timm's evaluation enlarges by 1 / crop_pct first and then crops, which is the same up to one pixel. Raises
    ValueError unless the share is in (0, 1] and leaves a pixel.
    """
    size = images.shape[2]
    if not is_number(share) or not 0 < share <= 1 or round(share * size) < 1:
        raise ValueError(f"crop must be a share in (0, 1] that leaves a pixel of {size}, got {share!r}")
    inner = round(share * size)
    if inner == size:
        return images
    start = (size - inner) // 2
    return resized(images[:, :, start : start + inner, start : start + inner], size, "bicubic")
