"""Overlap of masks with known objects, compared with that of a mask that has not seen the image."""

from typing import Any

import numpy as np
import torch

from dqv2.arguments import check_same_number
from dqv2.semantic.masks import mask_iou, random_cycle

AT_ONCE = 4096


def iou_of_images(masks: np.ndarray, objects: Any, rows: np.ndarray | None = None) -> torch.Tensor:
    """`mask_iou` of each image's mask and an object, in chunks: float32[N].

    masks: bool[N, s, s]; objects: bool[N, H, W], or anything that gives such rows when indexed (`BoxMasks`, a memory
    map); rows: int64[N], the image whose object each mask is compared with; by default its own. Raises ValueError where
    there are not as many objects, or rows, as masks, and as `mask_iou` does.
    """
    if rows is None:
        check_same_number(masks=masks, objects=objects)
        rows = np.arange(len(masks))
    check_same_number(masks=masks, rows=rows)
    parts = [slice(start, start + AT_ONCE) for start in range(0, max(1, len(masks)), AT_ONCE)]
    pairs = ((masks[part], np.array(objects[rows[part]])) for part in parts)
    return torch.cat([mask_iou(*map(torch.from_numpy, pair)) for pair in pairs])


def mean_overlap(masks: np.ndarray, objects: Any, *, generator: torch.Generator) -> dict[str, float]:
    """Means over N >= 2 images of the IoU of masks with their own objects, and with other images' objects.

    masks, objects: as in `iou_of_images`; the generator draws the other image that each mask is compared with (a random
    cycle). Returns iou; iou_others, which a mask reaches by its position and area alone; and own_minus_others, their
    difference, the contribution of the image itself. Raises ValueError for N < 2.
    """
    others = random_cycle(len(masks), generator=generator).numpy()
    own, other = (float(iou_of_images(masks, objects, rows).mean()) for rows in (None, others))
    return {"iou": own, "iou_others": other, "own_minus_others": own - other}
