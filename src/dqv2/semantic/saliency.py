"""Saliency maps of a CNN: the channel sum of its last feature map (Tobias; DQ_V2, section 4, step 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dqv2.inputs import normalise

Images = Tensor | np.ndarray


class ForwardPass(NamedTuple):
    """What one pass over the images gives, all float32 on the CPU."""

    embedding: Tensor
    """float[N, E], the input of the last layer."""
    logits: Tensor
    """float[N, C]."""
    saliency: Tensor
    """float[N, h, w], as from `saliency`."""


def saliency(model: nn.Module, images: Images, *, batch_size: int = 256) -> Tensor:
    """Channel sum of the model's last feature map, unpooled: float32[N, h, w] on the images' device.

    model: one with timm's `forward_features` (a transformer's patch tokens are put back on their grid), else
    one that pools its feature map by a global `AdaptiveAvgPool2d`, as torchvision's ResNets do; anything else
    is a TypeError.
    images: uint8[N, 3, H, W] (scaled and normalised by `dqv2.inputs.normalise`) or floats, used as they are;
    a numpy array is read batch by batch. The model runs in eval mode on its own device; its training flags
    are restored.
    """
    to_map = _feature_map(model)
    device = images.device if isinstance(images, Tensor) else torch.device("cpu")
    with evaluating(model), torch.inference_mode():
        maps = [to_map(batch).float().sum(1).to(device) for _, batch in batches(model, images, batch_size)]
    return torch.cat(maps).clone()


def forward_pass(model: nn.Module, images: Images, *, batch_size: int = 256) -> ForwardPass:
    """Embedding, logits and saliency of all images from a single forward pass, in eval mode.

    model: with timm's `forward_features(x)` and `forward_head(features, pre_logits=...)`; images as in
    `saliency`.
    """
    if not hasattr(model, "forward_features") or not hasattr(model, "forward_head"):
        raise TypeError(
            f"{type(model).__name__} has no forward_features and forward_head; build the model with timm, or "
            "give it these two methods"
        )
    parts = []
    with evaluating(model), torch.inference_mode():
        for _, batch in batches(model, images, batch_size):
            features = model.forward_features(batch)
            embedding = model.forward_head(features, pre_logits=True).flatten(1)
            outputs = embedding, model.forward_head(features), as_map(model, features).float().sum(1)
            parts.append([output.float().cpu() for output in outputs])
    return ForwardPass(*(torch.cat(part).clone() for part in zip(*parts, strict=True)))


def batches(model: nn.Module, images: Images, batch_size: int) -> Iterator[tuple[int, Tensor]]:
    """(index of the first image, network input on the model's device and in its precision), batch after batch."""
    if len(images) == 0 or images.ndim != 4:
        raise ValueError(f"images must be [N, 3, H, W] with N at least 1, got shape {list(images.shape)}")
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        # A copy: torch cannot wrap the read-only pages of a memory-mapped file.
        batch = (torch.from_numpy(np.array(batch)) if isinstance(batch, np.ndarray) else batch).to(weight.device)
        yield start, (batch if batch.is_floating_point() else normalise(batch)).to(weight.dtype)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode; afterwards its training flags are as they were."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _feature_map(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The function from a batch to the model's last feature map, [n, C, h, w]."""
    if hasattr(model, "forward_features"):
        return lambda batch: as_map(model, model.forward_features(batch))
    pools = [m for m in model.modules() if isinstance(m, nn.AdaptiveAvgPool2d) and m.output_size in (1, (1, 1))]
    if not pools:
        raise TypeError(
            f"{type(model).__name__} has neither forward_features nor a global AdaptiveAvgPool2d, so its "
            "last feature map is unknown; give it a method forward_features(x) that returns [N, C, h, w]"
        )

    def run(batch: Tensor) -> Tensor:
        # Squeeze-and-excitation blocks pool too: the head's pool is the one that runs last.
        pooled = []
        hooks = [pool.register_forward_pre_hook(lambda _, args: pooled.append(args[0])) for pool in pools]
        try:
            model(batch)
        finally:
            for hook in hooks:
                hook.remove()
        return as_map(model, pooled[-1])

    return run


def as_map(model: nn.Module, features: Tensor) -> Tensor:
    """Features of `forward_features` as a map [N, C, h, w]: a transformer's patch tokens go back on their grid."""
    if isinstance(features, Tensor) and features.dim() == 4:
        return features
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if isinstance(features, Tensor) and features.dim() == 3 and grid is not None:
        patches = features[:, getattr(model, "num_prefix_tokens", 0) :]
        if patches.shape[1] == grid[0] * grid[1]:
            return patches.transpose(1, 2).unflatten(2, grid)
    got = f"shape {list(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
    raise TypeError(f"the last features of {type(model).__name__} are no map [N, C, h, w] but of {got}")
