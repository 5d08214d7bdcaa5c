"""Datasets: where images come from, and what a network for them looks like."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import Annotated, Literal, Union, get_args

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from dqv2.config.base import (
    LARGEST,
    Address,
    Block,
    FilePath,
    Seed,
    Statistics,
    Text,
    TobiasSize,
    as_list,
    both_or_neither,
    each_once,
    one_of,
    real,
    whole,
)
from dqv2.data.published import KNOWN_SETS, KnownSet

Split = Literal["train", "validation", "test"]
CHECKSUM = r"^(md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"


class Augment(Block):
    """What training does to each image of a batch, drawn anew for each image."""

    crop: Literal["none", "pad", "resized"] = "none"
    pad: whole(0, LARGEST) = 4
    flip: bool = False


class Dataset(Block):
    """What every dataset has."""

    title: Text
    size: whole(8, LARGEST)
    stem: Literal["standard", "small"] = "standard"
    tobias_size: TobiasSize | None = None  # where nothing else names one; None: as `defaults` says
    augment: Augment = Augment()
    mean: Statistics | None = None  # what networks' input is normalised by; None: ImageNet's
    std: Statistics | None = None

    @model_validator(mode="after")
    def _normalised_and_cropped(self) -> Dataset:
        both_or_neither(self.mean, self.std)
        if self.augment.crop == "pad" and self.augment.pad >= self.size:
            raise ValueError(
                f"augment.pad {self.augment.pad} would crop images of {self.size} pixels out of the picture"
            )
        return self


class Digits(Dataset):
    """The embedded set: scikit-learn's handwritten digits on crops of its two photographs."""

    kind: Literal["digits"]
    size: whole(16, LARGEST) = 32
    train: whole(10, 1797) = 1200
    validation: whole(10, 1797) = 197
    test: whole(10, 1797) = 400
    split_seed: Seed = 0


class Images(Dataset):
    """What every set of image files has.

    `classes`: some of its classes alone: their names, or how many of the first.
    """

    classes: whole(1, 10**9) | Annotated[list[Text], Field(min_length=1), AfterValidator(each_once)] | None = None
    validation: real(ge=0, lt=1) = 0.0
    test: real(ge=0, lt=1) = 0.0
    per_class: dict[Split, whole(1, 10**9)] = Field(default_factory=dict)
    on_bad: Literal["error", "skip"] = "error"
    on_duplicate: Literal["keep", "error", "skip"] = "keep"
    max_pixels: whole(1, 10**10) = 64_000_000
    storage: Literal["packed", "streamed"] = "packed"
    split_seed: Seed = 0


class Own(Images):
    """What a person's own set has: `splits` says which folders or tables are which, where their names do not.

    `unlabelled`: labels are not read, and all images are of one class: for selection alone, nothing is trained on them.
    """

    path: FilePath
    splits: dict[Split, Annotated[list[Text], BeforeValidator(as_list), Field(min_length=1)]] | None = None
    unlabelled: bool = False


class ImageFolder(Own):
    """A folder of images as torchvision's ImageFolder reads it."""

    kind: Literal["image_folder"]


class Table(Own):
    """A folder of parquet or arrow files with an image and a label a row, as Hugging Face's datasets have them."""

    kind: Literal["table"]
    image: Text = "image"
    label: Text = "label"
    storage: Literal["packed"] = "packed"


class ImageNet(Images):
    """A local copy of ImageNet, unpacked or as its archives: all classes, or ImageNet-30's."""

    kind: one_of(known.kind for known in KNOWN_SETS.values() if not known.archives)
    path: FilePath


class Published(Images):
    """A set that is fetched from its site, where its folder is not below `root` yet.

    `mirror` is another address that has the archive; `checksum`, ALGORITHM:HEX, another one than the published.
    """

    root: FilePath = "data"
    mirror: Address | None = None
    checksum: Annotated[str, Field(pattern=CHECKSUM)] | None = None

    @property
    def archive(self) -> str:
        """Its key in `dqv2.data.published.ARCHIVES`."""
        return f"{self.kind}-{self.variant}" if hasattr(self, "variant") else self.kind


def _published(known: KnownSet) -> type[Published]:
    """The block of a published set: `Published`, and the keys that its declaration adds."""
    keys = {
        key: (type_, Field(default_factory=partial(copy, default))) for key, (type_, default) in known.options.items()
    }
    if known.variants:
        as_text = BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)
        keys["variant"] = (Annotated[one_of(known.variants), as_text], next(iter(known.variants)))
    if not known.streams:
        keys["storage"] = (Literal["packed"], "packed")
    kind = (Literal[known.kind], ...)
    return create_model(known.kind, __base__=Published, __module__=__name__, __doc__=known.about, kind=kind, **keys)


AnyDataset = Annotated[
    Union[Digits, ImageFolder, Table, ImageNet, *map(_published, (k for k in KNOWN_SETS.values() if k.archives))],
    Field(discriminator="kind"),
]
KINDS = {
    kind: model
    for model in get_args(get_args(AnyDataset)[0])
    for kind in get_args(model.model_fields["kind"].annotation)
}
KNOWS_OBJECTS = ("digits", *(known.kind for known in KNOWN_SETS.values() if known.knows_objects))
