"""Overlap of masks with the objects that a set knows, beside what a mask gets that has not seen the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dqv2.semantic.masks import mask_iou

__all__ = ["iou_of_images", "mean_overlap"]

AT_ONCE = 4096


def iou_of_images(masks: np.ndarray, objects: Any) -> torch.Tensor:
    """Intersection over union of each image's mask and object: float32[N].

    masks: bool[N, s, s]; objects: bool[N, H, W], or what gives such rows when it is indexed (`BoxMasks`, a memory map).
    """
    parts = [
        mask_iou(torch.from_numpy(masks[i : i + AT_ONCE]), torch.from_numpy(np.array(objects[i : i + AT_ONCE])))
        for i in range(0, len(masks), AT_ONCE)
    ]
    return torch.cat(parts)


def mean_overlap(masks: np.ndarray, objects: Any, *, generator: torch.Generator) -> dict[str, float]:
    """Means over the images of the IoU of masks with their own objects, and with other images' objects.

    Args:
        masks: bool[N, s, s], N at least 2.
        objects: bool[N, H, W], as in `iou_of_images`.
        generator: draws which other image each mask is held against (a random cycle).

    Returns:
        iou; iou_others, what a mask gets by its place and area alone; own_minus_others, their difference: what the
        image itself contributes.
    """
    cycle = torch.randperm(len(masks), generator=generator).numpy()
    other = np.empty_like(cycle)
    other[cycle] = np.roll(cycle, 1)
    own = float(iou_of_images(masks, objects).mean())
    others = float(
        torch.cat(
            [
                mask_iou(torch.from_numpy(masks[rows]), torch.from_numpy(np.array(objects[other[rows]])))
                for rows in np.array_split(np.arange(len(masks)), -(-len(masks) // AT_ONCE))
            ]
        ).mean()
    )
    return {"iou": own, "iou_others": others, "own_minus_others": own - others}
