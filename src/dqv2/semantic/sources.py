"""Where a mask comes from: a network's view of the image, or a control that lacks it."""

from __future__ import annotations

import torch
from torch import Tensor

from dqv2.semantic.masks import centre_saliency, object_saliency, random_saliency, shuffled


def mask_saliency(
    source: str,
    *,
    n: int,
    size: int,
    network: Tensor | None = None,
    objects: Tensor | None = None,
    generator: torch.Generator,
) -> Tensor:
    """The saliency maps that a mask is cut from: float[n, h, w].

    Args:
        source: "network" (the maps as they are), "shuffled" (each image gets another's), "centre", "random" (cells
            drawn alike), "object" (the true object).
        n: images.
        size: cells a side of the mask; the maps of centre and random have just these.
        network: float[n, h, w], for network and shuffled.
        objects: bool[n, H, W], for object.
        generator: for random and shuffled.

    Raises:
        ValueError: what the source needs is not there, or there is no such source.
    """
    if source in ("network", "shuffled"):
        if network is None:
            raise ValueError(f"the mask source {source} needs a network's saliency maps")
        return network if source == "network" else shuffled(network, generator=generator)
    if source == "centre":
        return centre_saliency(n, size)
    if source == "random":
        return random_saliency(n, size, generator=generator)
    if source == "object":
        if objects is None:
            raise ValueError("the mask source object needs a set that knows its objects, as the embedded one does")
        return object_saliency(objects)
    raise ValueError(f"there is no mask source {source!r}")
