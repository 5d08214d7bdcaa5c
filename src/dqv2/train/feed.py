"""Images for a training: kept on the device if they fit, else read batch by batch while the device computes."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqv2.runtime.device import fits_memory, send
from dqv2.runtime.logging import logger


class Feed:
    """Batches of images on a device; identical whether the images are kept there or read.

    images: uint8[N, 3, H, W], a tensor or anything indexed by rows (a memory map, `StreamedImages`). device: of the
    batches. keep: whether to keep all images there if they fit, for repeated use; False reads them batch by batch.
    """

    def __init__(self, images: Tensor | Any, device: torch.device, *, keep: bool = True):
        self.device = device
        size = images.numel() if isinstance(images, Tensor) else int(np.prod(images.shape))
        self.images: Any = images
        self.resident = isinstance(images, Tensor) and images.device.type == device.type
        if self.resident or not keep:
            return
        if fits_memory(size, device):
            whole = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
            self.images, self.resident = whole.to(device), True
        else:
            logger.info("the images (%.1f GB) do not fit: they are read batch by batch", size / 1e9)

    def batches(self, rows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield uint8[B, 3, H, W] on the device for each int64[B] of `rows`; the next is read while one is in use."""
        if self.resident:
            for part in rows:
                yield self.images.index_select(0, send(part, self.device))
            return
        with ThreadPoolExecutor(1) as reader:
            coming = None
            for part in rows:
                ready, coming = coming, reader.submit(self._read, part)
                if ready is not None:
                    yield ready.result().to(self.device, non_blocking=True)
            if coming is not None:
                yield coming.result().to(self.device, non_blocking=True)

    def _read(self, rows: Tensor) -> Tensor:
        """Read in ascending order, then restore the requested order."""
        ascending, place = rows.sort()
        if isinstance(self.images, Tensor):
            found = self.images[ascending]
        else:
            found = torch.from_numpy(np.ascontiguousarray(self.images[ascending.numpy()]))
        batch = torch.empty_like(found)
        batch[place] = found
        return batch.pin_memory() if self.device.type == "cuda" else batch
