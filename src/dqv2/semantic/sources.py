"""Where a mask comes from: a network's view of the image, or a control that lacks it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dqv2.declared import load
from dqv2.semantic.masks import centre_saliency, object_saliency, random_saliency, shuffled
from dqv2.semantic.table import MASK_SOURCES

__all__ = ["MaskInputs", "mask_saliency"]


@dataclass(frozen=True)
class MaskInputs:
    """What a source of masks is given. What it does not read may be None.

    Attributes:
        n: images.
        size: cells a side of the mask.
        network: float[n, h, w], a network's saliency maps.
        objects: bool[n, H, W], the objects that the set knows.
        generator: for a source that draws.
    """

    n: int
    size: int
    network: Tensor | None = None
    objects: Tensor | None = None
    generator: torch.Generator | None = None


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
        source: a source of `dqv2.semantic.table`: "network" (the maps as they are), "shuffled" (each image gets
            another's), "centre", "random" (cells drawn alike), "object" (the true object).
        n: images.
        size: cells a side of the mask; the maps of centre and random have just these.
        network: float[n, h, w], for network and shuffled.
        objects: bool[n, H, W], for object.
        generator: for random and shuffled.

    Raises:
        ValueError: what the source needs is not there, or there is no such source.
    """
    if source not in MASK_SOURCES:
        raise ValueError(f"there is no mask source {source!r}; there are {', '.join(MASK_SOURCES)}")
    reads = MASK_SOURCES[source].reads
    if reads == "saliency" and network is None:
        raise ValueError(f"the mask source {source} needs a network's saliency maps")
    if reads == "objects" and objects is None:
        raise ValueError(f"the mask source {source} needs a set that knows its objects, as the embedded one does")
    for name, maps in (("network", network), ("objects", objects)):
        if maps is not None and len(maps) != n:
            raise ValueError(f"there are {n} images, and {name} holds maps of {len(maps)}")
    return load(MASK_SOURCES[source].function)(MaskInputs(n, size, network, objects, generator))


def by_network(given: MaskInputs) -> Tensor:
    """The network's maps as they are."""
    return given.network


def by_another(given: MaskInputs) -> Tensor:
    """Each image gets another's map, by `shuffled`."""
    return shuffled(given.network, generator=given.generator)


def by_centre(given: MaskInputs) -> Tensor:
    """The middle, by `centre_saliency`."""
    return centre_saliency(given.n, given.size)


def by_chance(given: MaskInputs) -> Tensor:
    """Noise, by `random_saliency`."""
    return random_saliency(given.n, given.size, generator=given.generator)


def by_object(given: MaskInputs) -> Tensor:
    """The true object, by `object_saliency`."""
    return object_saliency(given.objects)
