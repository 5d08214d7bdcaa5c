"""Arrays computed when indexed: packed, streamed and composed images, masks from boxes."""

from collections.abc import Callable
from functools import cached_property

import numpy as np


class LazyArray:
    """An array of `shape` and `dtype` whose parts are computed when indexed."""

    dtype = np.dtype(np.uint8)
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    @cached_property
    def _numbers(self) -> np.ndarray:
        """0..N-1, read-only; made once, as to count a million images anew for each batch would outweigh reading it."""
        numbers = np.arange(len(self))
        numbers.flags.writeable = False
        return numbers

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)


class LazyImages(LazyArray):
    """A lazy uint8[N, 3, H, W] with the shape of `originals`.

    make: from rows, int64[k], to their images, uint8[k, 3, H, W].
    """

    def __init__(self, originals: np.ndarray, make: Callable[[np.ndarray], np.ndarray]):
        self.shape, self.make = tuple(originals.shape), make

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.make(np.arange(*part.indices(len(self))))
