"""Overlap of masks with the objects that a set knows, beside what a mask gets that has not seen the image."""

from typing import Any

import numpy as np
import torch

from dqv2.semantic.masks import mask_iou, random_cycle

AT_ONCE = 4096


def iou_of_images(masks: np.ndarray, objects: Any, rows: np.ndarray | None = None) -> torch.Tensor:
    """Intersection over union of each image's mask and an object, as `mask_iou`, a few at a time: float32[N].

    masks: bool[N, s, s]; objects: bool[N, H, W], or what gives such rows when it is indexed (`BoxMasks`, a memory map);
    rows: int64[N], the image whose object each mask is held against; its own by default.
    """
    rows = np.arange(len(masks)) if rows is None else rows
    parts = [slice(start, start + AT_ONCE) for start in range(0, len(masks), AT_ONCE)]
    pairs = ((masks[part], np.array(objects[rows[part]])) for part in parts)
    return torch.cat([mask_iou(*map(torch.from_numpy, pair)) for pair in pairs])


def mean_overlap(masks: np.ndarray, objects: Any, *, generator: torch.Generator) -> dict[str, float]:
    """Means over N >= 2 images of the IoU of masks with their own objects, and with other images' objects.

    Masks and objects as in `iou_of_images`; the generator draws which other image each mask is held against (a random
    cycle). Returns iou; iou_others, what a mask gets by its place and area alone; own_minus_others, their difference:
    what the image itself contributes.
    """
    others = random_cycle(len(masks), generator=generator).numpy()
    own, other = (float(iou_of_images(masks, objects, rows).mean()) for rows in (None, others))
    return {"iou": own, "iou_others": other, "own_minus_others": own - other}
