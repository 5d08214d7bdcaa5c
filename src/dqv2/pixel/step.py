"""A coreset's images after the pixel step, with what training and figures need to know about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dqv2.pixel.patches import cutmix_boxes, dropped_patches, paste
from dqv2.runtime.files import read_npz, sha256, write_npz
from dqv2.semantic.compose import choose_donors


@dataclass(frozen=True)
class PixelStep:
    """K images whose pixels were partly replaced."""

    images: np.ndarray  # uint8[K, 3, H, W]
    mask: np.ndarray  # bool[K, g, g], True where patches (or, with CutMix, pixels) were replaced
    partner: np.ndarray  # int64[K], the row of the image that the new pixels come from; -1: from an autoencoder
    share: float = 1.0  # in [0, 1], the weight of the image's own label
    weights: str = ""  # SHA-256 of the autoencoder, or empty

    @property
    def replaced(self) -> float:
        """The share of the pixels that were replaced."""
        return float(self.mask.mean())

    def save(self, path: str | Path, *, coreset: str | Path) -> None:
        """Write as .npz, with the checksum of the coreset file that it belongs to."""
        arrays = {"images": self.images, "mask": self.mask, "partner": self.partner}
        write_npz(path, **arrays, share=self.share, weights=self.weights, coreset=sha256(coreset))

    @classmethod
    def load(cls, path: str | Path, *, coreset: str | Path) -> PixelStep:
        """Read what `save` wrote; raises ValueError unless it belongs to this very coreset file, or for other files."""
        kept = read_npz(path, "images", "mask", "partner", "share", "weights", "coreset")
        if str(kept.pop("coreset")) != sha256(coreset):
            raise ValueError(f"{path} is of another coreset than {coreset}: rerun the rule pixels")
        return cls(**kept | {"share": float(kept["share"]), "weights": str(kept["weights"])})


def mae_step(
    images: Tensor,
    importance: Tensor,
    share: float,
    autoencoder: nn.Module,
    *,
    resampled: bool = False,
    weights: str = "",
) -> PixelStep:
    """Drop the least important patches and reconstruct them with the autoencoder (DQ's third step, section 3.3).

    images: uint8[K, 3, H, W]; importance: float[K, h, w], as from `grad_cam_pp`; share: share of patches to drop, in
    (0, 1), on the autoencoder's grid. resampled: as in `reconstruct`. weights: the autoencoder's checksum, stored with
    the result.
    """
    from dqv2.pixel.autoencoder import grid_of, reconstruct

    dropped = dropped_patches(importance, grid_of(autoencoder), share)
    drawn = reconstruct(autoencoder, images, dropped, resampled=resampled)
    return PixelStep(drawn.numpy(), dropped.numpy(), np.full(len(images), -1), weights=weights)


def cutmix_step(images: Tensor, share: float, *, generator: torch.Generator) -> PixelStep:
    """CutMix instead of the autoencoder (DQ_V2, section 3.3): a box of another image, fixed for all epochs.

    images: uint8[K, 3, H, W], K at least 2; share: of the image's area. Labels are mixed by area, as in CutMix.
    """
    donors = choose_donors(len(images), generator=generator)
    boxes = cutmix_boxes(len(images), images.shape[2], share, generator=generator)
    mixed, own = paste(images, images[donors], boxes), 1 - float(boxes[0].float().mean())
    return PixelStep(mixed.numpy(), boxes.numpy(), donors.numpy(), share=own)
