"""Foreground masks from saliency maps, control saliencies without a network, overlap with true objects."""

import numpy as np
import scipy
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dqv2.arguments import (
    check_positive,
    check_same_number,
    check_share,
    check_tensors,
    device_of_draws,
    kind_of,
    random_order,
)
from dqv2.semantic.compose import cell_edges

_CHUNK_CELLS = 2**22


def foreground(saliency: Tensor, size: int, *, fraction: float = 0.5) -> Tensor:
    """Mark the most salient cells of a size × size grid in each image: bool[N, size, size] (DQ_V2, section 3.3).

    saliency: float[N, h, w], the unpooled map; it is resized bilinearly (antialiased) where size differs from h or w.
    Exactly round(fraction·size²) cells per image are True, the highest first, ties to the lowest index. Computed in
    float64; values that differ by less than 1e-12 of the image's largest count as tied, so that rounding in the resize
    decides nothing. Raises ValueError for NaN or infinite saliency, maps of a single point, a size below 1, and a
    fraction outside [0, 1].
    """
    _check_maps(saliency)
    check_positive(size, "size")
    check_share(fraction, "fraction")
    count = round(fraction * size * size)
    n, h, w = saliency.shape
    if h * w < 2 and size > 1 and n:
        what = (
            "are single points, which tell no places apart" if h * w else "are empty: their network has no feature map"
        )
        raise ValueError(f"the saliency maps {what}; take another network, or more pixels (input_size)")
    masks = torch.zeros(n, size * size, dtype=torch.bool, device=saliency.device)
    step = max(1, _CHUNK_CELLS // max(h * w, size * size))
    for start in range(0, n, step):
        part = slice(start, start + step)
        maps = saliency[part].double()
        if (h, w) != (size, size):
            # For large maps CUDA's kernel needs more shared memory than there is
            there = maps.cpu() if max(h, w) > 32 * size else maps
            small = interpolate(there[:, None], (size, size), mode="bilinear", align_corners=False, antialias=True)
            maps = small[:, 0].to(saliency.device)
        maps = maps.flatten(1)
        # Round to 2^-40 of the largest value's power of two: exact, and values on that grid do not change.
        exponent = torch.frexp(maps.abs().amax(1, keepdim=True)).exponent
        maps = torch.round(torch.ldexp(maps, 40 - exponent))
        top = maps.sort(dim=1, descending=True, stable=True).indices[:, :count]
        masks[part].scatter_(1, top, True)
    return masks.view(n, size, size)


def centre_saliency(n: int, size: int) -> Tensor:
    """The centre prior, minus the distance to the centre in cells, for n images: float32[n, size, size].

    Raises ValueError for n or size below 1.
    """
    _check_counts(n, size)
    offset = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    return -(offset[:, None] ** 2 + offset**2).sqrt().repeat(n, 1, 1)


def random_saliency(n: int, size: int, *, generator: torch.Generator) -> Tensor:
    """Uniform noise in [0, 1): float32[n, size, size], on the generator's device.

    Raises ValueError for n or size below 1, TypeError unless `generator` is a `torch.Generator`.
    """
    _check_counts(n, size)
    return torch.rand(n, size, size, generator=generator, device=device_of_draws(generator), dtype=torch.float32)


def shuffled(saliency: Tensor, *, generator: torch.Generator) -> Tensor:
    """Give each of N images another image's map, each map once (a random cycle); shape, dtype and device as `saliency`.

    saliency: [N, ...]. Raises ValueError for N < 2, TypeError unless `saliency` is a tensor.
    """
    check_tensors(saliency=saliency)
    if saliency.dim() == 0:
        raise ValueError(f"saliency must have a map for each of N images, got {kind_of(saliency)}")
    return saliency[random_cycle(len(saliency), generator=generator).to(saliency.device)]


def random_cycle(n: int, *, generator: torch.Generator) -> Tensor:
    """A random cyclic permutation, which maps each image to another: int64[n], on the generator's device.

    Raises ValueError for n < 2.
    """
    check_positive(n, "n")
    if n < 2:
        raise ValueError(f"each image gets another, so at least 2 images are needed, got {n}")
    cycle = random_order(n, generator)
    other = torch.empty_like(cycle)
    other[cycle] = cycle.roll(1)
    return other


def object_saliency(objects: Tensor) -> Tensor:
    """Saliency of a known object: 0 inside, minus the distance to it outside: float32[N, H, W].

    objects: bool[N, H, W]. Distances are Euclidean, in units of the image's longer side, so that `foreground` takes the
    object first and then its nearest surroundings. Raises ValueError for another shape or dtype, and for an image
    without object pixels.
    """
    check_tensors(objects=objects)
    if objects.dtype != torch.bool or objects.dim() != 3:
        raise ValueError(f"objects must be bool[N, H, W], got {kind_of(objects)}")
    empty = ~objects.flatten(1).any(1)
    if bool(empty.any()):
        raise ValueError(
            f"{int(empty.sum())} images have no object pixel; the first is index {int(empty.int().argmax())}"
        )
    side = max(objects.shape[1:])
    outside = (~objects).cpu().numpy()
    distances = np.empty(outside.shape, dtype=np.float32)
    for i, image in enumerate(outside):
        distances[i] = -scipy.ndimage.distance_transform_edt(image) / side
    return torch.from_numpy(distances).to(objects.device)


def mask_iou(masks: Tensor, objects: Tensor) -> Tensor:
    """Intersection over union of masks and true objects, in pixels: float32[N], 0 where both are empty.

    masks: bool[N, s, s]; objects: bool[N, H, W]. A mask's cells cover pixels as in `compose`: cut at round(k·H/s).
    Raises ValueError for other shapes or dtypes.
    """
    check_tensors(masks=masks, objects=objects)
    square = masks.dim() == objects.dim() == 3 and masks.shape[1] == masks.shape[2]
    if not square or masks.dtype != torch.bool or objects.dtype != torch.bool:
        got = f"{kind_of(masks)} and {kind_of(objects)}"
        raise ValueError(f"masks and objects must be bool[N, s, s] and bool[N, H, W], got {got}")
    check_same_number(masks=masks, objects=objects)
    masks = to_pixels(masks, *objects.shape[1:]).to(objects.device)
    union = (masks | objects).flatten(1).sum(1)
    return (masks & objects).flatten(1).sum(1).float() / union.clamp(min=1)


def to_pixels(masks: Tensor, height: int, width: int) -> Tensor:
    """Expand masks of cells to masks of pixels: bool[N, s, s] -> bool[N, height, width], cells cut as in `compose`."""
    for axis, length in ((1, height), (2, width)):
        edge = torch.tensor(cell_edges(length, masks.shape[axis]), device=masks.device)
        masks = masks.repeat_interleave(edge.diff(), dim=axis)
    return masks


def _check_counts(n: int, size: int) -> None:
    check_positive(n, "n")
    check_positive(size, "size")


def _check_maps(saliency: Tensor) -> None:
    check_tensors(saliency=saliency)
    if not saliency.is_floating_point() or saliency.dim() != 3 or 0 in saliency.shape[1:]:
        raise ValueError(f"saliency must be float[N, h, w], got {kind_of(saliency)}")
    bad = ~torch.isfinite(saliency).flatten(1).all(1)
    if bool(bad.any()):
        raise ValueError(
            f"{int(bad.sum())} of {len(bad)} saliency maps hold NaN or infinite values; the first is index "
            f"{int(bad.int().argmax())}"
        )
