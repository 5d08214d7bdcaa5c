"""Images that are decoded from their source whenever they are read, for sets too large to pack."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np

from dqv2.data.errors import DataError
from dqv2.data.image import MAX_PIXELS, WHITE, decode
from dqv2.data.lazy import LazyArray
from dqv2.data.sample import read_place
from dqv2.runtime.files import sha256
from dqv2.runtime.memory import cores


class StreamedImages(LazyArray):
    """A lazy uint8[N, 3, H, W]; indexing reads and decodes images and compares each with its checksum.

    ids: N sample ids. places: the path of each below `root` (see `Sample.place`), or None where that is its id. sums:
    the SHA-256 of each image's pixels. shape: (N, 3, H, W). root: the folder with the sources. max_pixels,
    white_level: those that the images were packed with. Indexing raises DataError where an image is gone or has
    changed since it was packed; the message names it.
    """

    def __init__(
        self,
        ids: Sequence[str],
        places: Sequence[str | None],
        sums: Sequence[bytes],
        shape: tuple[int, ...],
        *,
        root: str,
        max_pixels: int = MAX_PIXELS,
        white_level: int = WHITE,
    ):
        self.root, self.shape = Path(root), shape
        self.max_pixels, self.white_level = max_pixels, white_level
        self._names, self._places, self._sums = ids, places, np.array(sums, dtype="V32")

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(cores())

    def __getitem__(self, index) -> np.ndarray:
        """uint8[3, H, W] for an integer; uint8[K, 3, H, W] for a slice, an array of rows or of booleans."""
        rows = self._numbers[index]
        if rows.ndim == 0:
            return self._read(int(rows))
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for i, image in enumerate(self._pool.map(self._read, rows.tolist())):
            images[i] = image
        return images

    def _read(self, row: int) -> np.ndarray:
        name = self._names[row]
        data = read_place(self.root, name, self._places[row], self.max_pixels)
        limits = {"max_pixels": self.max_pixels, "white_level": self.white_level}
        found = data if isinstance(data, str) else decode(data, self.shape[-1], **limits)
        if isinstance(found, str):
            raise DataError(
                f"{self.root / name}: {found}. The images of a streamed set have to stay where they were when it was "
                "packed (or set storage: packed)."
            )
        if bytes.fromhex(sha256(found.pixels.tobytes())) != self._sums[row].tobytes():
            raise DataError(f"{self.root / name} is not the image that it was when the set was packed: pack it again.")
        return found.pixels
