"""Where the published sets come from: their official archives, checksums and folders. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["ARCHIVES", "Archive", "archive_of"]


@dataclass(frozen=True)
class Archive:
    """An archive of a set.

    Attributes:
        url: where it is published.
        checksum: `ALGORITHM:HEX` of the whole file, as published.
        folder: the folder in it that is the set.
    """

    url: str
    checksum: str
    folder: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1].split("?")[0]


_FASTAI = "https://s3.amazonaws.com/fast-ai-imageclas"

# URLs and checksums of the first three are torchvision's (a test holds them equal); CUB's are CaltechDATA's, record
# 65de6-vp158; Tiny-ImageNet's site publishes no checksum: this is the one that its users agree on.
ARCHIVES = {
    "cifar10": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "md5:c58f30108f718f92721af3b95e74349a",
        "cifar-10-batches-py",
    ),
    "imagenette-full": Archive(f"{_FASTAI}/imagenette2.tgz", "md5:fe2fc210e6bb7c5664d602c3cd71e612", "imagenette2"),
    "imagenette-320": Archive(
        f"{_FASTAI}/imagenette2-320.tgz", "md5:3df6f0d01a2c9592104656642f5e78a3", "imagenette2-320"
    ),
    "imagenette-160": Archive(
        f"{_FASTAI}/imagenette2-160.tgz", "md5:e793b78cc4c9e9a4ccc0c1155377a412", "imagenette2-160"
    ),
    "food101": Archive(
        "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz", "md5:85eeb15f3717b99a5da872d97d918f87", "food-101"
    ),
    "cub200": Archive(
        "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
        "md5:97eceeb196236b17998738112f37df78",
        "CUB_200_2011",
    ),
    "tiny_imagenet": Archive(
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "md5:90528d7ca1a48142e341f4ef8d21d0de",
        "tiny-imagenet-200",
    ),
}


def archive_of(name: str, *, mirror: str | None = None, checksum: str | None = None) -> Archive:
    """The archive of a set, from another place (`mirror` + its name) or with another checksum where given."""
    archive = ARCHIVES[name]
    if mirror:
        archive = replace(archive, url=f"{mirror.rstrip('/')}/{archive.name}")
    return replace(archive, checksum=checksum) if checksum else archive
