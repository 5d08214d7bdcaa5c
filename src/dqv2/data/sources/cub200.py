"""CUB-200-2011 (Wah et al. 2011): lists of images, labels, splits and boxes by image number."""

from pathlib import Path

from dqv2.data.errors import DataError
from dqv2.data.sample import ImageSet, Sample


def load(root: Path, *, kind: str) -> ImageSet:
    """List the samples, with the splits of train_test_split.txt and the bounding box of each bird."""
    images, labels, trained, boxes, names = (
        _table(root / f"{name}.txt")
        for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes", "classes")
    )
    if not images.keys() == labels.keys() == trained.keys() == boxes.keys():
        raise DataError(f"{root}: images.txt and the lists next to it do not name the same images.")
    numbers = sorted(names, key=int)
    place = {number: i for i, number in enumerate(numbers)}
    found = ImageSet(root, [names[number] for number in numbers], {"train": [], "test": []})
    for number, file in images.items():
        label = place[labels[number]]
        x, y, width, height = map(float, boxes[number].split())
        box = (x, y, x + width, y + height)
        split = found.splits["train" if trained[number] == "1" else "test"]
        split.append(Sample(f"images/{file}", label, found.classes[label], box=box))
    return found


def _table(path: Path) -> dict[str, str]:
    """Number -> the rest of its line."""
    lines = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {number: rest.strip() for number, rest in lines}
