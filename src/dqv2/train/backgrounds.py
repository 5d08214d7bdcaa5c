"""Backgrounds that are redrawn at every visit of an image during training."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dqv2.arguments import check_share
from dqv2.runtime.device import send
from dqv2.semantic.compose import compose, tobias_cells


class Backgrounds(NamedTuple):
    """The draws for a batch of B: donors within the batch, int64[B]; their cells, int64[B, s·s]; and which images get a
    new background, bool[B]."""

    donors: Tensor
    cells: Tensor
    chosen: Tensor


@dataclass(frozen=True)
class FreshTobias:
    """Another image's background for a share of each batch, redrawn at every visit; donors are in the same batch."""

    masks: Tensor  # bool[N, s, s], the foreground of each training image
    share: float  # in [0, 1]

    def __post_init__(self) -> None:
        check_share(self.share, "share")

    def draw(self, rows: Tensor, draws: torch.Generator) -> Backgrounds:
        """Draw for the images `rows`, int64[B], on the CPU."""
        n = len(rows)
        donors = (torch.arange(n) + int(torch.randint(1, max(n, 2), (1,), generator=draws))) % n
        cells = tobias_cells(self.masks[rows], donors, generator=draws)
        return Backgrounds(donors, cells, torch.rand(n, generator=draws) < self.share)

    @staticmethod
    def compose(images: Tensor, donor_images: Tensor, cells: Tensor, chosen: Tensor) -> Tensor:
        """Replace the backgrounds of the chosen images by those of their donors, both uint8[B, 3, H, W]; returns the
        same shape."""
        cells = cells.pin_memory() if images.is_cuda else cells
        composed = compose(images, donor_images, cells)
        return torch.where(send(chosen, images.device)[:, None, None, None], composed, images)
