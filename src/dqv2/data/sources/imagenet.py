"""ImageNet-1k (Russakovsky et al. 2015) from a local copy, the thirty classes of one-class ImageNet-30, ImageNette.

The copy is either unpacked (`train/WNID/*` and `val/WNID/*`, as torchvision's `ImageNet` makes it) or the official
archives as they are, whose images are read in place: nothing of the 150 GB is unpacked.
"""

import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from dqv2.data.errors import DataError
from dqv2.data.folder import scan_classes
from dqv2.data.sample import ImageSet, Sample

TRAIN, VAL, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"

# Hendrycks, Mazeika, Kadavath & Song 2019, "Using Self-Supervised Learning Can Improve Model Robustness and
# Uncertainty", one-class ImageNet: the classes by their WordNet ids.
IMAGENET30 = {
    "n12267677": "acorn",
    "n02690373": "airliner",
    "n02701002": "ambulance",
    "n01698640": "American alligator",
    "n02787622": "banjo",
    "n02793495": "barn",
    "n02837789": "bikini",
    "n03196217": "digital clock",
    "n02268443": "dragonfly",
    "n03255030": "dumbbell",
    "n03384352": "forklift",
    "n03443371": "goblet",
    "n03452741": "grand piano",
    "n07697537": "hotdog",
    "n03544143": "hourglass",
    "n03717622": "manhole cover",
    "n03788195": "mosque",
    "n03804744": "nail",
    "n03891332": "parking meter",
    "n03938244": "pillow",
    "n04086273": "revolver",
    "n03187595": "rotary dial telephone",
    "n04147183": "schooner",
    "n04252077": "snowmobile",
    "n04254680": "soccer ball",
    "n01498041": "stingray",
    "n07745940": "strawberry",
    "n04389033": "tank",
    "n04442312": "toaster",
    "n09472597": "volcano",
}


def load(root: Path, *, kind: str) -> ImageSet:
    """List ImageNet's samples, with val as the test split; ids are the paths of an unpacked copy, also for archives."""
    wanted = sorted(IMAGENET30) if kind == "imagenet30" else None
    found = ImageSet(root, [], {})
    if (root / "train").is_dir():
        missing = [wnid for wnid in wanted or [] if not (root / "train" / wnid).is_dir()]
        if missing:
            raise DataError(f"{root}/train lacks {len(missing)} of the 30 classes, the first is {missing[0]}.")
        found.splits["train"] = scan_classes(found, root / "train", wanted)
    elif (root / TRAIN).is_file():
        found.splits["train"] = _train_of_archive(root / TRAIN, wanted)
    else:
        raise DataError(f"{root} holds neither train/WNID/* nor {TRAIN}: it is not a copy of ImageNet.")
    found.classes = list(dict.fromkeys(s.class_name for s in found.splits["train"]))
    if (root / "val").is_dir():
        found.splits["test"] = scan_classes(found, root / "val", found.classes)
    elif (root / VAL).is_file():
        found.splits["test"] = _val_of_archive(root, found.classes)
    return found


def load_imagenette(root: Path, *, kind: str) -> ImageSet:
    """List the samples of ImageNette (Howard 2019), unpacked as by torchvision's `Imagenette`: ten classes."""
    found = ImageSet(root, [], {})
    found.splits["train"] = scan_classes(found, root / "train")
    found.classes = list(dict.fromkeys(s.class_name for s in found.splits["train"]))
    found.splits["test"] = scan_classes(found, root / "val", found.classes)
    return found


def _train_of_archive(archive: Path, wanted: Collection[str] | None) -> list[Sample]:
    """List the training archive, which has one archive per class: an image is a byte range of the outer file."""
    parts = {PurePosixPath(name).stem: offset for name, offset, _ in _members(archive) if name.endswith(".tar")}
    classes = sorted(parts) if wanted is None else list(wanted)
    if missing := [wnid for wnid in classes if wnid not in parts]:
        raise DataError(f"{archive} lacks {len(missing)} of {len(classes)} classes, the first is {missing[0]}.")
    samples = []
    for label, wnid in enumerate(classes):
        inner = sorted(_members(archive, parts[wnid]))
        samples += [Sample(f"train/{wnid}/{n}", label, wnid, f"{archive.name}@{o}+{size}") for n, o, size in inner]
    return samples


def _val_of_archive(root: Path, classes: list[str]) -> list[Sample]:
    """List the validation archive, with labels from the development kit, read by torchvision."""
    wnids = _val_wnids(root)
    place = {wnid: i for i, wnid in enumerate(classes)}
    members = sorted(member for member in _members(root / VAL) if member[0].lower().endswith(".jpeg"))
    if len(members) != len(wnids):
        raise DataError(f"{root / VAL} holds {len(members)} images, and the development kit labels {len(wnids)}.")
    samples = [
        Sample(f"val/{wnid}/{PurePosixPath(name).name}", place[wnid], wnid, f"{VAL}@{offset}+{length}")
        for (name, offset, length), wnid in zip(members, wnids, strict=True)
        if wnid in place
    ]
    return sorted(samples, key=lambda s: (s.label, s.id))


def _val_wnids(root: Path) -> list[str]:
    from torchvision.datasets import imagenet

    if not (root / imagenet.META_FILE).is_file():
        if not (root / DEVKIT).is_file():
            raise DataError(f"{root} has {VAL} but not {DEVKIT}, which says what its images show: put it there.")
        with TemporaryDirectory() as made:  # parsing writes meta.bin, and the set's folder is the user's own
            Path(made, DEVKIT).symlink_to((root / DEVKIT).absolute())
            try:
                imagenet.parse_devkit_archive(made)
            except RuntimeError as error:
                raise DataError(f"{root / DEVKIT} is not the published one: {error}") from error
            return imagenet.load_meta_file(made)[1]
    return imagenet.load_meta_file(root)[1]


def _members(archive: Path, offset: int = 0) -> Iterator[tuple[str, int, int]]:
    """(name, offset in `archive`, length) of the files in a tar that begins at `offset` of `archive`."""
    with archive.open("rb") as file:
        file.seek(offset)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members = []  # or it keeps them all
                    if member.isfile():
                        yield member.name, member.offset_data, member.size
        except tarfile.TarError as error:
            raise DataError(f"{archive} is damaged: {error}.") from error
