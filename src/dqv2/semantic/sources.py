"""The sources of masks: a network's view of the image, and controls without it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqv2.arguments import kind_of
from dqv2.declared import check_choice, load
from dqv2.runtime.seeding import seeded_throughout
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
    reads. Raises ValueError for another source, where the maps or objects that it reads are missing, and where its
    function returns something else.
    """
    check_choice(source, "source", MASK_SOURCES)
    known, inputs = MASK_SOURCES[source], MaskInputs(**given)
    field = {"saliency": "network", "objects": "objects", None: None}[known.reads]
    if field and getattr(inputs, field) is None:
        raise ValueError(f"the source {source} reads {field}, which must be a torch tensor, got None")
    seed = inputs.generator.initial_seed() if inputs.generator else 0
    with seeded_throughout(seed, "mask"):  # it may draw from a global generator, or call a library that does
        maps = load(known.function)(inputs)
    if not isinstance(maps, Tensor) or not maps.is_floating_point() or maps.dim() != 3 or len(maps) != inputs.n:
        raise ValueError(
            f"mask source {source} ({known.function}) must return maps, a float tensor [{inputs.n}, h, w]; got "
            f"{kind_of(maps)}"
        )
    return maps


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
