"""Tiny-ImageNet (Le & Yang 2015): `train/WNID/images/*` and `val/images/*`; val is the test split."""

from pathlib import Path

from dqv2.data.sample import ImageSet, Sample


def load(root: Path, *, kind: str) -> ImageSet:
    """List the samples. The classes are the sorted WordNet ids; boxes are inclusive in the files and exclusive here."""
    classes = sorted((root / "wnids.txt").read_text(encoding="utf-8").split())
    place = {wnid: i for i, wnid in enumerate(classes)}
    train = []
    for wnid in classes:
        for file, *box in _lines(root / "train" / wnid / f"{wnid}_boxes.txt"):
            train.append(Sample(f"train/{wnid}/images/{file}", place[wnid], wnid, box=_box(box)))
    test = [
        Sample(f"val/images/{file}", place[wnid], wnid, box=_box(box))
        for file, wnid, *box in _lines(root / "val" / "val_annotations.txt")
    ]
    return ImageSet(root, classes, {"train": train, "test": test})


def _lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _box(values: list[str]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = map(int, values)
    return x0, y0, x1 + 1, y1 + 1
