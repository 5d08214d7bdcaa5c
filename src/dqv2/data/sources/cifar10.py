"""CIFAR-10 (Krizhevsky 2009) through torchvision's class: the python batches, 32×32."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from dqv2.data.errors import DataError
from dqv2.data.image import MAX_PIXELS
from dqv2.data.sample import ImageSet, Sample


class _Cifar(ImageSet):
    """Images from torchvision's arrays. An id is split/index, in the official order of the batches."""

    streams = False
    arrays: dict[str, np.ndarray]

    def readers(self, samples: Iterable[Sample], max_pixels: int = MAX_PIXELS) -> Iterator[tuple]:
        for sample in samples:
            split, index = sample.id.split("/")
            yield sample, partial(self.arrays[split].__getitem__, int(index))


def load(root: Path, *, kind: str, checksums: Mapping[str, str] | None = None) -> ImageSet:
    """List CIFAR-10's samples. checksums: batch name -> MD5, for batches that are not the official ones."""
    from torchvision.datasets import CIFAR10

    known = dict(checksums or {})

    class Reader(CIFAR10):
        base_folder = root.name
        train_list = [[name, known.get(name, md5)] for name, md5 in CIFAR10.train_list]  # noqa: RUF012
        test_list = [[name, known.get(name, md5)] for name, md5 in CIFAR10.test_list]  # noqa: RUF012
        meta = CIFAR10.meta | {"md5": known.get(CIFAR10.meta["filename"], CIFAR10.meta["md5"])}

    try:
        parts = {split: Reader(root.parent, train=split == "train") for split in ("train", "test")}
    except RuntimeError as error:
        raise DataError(
            f"{root} lacks batches of CIFAR-10, or they are not the published ones (their MD5 differs): remove the "
            "folder, and it is made again from the archive."
        ) from error
    classes = list(parts["train"].classes)
    splits = {
        split: [Sample(f"{split}/{i:05d}", label, classes[label]) for i, label in enumerate(part.targets)]
        for split, part in parts.items()
    }
    found = _Cifar(root, classes, splits)
    found.arrays = {split: part.data for split, part in parts.items()}
    return found
