"""The pixels of a pack, compared with their checksums as they are read."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dqv2.data.errors import DataError
from dqv2.data.lazy import LazyArray


class PackedImages(LazyArray):
    """Stands for uint8[N, 3, H, W]; an image is compared with its checksum the first time that it is read.

    stored: uint8[N, 3, H, W], the memory map. ids: N sample ids. sums: the SHA-256 of each image's pixels. folder: of
    the pack. Indexing raises DataError where an image is not the one that was packed; the message names it.
    """

    def __init__(self, stored: np.ndarray, ids: Sequence[str], sums: Sequence[bytes], folder: Path):
        self.stored, self._ids, self._sums, self._folder = stored, ids, sums, folder
        self.shape = stored.shape
        self._compared = np.zeros(len(stored), bool)

    def __getitem__(self, index) -> np.ndarray:
        """uint8[3, H, W] for an integer; uint8[K, 3, H, W] for a slice, an array of rows or of booleans; a copy."""
        images = np.array(self.stored[index])
        rows = np.arange(len(self))[index]
        for row, image in zip(np.atleast_1d(rows), images if rows.ndim else [images], strict=True):
            if not self._compared[row]:
                if hashlib.sha256(image).digest() != self._sums[row]:
                    raise DataError(
                        f"The pack {self._folder} is damaged: in images.npy the pixels of {self._ids[row]} have "
                        "changed since they were written. Delete that folder and run the pack rule again."
                    )
                self._compared[row] = True
        return images
