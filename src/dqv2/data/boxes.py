"""Bounding boxes of objects, in the pixels of packed images, and the corresponding masks."""

import numpy as np

from dqv2.data.lazy import LazyArray


def resized_length(length: int, short: int, size: int) -> int:
    """The length of an image's side when its shorter side, `short`, is resized to `size`; as torchvision computes it,
    since another order of the factors may round to a pixel less."""
    return int(size * length / short)


def pack_box(box: tuple[float, float, float, float], width: int, height: int, size: int) -> tuple[int, int, int, int]:
    """Map a box of the original image to the packed one.

    box: x0, y0, x1, y1 in the original's pixels, x1 and y1 exclusive. width, height: of the original. size: side of the
    packed image, the central square of the original with its shorter side resized to `size`. Returns the box in packed
    pixels, at least one pixel wide and high; an object that was cropped away is mapped to the border.
    """
    short = min(width, height)
    scale = size / short
    found = []
    for axis, length in ((0, width), (1, height)):
        shift = round((resized_length(length, short, size) - size) / 2)
        low, high = (round(box[axis + end] * scale) - shift for end in (0, 2))
        low = min(max(low, 0), size - 1)
        found.append((low, min(max(high, low + 1), size)))
    (x0, x1), (y0, y1) = found
    return x0, y0, x1, y1


class BoxMasks(LazyArray):
    """Masks bool[N, size, size] that are drawn from boxes when indexed, so that they take no memory.

    Args:
        boxes: int[N, 4], x0, y0, x1, y1 in pixels, x1 and y1 exclusive.
        size: side of the masks.
    """

    dtype = np.dtype(np.bool_)

    def __init__(self, boxes: np.ndarray, size: int):
        self.boxes, self.size, self.shape = boxes, size, (len(boxes), size, size)

    def __getitem__(self, index) -> np.ndarray:
        """bool[size, size] for an integer, bool[K, size, size] for a slice or an array of rows."""
        boxes = np.asarray(self.boxes[index])
        x0, y0, x1, y1 = np.moveaxis(boxes[..., None], -2, 0)
        place = np.arange(self.size)
        across, down = (place >= x0) & (place < x1), (place >= y0) & (place < y1)
        return down[..., :, None] & across[..., None, :]
