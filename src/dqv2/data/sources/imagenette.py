"""ImageNette (Howard 2019): ten classes of ImageNet, `train/WNID/*` and `val/WNID/*`; val is the test split."""

from pathlib import Path

from dqv2.data.folder import scan_classes
from dqv2.data.sample import ImageSet


def load(root: Path, *, kind: str) -> ImageSet:
    """The classes are WordNet ids, in their order, as in torchvision's `Imagenette`."""
    found = ImageSet(root, [], {})
    found.splits["train"] = scan_classes(found, root / "train")
    found.classes = list(dict.fromkeys(s.class_name for s in found.splits["train"]))
    found.splits["test"] = scan_classes(found, root / "val", found.classes)
    return found
