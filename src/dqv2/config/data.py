"""Datasets: where the images come from, and how networks read them."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import Annotated, Literal, Union, get_args

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from dqv2.config.base import (
    HEX,
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
    refuse_idle,
    whole,
    written,
)
from dqv2.data.published import KNOWN_SETS, KnownSet
from dqv2.train.choices import CHOICES

Split = Literal["train", "validation", "test"]
# A class or folder whose name YAML takes for a number, such as 2021, is that name
AsText = BeforeValidator(lambda value: str(value) if type(value) is int else value, json_schema_input_type=int | str)
Name = Annotated[Text, AsText]
DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
Checksum = Annotated[
    written(
        "|".join(f"{algorithm}:{HEX}{{{digits}}}" for algorithm, digits in DIGITS.items()),
        "ALGORITHM:DIGITS, of md5, sha1, sha256 or sha512, with 32, 40, 64 or 128 hexadecimal digits",
    ),
    AfterValidator(str.lower),
]


class Augment(Block):
    """Augmentation during training, drawn independently for each image of a batch."""

    crop: one_of(CHOICES["crop"]) = "none"
    pad: whole(0, LARGEST) = 4
    flip: bool = False

    @model_validator(mode="after")
    def _pad_where_used(self) -> Augment:
        refuse_idle(self, () if self.crop == "pad" else ("pad",), f"with crop: {self.crop}")
        return self


class Dataset(Block):
    """The keys that every dataset has."""

    title: Text
    size: whole(8, LARGEST)
    stem: one_of(CHOICES["stem"]) = "standard"
    tobias_size: TobiasSize | None = None  # used where an experiment sets none; None: that of `defaults`
    augment: Augment = Augment()
    mean: Statistics | None = None  # normalises the networks' input, like std; None: ImageNet's
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
    """The keys that every set of image files has.

    `classes` restricts it to some of its classes: their names, or how many of the first.
    """

    classes: whole(1, 10**9) | Annotated[list[Name], Field(min_length=1), AfterValidator(each_once)] | None = None
    validation: real(ge=0, lt=1) = 0.0
    test: real(ge=0, lt=1) = 0.0
    per_class: dict[Split, whole(1, 10**9)] = Field(default_factory=dict)
    on_bad: Literal["error", "skip"] = "error"
    on_duplicate: Literal["keep", "error", "skip"] = "keep"
    max_pixels: whole(1, 10**10) = 64_000_000
    storage: Literal["packed", "streamed"] = "packed"
    split_seed: Seed = 0


class Own(Images):
    """The keys of a user's own set: `splits` maps each split to folders or tables, where their names do not tell.

    `unlabelled`: labels are not read and all images form one class; for selection only, nothing is trained on them.
    `white_level`: the value of 16-bit grey that is white.
    """

    path: FilePath
    splits: dict[Split, Annotated[list[Name], BeforeValidator(as_list), Field(min_length=1)]] | None = None
    unlabelled: bool = False
    white_level: whole(1, 65535) = 65535


class ImageFolder(Own):
    """A folder of images as torchvision's ImageFolder reads it.

    `masks: keep` reads files named as masks of other files as images; otherwise they are left out.
    """

    kind: Literal["image_folder"]
    masks: Literal["aside", "keep"] = "aside"


class Table(Own):
    """A folder of Parquet or Arrow files with an image and a label per row, as in Hugging Face's datasets."""

    kind: Literal["table"]
    image: Text = "image"
    label: Text = "label"
    storage: Literal["packed"] = "packed"


class ImageNet(Images):
    """A local copy of ImageNet, unpacked or as its archives: all classes, or those of ImageNet-30."""

    kind: one_of(known.name for known in KNOWN_SETS.values() if not known.archives)
    path: FilePath


class Published(Images):
    """A set that is fetched from its site unless its folder exists below `root`.

    `mirror` is another URL that provides the archive; `checksum`, ALGORITHM:HEX, replaces the published one.
    """

    root: FilePath = "data"
    mirror: Address | None = None
    checksum: Checksum | None = None

    @property
    def archive(self) -> str:
        """Its key in `dqv2.data.published.ARCHIVES`."""
        return f"{self.kind}-{self.variant}" if hasattr(self, "variant") else self.kind


def _published(known: KnownSet) -> type[Published]:
    """The block of a published set: `Published` plus the keys that its declaration adds."""
    keys = {
        key: (type_, Field(default_factory=partial(copy, default))) for key, (type_, default) in known.options.items()
    }
    if known.variants:
        keys["variant"] = (Annotated[one_of(known.variants), AsText], next(iter(known.variants)))
    if not known.streams:
        keys["storage"] = (Literal["packed"], "packed")
    kind = (Literal[known.name], ...)
    return create_model(known.name, __base__=Published, __module__=__name__, __doc__=known.about, kind=kind, **keys)


AnyDataset = Annotated[
    Union[Digits, ImageFolder, Table, ImageNet, *map(_published, (k for k in KNOWN_SETS.values() if k.archives))],
    Field(discriminator="kind"),
]
KINDS = {
    kind: model
    for model in get_args(get_args(AnyDataset)[0])
    for kind in get_args(model.model_fields["kind"].annotation)
}
KNOWS_OBJECTS = ("digits", *(known.name for known in KNOWN_SETS.values() if known.knows_objects))
