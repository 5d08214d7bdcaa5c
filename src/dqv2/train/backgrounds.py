"""Backgrounds that a training draws anew at every visit of an image."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dqv2.runtime.device import send
from dqv2.semantic.compose import compose, tobias_cells


class Backgrounds(NamedTuple):
    """What was drawn for a batch of B: int64[B] donors within the batch, their cells int64[B, s·s], bool[B] chosen."""

    donors: Tensor
    cells: Tensor
    chosen: Tensor


@dataclass(frozen=True)
class FreshTobias:
    """Another image's background for a share of each batch, drawn anew at every visit; donors are of the same batch."""

    masks: Tensor  # bool[N, s, s], the foreground of each training image
    share: float

    def draw(self, rows: Tensor, draws: torch.Generator) -> Backgrounds:
        """For the images `rows` int64[B], on the CPU."""
        n = len(rows)
        donors = (torch.arange(n) + int(torch.randint(1, max(n, 2), (1,), generator=draws))) % n
        cells = tobias_cells(self.masks[rows], donors, generator=draws)
        return Backgrounds(donors, cells, torch.rand(n, generator=draws) < self.share)

    @staticmethod
    def compose(images: Tensor, donor_images: Tensor, cells: Tensor, chosen: Tensor) -> Tensor:
        """uint8[B, 3, H, W] twice, the second the donors -> the first with the backgrounds of those chosen replaced."""
        cells = cells.pin_memory() if images.is_cuda else cells
        composed = compose(images, donor_images, cells)
        return torch.where(send(chosen, images.device)[:, None, None, None], composed, images)
