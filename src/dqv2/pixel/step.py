"""A coreset's images after the pixel step, with what training and the figures need to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dqv2.pixel.patches import cutmix_images, dropped_patches
from dqv2.runtime.files import sha256, write_npz


@dataclass(frozen=True)
class PixelStep:
    """K images whose pixels were in part replaced.

    Attributes:
        images: uint8[K, 3, H, W].
        mask: bool[K, g, g], True where patches (or, with CutMix, pixels) were replaced.
        partner: int64[K], the row of the image that the new pixels come from; -1 where an autoencoder drew them.
        share: float in [0, 1], the part of the label that stays the image's own (1: all of it).
        weights: sha256 of the autoencoder that drew them, or empty.
        coreset: sha256 of the coreset's file, whose order the images have.
    """

    images: np.ndarray
    mask: np.ndarray
    partner: np.ndarray
    share: float = 1.0
    weights: str = ""
    coreset: str = ""

    @property
    def replaced(self) -> float:
        """The share of the pixels that were replaced."""
        return float(self.mask.mean())

    def save(self, path: str | Path, *, coreset: str | Path) -> None:
        """Write it as .npz, with the identity of the coreset file that it is of."""
        arrays = {"images": self.images, "mask": self.mask, "partner": self.partner}
        write_npz(path, **arrays, share=self.share, weights=self.weights, coreset=sha256(coreset))

    @classmethod
    def load(cls, path: str | Path, *, coreset: str | Path) -> PixelStep:
        """Read what `save` wrote; raises ValueError unless it is of this very coreset file."""
        with np.load(path) as kept:
            arrays, own = (kept["images"], kept["mask"], kept["partner"]), str(kept["coreset"])
            if own != sha256(coreset):
                raise ValueError(f"{path} is of another coreset than {coreset}: rerun the rule pixels")
            return cls(*arrays, share=float(kept["share"]), weights=str(kept["weights"]), coreset=own)


class RedrawnImages:
    """Stands for uint8[N, 3, H, W], images as a pixel step leaves them, which are redrawn as they are read by slices.

    redraw: from a tensor uint8[k, 3, H, W] to an array of the same shape.
    """

    def __init__(self, images: np.ndarray, redraw: Callable[[Tensor], np.ndarray]):
        self.images, self.redraw, self.shape = images, redraw, tuple(images.shape)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.redraw(torch.from_numpy(np.array(self.images[rows])))


def mae_step(
    images: Tensor,
    importance: Tensor,
    share: float,
    autoencoder: nn.Module,
    *,
    resampled: bool = False,
    weights: str = "",
) -> PixelStep:
    """Drop the least important patches and have the autoencoder draw them (DQ, its third step).

    images: uint8[K, 3, H, W]; importance: float[K, h, w], as from `grad_cam_pp`; share: of the patches to drop, in
    (0, 1). The number of patches is the autoencoder's. resampled: as in `reconstruct`. weights: the autoencoder's
    checksum, kept with the result.
    """
    from dqv2.pixel.autoencoder import grid_of, reconstruct

    dropped = dropped_patches(importance, grid_of(autoencoder), share)
    drawn = reconstruct(autoencoder, images, dropped, resampled=resampled)
    return PixelStep(drawn.numpy(), dropped.numpy(), np.full(len(images), -1), weights=weights)


def cutmix_step(images: Tensor, share: float, *, generator: torch.Generator) -> PixelStep:
    """CutMix in the place of the autoencoder (DQ_V2, section 3.2): a box of another image, fixed once for all epochs.

    images: uint8[K, 3, H, W]; share: of the image's area. The label is shared as CutMix does.
    """
    mixed, boxes, donors, own = cutmix_images(images, share, generator=generator)
    return PixelStep(mixed.numpy(), boxes.numpy(), donors.numpy(), share=own)
