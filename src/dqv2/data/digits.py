"""The embedded set: scikit-learn's handwritten digits on crops of its two photographs, made at run time.

No network and no image file in the repository: the 1,797 digits of `load_digits` (8×8, ten classes, written
by real people) are enlarged to three quarters of the side, placed at a random offset on a crop of one of the
photographs of `load_sample_images`, and drawn as |background − 255·alpha|, so that a digit is visible on dark and
bright backgrounds alike. The splits share no digit, and no pixel of a photograph: each crops its own strip.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from dqv2.data.pack import write_pack
from dqv2.data.split import stratified_split

CROP = 32  # side of a background crop in the photographs' own pixels, whatever the size of the images
STRIPS = {"train": (0.0, 0.625), "validation": (0.625, 0.75), "test": (0.75, 1.0)}  # shares of a photograph's width
OBJECT_ALPHA = 64  # a quarter of full ink: below that a stroke is hardly visible


@dataclass(frozen=True, eq=False)
class Split:
    """One split of the embedded set."""

    classes: list[str]  # "0" to "9"
    ids: list[str]  # N, `digits/SPLIT/INDEX` with the digit's index in scikit-learn's order
    labels: np.ndarray  # int64[N]
    size: int  # side of the images in pixels
    sources: list[str]  # photograph and top left corner of each background
    inks: np.ndarray  # uint8[N, size, size], 255·alpha
    backgrounds: list[np.ndarray]  # N crops, uint8[CROP, CROP, 3]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def objects(self) -> np.ndarray:
        """True object masks, bool[N, size, size]."""
        return self.inks >= OBJECT_ALPHA

    def items(self) -> Iterator[tuple[str, int, str, np.ndarray]]:
        """Yield (id, label, source, image uint8[3, size, size]), as `write_pack` takes them."""
        for i, name in enumerate(self.ids):
            ground = np.asarray(_resize(Image.fromarray(self.backgrounds[i]), self.size))
            image = np.abs(ground.astype(np.int16) - self.inks[i][:, :, None]).astype(np.uint8)
            yield name, int(self.labels[i]), self.sources[i], np.ascontiguousarray(image.transpose(2, 0, 1))


def make_digits(
    *, train: int = 1200, validation: int = 197, test: int = 400, size: int = 32, seed: int = 0
) -> dict[str, Split]:
    """The splits train, validation and test of the embedded set: their numbers of images, `size` pixels a side.

    Digit, background and offset of an image are determined by `seed` alone, drawn on the CPU; the split is stratified
    by class, and the test split does not depend on the other splits' sizes. Resizing is Pillow's 8-bit bilinear, in
    integers. Raises ValueError for more images than the 1,797 digits.
    """
    sizes = {"test": test, "validation": validation, "train": train}
    digits = load_digits()
    inks, labels = (digits.images.astype(np.int64) * 255 + 8) // 16, digits.target.astype(np.int64)
    generator = torch.Generator().manual_seed(seed)
    chosen = stratified_split(labels, list(sizes.values()), generator=generator)
    draws = torch.randint(2**31, (len(labels), 5), generator=generator).tolist()
    photographs = load_sample_images()
    names = [Path(name).name for name in photographs.filenames]
    side = round(size * 3 / 4)

    def compose(split: str, rows: list[int]) -> Split:
        ink = np.zeros((len(rows), size, size), dtype=np.uint8)
        sources, backgrounds = [], []
        for k, row in enumerate(rows):
            photo, top, left, down, right = draws[row]
            photo %= len(names)
            picture = photographs.images[photo]
            start, end = (int(edge * picture.shape[1]) for edge in STRIPS[split])
            top, left = top % (picture.shape[0] - CROP + 1), start + left % (end - start - CROP + 1)
            down, right = down % (size - side + 1), right % (size - side + 1)
            digit = Image.fromarray(inks[row].astype(np.uint8))
            ink[k, down : down + side, right : right + side] = np.asarray(_resize(digit, side))
            sources.append(f"{names[photo]}:{left},{top}")
            backgrounds.append(picture[top : top + CROP, left : left + CROP])
        ids = [f"digits/{split}/{row:04d}" for row in rows]
        classes = [str(name) for name in digits.target_names]
        return Split(classes, ids, labels[rows], size, sources, ink, backgrounds)

    splits = {split: compose(split, rows) for split, rows in zip(sizes, chosen, strict=True)}
    return {split: splits[split] for split in STRIPS}


def pack_digits(out: str | Path, *, dataset: str = "digits", **options: int) -> dict[str, Path]:
    """Write the embedded set as the packs `out/train`, `out/validation` and `out/test`; options of `make_digits`."""
    return {
        name: write_pack(
            Path(out) / name,
            dataset=dataset,
            split=name,
            classes=split.classes,
            items=split.items(),
            n=len(split),
            size=split.size,
            objects=split.objects,
        )
        for name, split in make_digits(**options).items()
    }


def _resize(image: Image.Image, side: int) -> Image.Image:
    return image if image.size == (side, side) else image.resize((side, side), Image.Resampling.BILINEAR)
