"""A Tobias image as a recipe: whose background cells go where. The pixels are composed when they are needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dqv2.runtime.files import write_npz
from dqv2.semantic.compose import choose_donors, compose, tobias_cells


@dataclass(frozen=True)
class Recipe:
    """The recipe of N Tobias images.

    Attributes:
        donors: int64[N], the row of each image's donor.
        cells: int32[N, s*s], the donor's cell that fills each cell; -1 keeps the image's own pixels.
    """

    donors: np.ndarray
    cells: np.ndarray

    @property
    def masks(self) -> np.ndarray:
        """The foreground that the recipe was made from: bool[N, s, s]."""
        side = math.isqrt(self.cells.shape[1])
        return (self.cells < 0).reshape(-1, side, side)

    def images(self, originals: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Compose the Tobias images of the rows int64[K]: uint8[K, 3, H, W].

        originals: uint8[N, 3, H, W]; a memory map will do, only the rows and their donors are read.
        """
        own, donor = (torch.from_numpy(np.array(originals[i])) for i in (rows, self.donors[rows]))
        return compose(own, donor, torch.from_numpy(self.cells[rows].astype(np.int64))).numpy()

    def lazily(self, originals: np.ndarray) -> RecipeImages:
        """All Tobias images, composed as they are read."""
        return RecipeImages(self, originals)

    def save(self, path: str | Path) -> None:
        """Write the recipe as .npz."""
        write_npz(path, donors=self.donors, cells=self.cells)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read what `save` wrote."""
        with np.load(path) as kept:
            return cls(kept["donors"], kept["cells"])


@dataclass(frozen=True)
class RecipeImages:
    """Stands for uint8[N, 3, H, W], the Tobias images of a recipe, which are composed as they are indexed."""

    recipe: Recipe
    originals: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, H, W)."""
        return self.originals.shape

    def __len__(self) -> int:
        return len(self.originals)

    def __getitem__(self, part: slice) -> np.ndarray:
        """uint8[K, 3, H, W] of a slice."""
        return self.recipe.images(self.originals, np.arange(len(self))[part])


def make_recipe(masks: torch.Tensor, *, generator: torch.Generator) -> Recipe:
    """Donors of any class for every image, their background cells in random order (Cao & Wu 2022).

    masks: bool[N, s, s], the foreground of each image. The generator draws donors and orders.
    """
    donors = choose_donors(len(masks), generator=generator)
    cells = tobias_cells(masks, donors, generator=generator)
    return Recipe(donors.numpy(), cells.numpy().astype(np.int32))
