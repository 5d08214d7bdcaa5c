"""How well masks lie on the object, where a set knows where its objects are."""

from __future__ import annotations

import numpy as np


def mean_iou(masks: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the images of intersection over union, both bool[N, s, s]; two empty masks agree (1).

    Raises:
        ValueError: the shapes differ or there is no image.
    """
    masks, truth = np.asarray(masks, bool), np.asarray(truth, bool)
    if masks.shape != truth.shape or masks.ndim != 3 or not len(masks):
        raise ValueError(
            f"masks {list(masks.shape)} and true masks {list(truth.shape)} must be of the same shape [N, s, s]"
        )
    both = (masks & truth).sum((1, 2))
    either = (masks | truth).sum((1, 2))
    return float(np.where(either > 0, both / np.maximum(either, 1), 1.0).mean())
