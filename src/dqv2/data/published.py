"""The sets that are known by name: where each comes from, how it is read, how large it is. Imports no torch.

The choices of the configuration, the archives to fetch, the readers and the sizes are derived from `KNOWN_SETS`. See
docs/code.md to add a set.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dqv2.declared import by_name


@dataclass(frozen=True)
class Archive:
    """An archive of a set."""

    url: str  # where it is published
    checksum: str  # `ALGORITHM:HEX` of the whole file, as published
    folder: str  # the folder inside that holds the set

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1].split("?")[0]


@dataclass(frozen=True)
class KnownSet:
    """A set with an official layout."""

    name: str  # the `kind` of the configuration's datasets
    about: str  # one sentence
    reader: str  # `module:function`, imported when it is used: (folder, kind=, and the keys of `options`) -> `ImageSet`
    sizes: tuple[int, int, int]  # classes, training and test images, as its authors state them
    archive: Archive | None = None  # None where users must request it, and give its place as `path`
    # For a set with several archives; the configuration's `variant` names one, by default the first
    variants: Mapping[str, Archive] = field(default_factory=dict)
    # Key of the configuration -> (its type, its default); passed to the reader as keywords
    options: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    knows_objects: bool = False  # whether it has the objects' bounding boxes
    streams: bool = True  # whether its images are files, so that they need not be packed

    @property
    def archives(self) -> dict[str, Archive]:
        """Its archives by name: the set's, or SET-VARIANT."""
        one = {self.name: self.archive} if self.archive else {}
        return one | {f"{self.name}-{variant}": archive for variant, archive in self.variants.items()}


# URLs and checksums of CIFAR-10, ImageNette and Food-101 are torchvision's (a test holds them equal); CUB's are
# CaltechDATA's, record 65de6-vp158; Tiny-ImageNet's site publishes no checksum: this is the one that its users agree
# on.
CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a"
CUB200 = (
    "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
    "md5:97eceeb196236b17998738112f37df78",
)
FOOD101 = "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz", "md5:85eeb15f3717b99a5da872d97d918f87"
TINY_IMAGENET = "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "md5:90528d7ca1a48142e341f4ef8d21d0de"


def _imagenette(name: str, md5: str) -> Archive:
    return Archive(f"https://s3.amazonaws.com/fast-ai-imageclas/{name}.tgz", f"md5:{md5}", name)


KNOWN_SETS = by_name(
    KnownSet(
        "imagenet",
        "All classes of ImageNet (ILSVRC 2012), unpacked or as its archives.",
        "dqv2.data.sources.imagenet:load",
        sizes=(1000, 1_281_167, 50_000),
    ),
    KnownSet(
        "imagenet30",
        "The thirty classes of ImageNet that Hendrycks et al. 2019 chose.",
        "dqv2.data.sources.imagenet:load",
        sizes=(30, 39_000, 1_500),  # at most: 1,300 training images a class
    ),
    KnownSet(
        "cifar10",
        "CIFAR-10. `checksums` are those (MD5) of batches that are not the published ones.",
        "dqv2.data.sources.cifar10:load",
        sizes=(10, 50_000, 10_000),
        archive=Archive(*CIFAR10, "cifar-10-batches-py"),
        options={"checksums": (dict[str, str], {})},
        streams=False,
    ),
    KnownSet(
        "imagenette",
        "ImageNette: full size, or with the shorter side of 320 or 160 pixels.",
        "dqv2.data.sources.imagenet:load_imagenette",
        sizes=(10, 9_469, 3_925),
        variants={
            "full": _imagenette("imagenette2", "fe2fc210e6bb7c5664d602c3cd71e612"),
            "320": _imagenette("imagenette2-320", "3df6f0d01a2c9592104656642f5e78a3"),
            "160": _imagenette("imagenette2-160", "e793b78cc4c9e9a4ccc0c1155377a412"),
        },
    ),
    KnownSet(
        "cub200",
        "CUB-200-2011.",
        "dqv2.data.sources.cub200:load",
        sizes=(200, 5_994, 5_794),
        archive=Archive(*CUB200, "CUB_200_2011"),
        knows_objects=True,
    ),
    KnownSet(
        "food101",
        "Food-101.",
        "dqv2.data.sources.food101:load",
        sizes=(101, 75_750, 25_250),
        archive=Archive(*FOOD101, "food-101"),
    ),
    KnownSet(
        "tiny_imagenet",
        "Tiny-ImageNet; its val is the test split.",
        "dqv2.data.sources.tiny_imagenet:load",
        sizes=(200, 100_000, 10_000),
        archive=Archive(*TINY_IMAGENET, "tiny-imagenet-200"),
        knows_objects=True,
    ),
)

ARCHIVES = {name: archive for known in KNOWN_SETS.values() for name, archive in known.archives.items()}
