"""A Tobias image as a recipe: which donor's background cells go where. Pixels are composed when needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dqv2.arguments import check_masks, check_positive
from dqv2.runtime.files import read_npz, write_npz
from dqv2.semantic.compose import choose_donors, compose, tobias_cells


@dataclass(frozen=True)
class Recipe:
    """The recipe of N Tobias images."""

    donors: np.ndarray  # int64[N], the row of each image's donor; with several donors int64[N, k]
    cells: np.ndarray  # int32[N, s*s], the donor's cell that fills each cell; -1 keeps the image's own pixels
    which: np.ndarray | None = None  # with several donors uint8[N, s*s], the one that fills each cell

    @property
    def masks(self) -> np.ndarray:
        """The foreground that the recipe was made from: bool[N, s, s]."""
        side = math.isqrt(self.cells.shape[1])
        return (self.cells < 0).reshape(-1, side, side)

    def images(self, originals: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Compose the Tobias images of the rows int64[K]: uint8[K, 3, H, W].

        originals: uint8[N, 3, H, W], may be a memory map: only the rows and their donors are read.
        """
        images = torch.from_numpy(np.array(originals[rows]))
        for i, donors in enumerate(self.donors.reshape(len(self.donors), -1).T):  # each fills its own cells
            cells = self.cells[rows] if self.which is None else np.where(self.which[rows] == i, self.cells[rows], -1)
            donor = torch.from_numpy(np.array(originals[donors[rows]]))
            images = compose(images, donor, torch.from_numpy(cells.astype(np.int64)))
        return images.numpy()

    def save(self, path: str | Path) -> None:
        """Write the recipe as .npz."""
        several = {} if self.which is None else {"which": self.which}
        write_npz(path, donors=self.donors, cells=self.cells, **several)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read what `save` wrote; raises ValueError, which names the file, where that is something else."""
        return cls(**read_npz(path, "donors", "cells", also=["which"]))


def make_recipe(masks: torch.Tensor, *, donors: int = 1, generator: torch.Generator) -> Recipe:
    """Draw donors of any class for every image, and the order of their background cells (Cao & Wu 2022).

    masks: bool[N, s, s], the foreground of each image, with equal counts. donors: number of donors per image, 1 to 255;
    each background cell takes one of them at random. The generator draws donors, orders, and the donor of each cell.
    Raises ValueError for another number, and as `choose_donors` and `tobias_cells` do.
    """
    check_masks(masks=masks)
    check_positive(donors, "donors")
    if donors > 255:
        raise ValueError(f"donors must be at most 255, got {donors}")
    chosen = [choose_donors(len(masks), generator=generator) for _ in range(donors)]
    filled = [tobias_cells(masks, each, generator=generator) for each in chosen]
    if donors == 1:
        return Recipe(chosen[0].numpy(), filled[0].numpy().astype(np.int32))
    which = torch.randint(donors, filled[0].shape, generator=generator)
    cells = torch.stack(filled).gather(0, which[None])[0]
    return Recipe(torch.stack(chosen, 1).numpy(), cells.numpy().astype(np.int32), which.numpy().astype(np.uint8))
