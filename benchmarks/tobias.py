"""Images a second of masks and Tobias images: from saliency to foreground, to recipe, to pixels. By hand:

    python benchmarks/tobias.py [--device cuda]

For each size of the images (and of the grid): `foreground` from a saliency map of a ResNet's last stage, `tobias_cells`
(donors' cells in random order), `compose` in the batch, and the same images written out before and read again as PNG
files, the other form that the pipeline offers. Both forms are held against each other pixel by pixel. On the CPU
seconds are those that the process computed, a thread, so that other load on the machine does not count.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import machine, median_work, table, work
from PIL import Image

from dqv2.runtime.device import use_device
from dqv2.semantic.compose import choose_donors, compose, tobias_cells
from dqv2.semantic.masks import foreground
from dqv2.semantic.recipe import Recipe


def written_out(images: np.ndarray, root: Path) -> None:
    for i, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(root / f"{i:06d}.png")


def read_again(root: Path, n: int) -> np.ndarray:
    return np.stack([np.asarray(Image.open(root / f"{i:06d}.png")).transpose(2, 0, 1) for i in range(n)])


def row(size: int, cells: int, number: int, batch: int, repeats: int, device: torch.device) -> list[object]:
    """The rates at one size, in images a second."""
    draws = torch.Generator().manual_seed(0)
    stage = max(2, size // 32)
    maps = torch.rand(number, stage, stage, generator=draws, device="cpu").to(device)
    images = torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8, generator=draws).to(device)
    donors = choose_donors(number, generator=draws).to(device)
    masks = foreground(maps, cells)
    found = tobias_cells(masks, donors, generator=draws)

    def composed() -> torch.Tensor:
        parts = torch.arange(number, device=device).split(batch)
        return torch.cat([compose(images[part], images[donors[part]], found[part]) for part in parts])

    seconds = {
        "foreground": median_work(lambda: foreground(maps, cells), repeats, device),
        "cells": median_work(lambda: tobias_cells(masks, donors, generator=draws), repeats, device),
        "composed": median_work(composed, repeats, device),
    }
    recipe = Recipe(donors.cpu().numpy(), found.cpu().numpy().astype(np.int32))
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        written = recipe.images(images.cpu().numpy(), np.arange(number))
        seconds["written"] = work(lambda: written_out(written, root), device)
        seconds["read"] = median_work(lambda: read_again(root, number), repeats, device)
        if not np.array_equal(read_again(root, number), composed().cpu().numpy()):
            sys.exit(f"{size} px: composed in the batch and written out are not the same pixels")
    return [f"{size} px, {cells} × {cells} cells", *(f"{number / value:,.0f}" for value in seconds.values()), "yes"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 224], help="pixels a side")
    parser.add_argument("--number", type=int, default=512, help="images")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    use_device(args.threads)
    device = torch.device(args.device)
    kind = "CPU seconds" if args.device == "cpu" else "wall clock"
    rows = []
    for size in args.sizes:
        for cells in (8, 32):
            rows.append(row(size, cells, args.number, args.batch, args.repeats, device))
    header = ["images", "foreground", "cells", "composed in the batch", "written out", "read again", "same pixels"]
    print(f"{machine(device)}; images/s, {args.number} images, batch {args.batch},", end=" ")
    print(f"{kind}, median of {args.repeats} (written out: once)\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
