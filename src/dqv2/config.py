"""The configuration, typed: every key is named here, everything else is refused with its path."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

BLOCKS_AT_THE_TOP = ("datasets", "trainers", "backbones", "masks", "mixtures", "selectors", "methods", "experiments")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class ConfigError(ValueError):
    """Something in the configuration is wrong; the message names the key, the value and what is allowed."""


class Block(BaseModel):
    """A block of the configuration: extra keys are refused, values are not changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _name(value: Any) -> Any:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError("a name is letters, digits and _ and begins with a letter (it becomes part of a path)")
    return value


Name = Annotated[str, BeforeValidator(_name)]
KeepRatio = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
TobiasSize = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class Augment(Block):
    """What training does to each image of a batch, drawn anew for each image."""

    crop: Literal["none", "pad", "resized"] = "none"
    pad: Annotated[int, Field(ge=0)] = 4
    flip: bool = False


class Dataset(Block):
    """What every dataset has."""

    title: str
    size: Annotated[int, Field(ge=8)]
    stem: Literal["standard", "small"] = "standard"
    augment: Augment = Augment()


class Digits(Dataset):
    """The embedded set: scikit-learn's handwritten digits on crops of its two photographs."""

    kind: Literal["digits"]
    size: Annotated[int, Field(ge=16)] = 32
    train: Annotated[int, Field(ge=10)] = 1200
    validation: Annotated[int, Field(ge=10)] = 197
    test: Annotated[int, Field(ge=10)] = 400
    split_seed: Seed = 0


class ImageFolder(Dataset):
    """A folder of images as torchvision's ImageFolder reads it."""

    kind: Literal["image_folder"]
    path: str
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0
    per_class: dict[Literal["train", "validation", "test"], Annotated[int, Field(ge=1)]] = {}
    on_bad: Literal["error", "skip"] = "error"
    split_seed: Seed = 0


class FreshTobias(Block):
    """Show a share of each batch with another image's background, drawn anew at every visit (not in the paper)."""

    mask: Name
    size: TobiasSize
    share: Share = 0.5


class Trainer(Block):
    """A training recipe. Exactly one of `epochs` and `iterations` says how long."""

    title: str = ""
    model: str
    epochs: Annotated[int, Field(ge=1)] | None = None
    iterations: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mix: Literal["none", "mixup", "cutmix", "both"] = "none"
    mixup_alpha: Annotated[float, Field(gt=0)] = 0.2
    cutmix_alpha: Annotated[float, Field(gt=0)] = 1.0
    fresh_tobias: FreshTobias | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Trainer:
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("give either epochs or iterations, not both and not neither")
        return self


class Backbone(Block):
    """A network for masks and features: trained for a few epochs on the full set, or left random (epochs 0)."""

    title: str = ""
    model: str
    epochs: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4


class Mask(Block):
    """Where the object is taken to be. `network` and `shuffled` read the saliency of `backbone`."""

    title: str = ""
    source: Literal["network", "shuffled", "centre", "random", "object"]
    backbone: Name | None = None
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def _backbone_where_used(self) -> Mask:
        if (self.source in ("network", "shuffled")) != (self.backbone is not None):
            raise ValueError("backbone is needed by the sources network and shuffled, and by no other")
        return self


class Mixture(Block):
    """Which share of the originals and of their Tobias images enters the pool.

    `budget` says what the keep ratio is a share of: the originals (as the paper counts, section 4.3) or the pool.
    """

    title: str = ""
    originals: Share
    tobias: Share
    budget: Literal["originals", "pool"] = "originals"

    @model_validator(mode="after")
    def _not_empty(self) -> Mixture:
        if self.originals + self.tobias == 0:
            raise ValueError("originals and tobias cannot both be 0")
        return self


class Selector(Block):
    """How a coreset is chosen from the pool."""

    title: str = ""
    kind: Literal[
        "random",
        "graphcut",
        "graphcut_bins",
        "random_bins",
        "uniform_bins",
        "score_bins",
        "score",
        "herding",
        "k_center",
        "craig",
        "gradmatch",
    ]
    n_bins: Annotated[int, Field(ge=1)] = 10
    lam: Annotated[float, Field(gt=0)] = 1.0
    features: Literal["embedding", "gradient", "gradient_dq"] = "embedding"
    score: Literal["grand", "el2n", "least_confidence", "entropy", "margin"] | None = None

    @model_validator(mode="after")
    def _score_where_used(self) -> Selector:
        if self.kind.startswith("score") != (self.score is not None):
            raise ValueError("score is needed by the kinds score and score_bins, and by no other")
        return self

    @property
    def used(self) -> dict[str, Any]:
        """The keys that this kind reads: what its result depends on."""
        keys = {"kind": self.kind}
        if self.kind.endswith("_bins"):
            keys["n_bins"] = self.n_bins
        if self.kind.startswith("graphcut"):
            keys["lam"] = self.lam
        if self.kind.startswith("score"):
            keys["score"] = self.score
        elif self.reads_features:
            keys["features"] = self.features
        return keys

    @property
    def reads_features(self) -> bool:
        """Whether it looks at the images through a network."""
        return self.kind not in ("random", "random_bins", "uniform_bins")

    @property
    def reads_logits(self) -> bool:
        """Whether it needs the network's logits beside the embedding."""
        return self.kind.startswith("score") or (self.reads_features and self.features != "embedding")


class Axes(Block):
    """The axes of the grid; each a name of a block above, or a number."""

    dataset: Name | None = None
    keep_ratio: KeepRatio | None = None
    tobias_size: TobiasSize | None = None
    mask: Name | None = None
    mixture: Name | None = None
    backbone: Name | None = None
    selector: Name | None = None
    trainer: Name | None = None


class Method(Axes):
    """A named method: the axes that make it what it is."""

    title: str


def _many(kind: Any) -> Any:
    return Annotated[list[kind], BeforeValidator(_as_list)] | None


class Arm(Block):
    """Axes as lists; the arm is their product. `title` prints instead of the method's title."""

    title: str | None = None
    dataset: _many(Name) = None
    method: _many(Name) = None
    keep_ratio: _many(KeepRatio) = None
    tobias_size: _many(TobiasSize) = None
    mask: _many(Name) = None
    mixture: _many(Name) = None
    backbone: _many(Name) = None
    selector: _many(Name) = None
    trainer: _many(Name) = None


class Figure(Block):
    """A figure made from an experiment's table; `dqv2.paper.figures` explains the keys."""

    kind: Literal["methods", "line", "mixing"]
    x: str | None = None
    y: str = "test_accuracy"
    hue: str | None = None
    panel: str | None = None
    order: list[Any] | None = None
    names: dict[str, str] | None = None
    where: dict[str, Any] | None = None
    reference: list[dict[str, Any]] | None = None
    title: str | None = None
    xlabel: str | None = None
    ylabel: str | None = None
    hue_label: str | None = None
    ylim: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    values: bool | None = None
    width: Literal["column", "full"] | float | None = None
    height: float | None = None


class Table(Block):
    """A table made from an experiment's table; `dqv2.paper.tables` explains the keys."""

    row: str = "label"
    column: str | None = "keep_ratio"
    y: str = "test_accuracy"
    order: list[Any] | None = None
    names: dict[str, str] | None = None
    where: dict[str, Any] | None = None
    caption: str | None = None
    row_title: str | None = None
    decimals: Annotated[int, Field(ge=0, le=6)] | None = None


class Pictures(Block):
    """Example images: the original and its Tobias image at each size of the experiment."""

    images: Annotated[int, Field(ge=1, le=20)] = 4


class Experiment(Arm):
    """One analysis: its axes, further arms beside them, and what comes of it."""

    about: str = ""
    arms: list[Arm] = []
    seeds: list[Seed] | None = None
    figure: Figure | None = None
    table: Table | None = None
    pictures: Pictures | None = None

    @model_validator(mode="after")
    def _some_output(self) -> Experiment:
        if not (self.figure or self.table or self.pictures):
            raise ValueError("say what comes of it: figure, table or pictures")
        if self.figure and self.pictures:
            raise ValueError("figure and pictures would be the same file: make two experiments of it")
        return self


class Config(Block):
    """The whole configuration."""

    run: Name
    label: str | None = None
    seeds: Annotated[list[Seed], Field(min_length=1)]
    seeds_per_job: Annotated[int, Field(ge=1)] = 1
    threads: Annotated[int, Field(ge=1)] = 4
    partial: bool = False
    targets: list[Name]
    datasets: dict[Name, Annotated[Digits | ImageFolder, Field(discriminator="kind")]]
    trainers: dict[Name, Trainer]
    backbones: dict[Name, Backbone]
    masks: dict[Name, Mask]
    mixtures: dict[Name, Mixture]
    selectors: dict[Name, Selector]
    methods: dict[Name, Method]
    defaults: Axes
    experiments: dict[Name, Experiment]


def load_config(values: dict[str, Any]) -> Config:
    """Check the configuration that Snakemake merged from config.yaml, overlays and --config.

    Raises:
        ConfigError: one line for each fault: the key's path, the value, what is allowed.
    """
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        faults = [_explain(fault) for fault in error.errors()]
        raise ConfigError(_listed(faults)) from None
    faults = list(_dangling_names(config)) + list(_wrong_for_the_data(config))
    if faults:
        raise ConfigError(_listed(faults))
    return config


def _listed(faults: list[str]) -> str:
    head = "the configuration has a fault" if len(faults) == 1 else f"the configuration has {len(faults)} faults"
    return "\n  ".join([head + ":", *dict.fromkeys(faults)])


def _explain(fault: dict[str, Any]) -> str:
    keys = [str(key) for key in fault["loc"]]
    if keys[0] == "datasets" and len(keys) > 2:
        del keys[2]  # pydantic puts the kind there; a person knows only the keys they wrote
    keys = [key for key in keys if not key.startswith(("function-before", "list["))]
    path = ".".join(key for key in keys if key != "[key]") or "(top)"
    if fault["type"] == "extra_forbidden":
        allowed = _allowed(fault["loc"])
        close = difflib.get_close_matches(str(keys[-1]), allowed, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        return f"{path}: there is no such key.{hint} Allowed here: {', '.join(allowed)}"
    if fault["type"] == "missing":
        return f"{path}: this key is missing"
    value = fault.get("input")
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    shown = "" if isinstance(value, dict) else f" = {value!r}"
    return f"{path}{shown}: {message}"


def _allowed(loc: tuple) -> list[str]:
    """The keys of the block that `loc` points into."""
    model: Any = Config
    blocks = {
        "datasets": {"digits": Digits, "image_folder": ImageFolder},
        "trainers": Trainer,
        "backbones": Backbone,
        "masks": Mask,
        "mixtures": Mixture,
        "selectors": Selector,
        "methods": Method,
        "defaults": Axes,
        "experiments": Experiment,
        "arms": Arm,
        "figure": Figure,
        "table": Table,
        "pictures": Pictures,
        "augment": Augment,
        "fresh_tobias": FreshTobias,
    }
    for i, key in enumerate(loc[:-1]):
        found = blocks.get(key) if i == 0 or key not in BLOCKS_AT_THE_TOP else None
        if isinstance(found, dict):
            found = found.get(loc[2], Dataset)
        model = found or model
    return sorted(model.model_fields)


def _dangling_names(config: Config):
    """Names that no block has."""
    places = {
        "dataset": ("datasets", config.datasets),
        "method": ("methods", config.methods),
        "mask": ("masks", config.masks),
        "mixture": ("mixtures", config.mixtures),
        "backbone": ("backbones", config.backbones),
        "selector": ("selectors", config.selectors),
        "trainer": ("trainers", config.trainers),
    }

    def check(path: str, block: Block):
        for axis, (place, known) in places.items():
            value = getattr(block, axis, None)
            for name in value if isinstance(value, list) else [value]:
                if name is not None and name not in known:
                    yield f"{path}.{axis} = {name!r}: no such block under {place}; there are: {', '.join(known)}"

    yield from check("defaults", config.defaults)
    for name, method in config.methods.items():
        yield from check(f"methods.{name}", method)
    for name, trainer in config.trainers.items():
        if trainer.fresh_tobias:
            yield from check(f"trainers.{name}.fresh_tobias", trainer.fresh_tobias)
    for name, mask in config.masks.items():
        yield from check(f"masks.{name}", mask)
    for name, experiment in config.experiments.items():
        yield from check(f"experiments.{name}", experiment)
        for i, arm in enumerate(experiment.arms):
            yield from check(f"experiments.{name}.arms.{i}", arm)
    for name in config.targets:
        if name not in config.experiments:
            yield (
                f"targets: {name!r} is no block under experiments; there are: {', '.join(config.experiments) or 'none'}"
            )


def _wrong_for_the_data(config: Config):
    """What only a look at two blocks together shows."""
    for name, dataset in config.datasets.items():
        if isinstance(dataset, Digits) and dataset.train + dataset.validation + dataset.test > 1797:
            yield f"datasets.{name}: train + validation + test is over the 1797 digits that there are"
    for name in {"benchmarks", "experiments", "resume"} & set(config.datasets):
        yield f"datasets.{name}: this name is taken by a folder of the results; choose another"
    for path, seeds in [("seeds", config.seeds)] + [
        (f"experiments.{name}.seeds", experiment.seeds or []) for name, experiment in config.experiments.items()
    ]:
        if len(set(seeds)) < len(seeds):
            yield f"{path} = {seeds}: a seed stands there twice"
    axes = ("dataset", "keep_ratio", "tobias_size", "mask", "mixture", "backbone", "selector", "trainer")
    missing = [axis for axis in axes if getattr(config.defaults, axis) is None]
    if missing:
        yield f"defaults: a default is missing for {', '.join(missing)}"


def missing_folders(config: Config, datasets: list[str]) -> list[str]:
    """One sentence for each of `datasets` whose folder of images is not there."""
    found = []
    for name in datasets:
        dataset = config.datasets[name]
        if isinstance(dataset, ImageFolder) and not (folder := Path(dataset.path).expanduser()).is_dir():
            found.append(
                f"datasets.{name}.path = {dataset.path!r}: there is no such folder (looked for "
                f"{folder.absolute()}). Put the images there as train/CLASS/* and test/CLASS/*, or "
                "CLASS/* with the keys validation and test, or change the path."
            )
    return found
