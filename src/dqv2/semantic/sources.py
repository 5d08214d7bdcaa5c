"""The sources of masks: a network's view of the image, and controls without it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqv2.declared import check_choice, load
from dqv2.semantic.masks import centre_saliency, object_saliency, random_saliency, shuffled
from dqv2.semantic.table import MASK_SOURCES


@dataclass(frozen=True)
class MaskInputs:
    """The inputs of a source of masks. A field that the source does not read may be None."""

    n: int  # number of images
    size: int  # cells per side of the mask
    network: Tensor | None = None  # float[n, h, w], a network's saliency maps
    objects: Tensor | None = None  # bool[n, H, W], the known objects
    generator: torch.Generator | None = None  # for a source that draws


def mask_saliency(source: str, **given: Any) -> Tensor:
    """The saliency maps that masks are made from: float[n, h, w].

    source: a key of `dqv2.semantic.table.MASK_SOURCES`; given: the fields of `MaskInputs`, n and size and those that it
    reads. Raises ValueError for another source, and where the maps or objects that it reads are missing.
    """
    check_choice(source, "source", MASK_SOURCES)
    known, inputs = MASK_SOURCES[source], MaskInputs(**given)
    field = {"saliency": "network", "objects": "objects", None: None}[known.reads]
    if field and getattr(inputs, field) is None:
        raise ValueError(f"the source {source} reads {field}, which must be a torch tensor, got None")
    return load(known.function)(inputs)


def by_network(given: MaskInputs) -> Tensor:
    """Where a network responds most (DQ_V2, section 3.3; Cao & Wu 2022, Tobias)."""
    return given.network


def by_another(given: MaskInputs) -> Tensor:
    """Where the network responds most in another image (a control)."""
    return shuffled(given.network, generator=given.generator)


def by_centre(given: MaskInputs) -> Tensor:
    """In the middle (a control)."""
    return centre_saliency(given.n, given.size)


def by_chance(given: MaskInputs) -> Tensor:
    """In cells drawn at random (a control)."""
    return random_saliency(given.n, given.size, generator=given.generator)


def by_object(given: MaskInputs) -> Tensor:
    """Where it is, as the set knows (an upper bound)."""
    return object_saliency(given.objects)
