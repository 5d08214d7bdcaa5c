"""Patches of an image: which are dropped, and what replaces them."""

import torch
from torch import Tensor

from dqv2.arguments import (
    check_images,
    check_same_number,
    check_share,
    check_tensors,
    device_of_draws,
    is_whole,
    kind_of,
)
from dqv2.semantic.masks import foreground, to_pixels

GREY = 128  # the value that dropped patches are shown with


def dropped_patches(importance: Tensor, grid: int, share: float) -> Tensor:
    """Mark the least important patches of a grid × grid division: bool[N, grid, grid], True = dropped.

    importance: float[N, h, w], resized bilinearly to the grid as in `foreground`. Exactly round((1 − share)·grid²)
    patches are kept; of ties the lower index is kept. share: in [0, 1]. Raises ValueError for another share, and as
    `foreground` does.
    """
    check_share(share, "share")
    return ~foreground(importance, grid, fraction=1 - share)


def paste(images: Tensor, others: Tensor | int, dropped: Tensor) -> Tensor:
    """Replace the dropped patches: uint8[N, 3, H, W].

    images: uint8[N, 3, H, W]; others: the same shape, or one grey value in 0..255; dropped: bool[N, g, g], or a mask of
    pixels, bool[N, H, W]. Patches are cut at round(k·H/g), like the cells of Tobias images. All else is unchanged.
    Raises ValueError for other shapes or dtypes, where the numbers of images and masks differ, and for another grey
    value; TypeError unless images and masks are tensors.
    """
    check_images(images=images)
    check_tensors(dropped=dropped)
    sides = tuple(dropped.shape[1:])
    square = dropped.dim() == 3 and (sides[0] == sides[1] or sides == tuple(images.shape[2:]))
    if dropped.dtype != torch.bool or not square:
        raise ValueError(f"dropped must be bool[N, g, g] or bool[N, H, W], got {kind_of(dropped)}")
    check_same_number(images=images, masks=dropped)
    where = to_pixels(dropped, *images.shape[2:])[:, None]
    if not isinstance(others, Tensor):
        if not is_whole(others) or not 0 <= others <= 255:
            raise ValueError(f"others must be images or a grey value in 0..255, got {others!r}")
        others = torch.full_like(images, int(others))
    elif others.dtype != images.dtype or others.shape != images.shape:
        raise ValueError(f"others must be uint8{list(images.shape)} as the images are, got {kind_of(others)}")
    return torch.where(where, others, images)


def cutmix_boxes(n: int, size: int, share: float, *, generator: torch.Generator) -> Tensor:
    """A square of `share` of the image's area at a random position, for each of n images: bool[n, size, size].

    As in CutMix (Yun et al. 2019), except that the box is always entirely inside the image; its side is
    round(√share·size), at least 1. Raises ValueError for a share outside [0, 1], TypeError unless `generator` is a
    `torch.Generator`.
    """
    check_share(share, "share")
    side = max(1, round(share**0.5 * size))
    device = device_of_draws(generator)
    top, left = torch.randint(0, size - side + 1, (2, n), generator=generator, device=device).cpu()[:, :, None]
    place = torch.arange(size)
    rows, columns = ((place >= start) & (place < start + side) for start in (top, left))
    return rows[:, :, None] & columns[:, None, :]
