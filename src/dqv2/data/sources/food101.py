"""Food-101 (Bossard et al. 2014) through torchvision's class: `images/CLASS/*`, splits in `meta/`."""

from pathlib import Path

from dqv2.data.errors import DataError
from dqv2.data.sample import ImageSet, Sample


def load(root: Path, *, kind: str) -> ImageSet:
    """List the samples. The folder must be called food-101, as in its archive."""
    from torchvision.datasets import Food101

    if root.name != "food-101":
        raise DataError(f"{root}: torchvision looks for Food-101 in a folder called food-101.")
    splits = {}
    for split in ("train", "test"):
        try:
            part = Food101(root.parent, split=split)
        except RuntimeError as error:
            raise DataError(f"{root} is not laid out as Food-101 is published (images/ and meta/).") from error
        files = [path.relative_to(root).as_posix() for path in part._image_files]
        splits[split] = [Sample(f, y, part.classes[y]) for f, y in zip(files, part._labels, strict=True)]
    return ImageSet(root, list(part.classes), splits)
