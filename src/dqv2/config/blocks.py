"""Networks, masks, mixtures, selectors, methods: what the axes of an experiment name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from dqv2.config.base import (
    LARGEST,
    Address,
    BatchSize,
    Block,
    Decay,
    Epochs,
    FilePath,
    KeepRatio,
    Name,
    Rate,
    Scalar,
    Seed,
    Sha256,
    Share,
    Statistics,
    Text,
    TobiasSize,
    both_or_neither,
    listed,
    one_of,
    real,
    refuse_idle,
    whole,
)
from dqv2.paths import ratio
from dqv2.select.table import FEATURES, KEYS, SCORES, SELECTORS, Kind, kinds_with
from dqv2.semantic.table import MASK_SOURCES, sources_that_read
from dqv2.train.choices import CHOICES, SMALL
from dqv2.weights import PRETRAINED, Place, place_of

# Arguments of timm's models that `args` may not set -> what determines them instead
NOT_ARGS = dict.fromkeys(("pretrained", "pretrained_cfg", "pretrained_cfg_overlay"), "weights of a backbone says so")
NOT_ARGS |= dict.fromkeys(("checkpoint_path", "cache_dir"), "weights of a backbone names a file")
NOT_ARGS |= dict.fromkeys(("features_only", "out_indices", "feature_cfg"), "the network's last layer is needed")
NOT_ARGS |= {"num_classes": "the dataset says how many there are", "in_chans": "images have three channels, grey too"}
NOT_ARGS |= dict.fromkeys(("device", "dtype", "scriptable", "exportable", "no_jit"), "the pipeline runs the network")


class FreshTobias(Block):
    """Show a share of each batch with another image's background, drawn anew at every visit (not in the paper)."""

    mask: Name
    size: TobiasSize
    share: Share = 0.5


class Training(Block):
    """How a training runs; a key at its default is not among a stage's params, so adding it reruns nothing.

    `on_out_of_memory` says what to do when a batch does not fit into GPU memory: `exact` accumulates the gradient over
    smaller parts where that gives the same training, `approximate` also where it does not (batch normalisation,
    dropout), `fail` never. `precision: auto` is bfloat16 on a device with hardware support for it, float32 elsewhere;
    `compile` compiles the network with torch.compile first.
    """

    on_out_of_memory: one_of(CHOICES["on_out_of_memory"]) = "exact"
    precision: one_of(CHOICES["precision"]) = "float32"
    compile: bool = False


class Trainable(Training):
    """A network and its optimiser. `args` are passed to timm's model; images are resized to `input_size` for the
    network if given. `learning_rate` is the peak of the one-cycle schedule, or the start of the cosine schedule, which
    ends at 0."""

    title: str = ""
    model: Text
    args: dict[str, Scalar] = Field(default_factory=dict)
    input_size: whole(8, LARGEST) | None = None
    optimiser: one_of(CHOICES["optimiser"]) = "sgd"
    schedule: one_of(CHOICES["schedule"]) = "one_cycle"
    batch_size: BatchSize = 128
    learning_rate: Rate = 0.1
    momentum: real(ge=0, lt=1) = 0.9
    weight_decay: Decay = 5e-4

    @field_validator("args")
    @classmethod
    def _what_is_not_set_elsewhere(cls, args: dict[str, Scalar], info: ValidationInfo) -> dict[str, Scalar]:
        for name in args:
            if name in NOT_ARGS:
                raise ValueError(f"{name} cannot be set here ({NOT_ARGS[name]}): leave it out")
        if args and info.data.get("model") in SMALL:
            raise ValueError(f"args are for a model of timm's, and {info.data['model']} takes none: leave them out")
        return args

    @model_validator(mode="after")
    def _momentum_where_used(self) -> Trainable:
        refuse_idle(self, ["momentum"] if self.optimiser == "adamw" else [], "with optimiser: adamw")
        return self

    def stem_for(self, dataset_stem: str) -> str:
        """The stem of this network on a dataset's images."""
        return dataset_stem


class Trainer(Trainable):
    """A training recipe. Exactly one of `epochs` and `iterations` gives its length. `devices` GPUs of one machine share
    each batch; up to the order of sums the weights are those of a single GPU, so it is not among any stage's params.
    `start` names a backbone whose weights initialise the network, with a new last layer; without it they are random.
    `evaluation_crop` is the share of an image's side that evaluation uses, a central crop resized to full size, like
    timm's crop_pct; it is not among a training's params."""

    epochs: Epochs | None = None
    iterations: whole(1, 100_000_000) | None = None
    devices: whole(1, 1024) = 1
    label_smoothing: real(ge=0, lt=1) = 0.0
    mix: one_of(CHOICES["mix"]) = "none"
    mixup_alpha: real(gt=0, le=1000) = 0.2
    cutmix_alpha: real(gt=0, le=1000) = 1.0
    fresh_tobias: FreshTobias | None = None
    start: Name | None = None
    evaluation_crop: real(ge=0.01, le=1) = 1.0

    @model_validator(mode="after")
    def _one_length_and_an_image_each(self) -> Trainer:
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("give either epochs or iterations, not both and not neither")
        if self.devices > self.batch_size:
            raise ValueError(f"{self.devices} devices cannot share a batch of {self.batch_size}: lower devices")
        idle = [f"{mix}_alpha" for mix in ("mixup", "cutmix") if self.mix not in (mix, "both")]
        refuse_idle(self, idle, f"with mix: {self.mix}")
        return self


class Backbone(Trainable):
    """A network for masks and features: random (epochs 0), trained for a few epochs on the full set, or pre-trained.

    `weights` are published ones: a timm model name with its tag (resnet50.tv_in1k), a file in timm's or torchvision's
    format, or package:NAME/FILE in an installed Python package; they are fetched from timm's hub, or from `url`, if
    missing. `input_size` is what images are resized to for them; `mean` and `std` default to timm's for the model;
    `layers: by_order` assigns the weights in their order, whatever their names. `head: own` keeps the classes that the
    network was trained for, `fresh` gives it a new last layer for those of the dataset; `epochs` continue from there.

    Scores (GraNd, forgetting, ...) are means over `initialisations` networks trained in the same way.
    """

    initialisations: whole(1, 1000) = 1
    epochs: whole(0, 100_000)
    stem: one_of(CHOICES["stem"]) | None = None
    weights: FilePath | None = None
    url: Address | None = None
    sha256: Sha256 | None = None
    layers: Literal["by_name", "by_order"] = "by_name"
    head: Literal["own", "fresh"] = "own"
    mean: Statistics | None = None
    std: Statistics | None = None

    @model_validator(mode="after")
    def _weights_where_used(self) -> Backbone:
        if self.weights is None:
            own = {"url", *PRETRAINED}
            if idle := sorted(name for name in self.model_fields_set & own if getattr(self, name) is not None):
                raise ValueError(f"{', '.join(idle)} is for a backbone with weights")
            return self
        if (hub := self.place.hub) and hub.partition(".")[0] != self.model:
            raise ValueError(f"weights {self.weights} are of another model than {self.model}")
        if self.input_size is None:
            raise ValueError("a backbone with weights needs input_size, the pixels a side that it was trained for")
        both_or_neither(self.mean, self.std)
        if self.epochs and self.head == "own":
            raise ValueError("head: own keeps the classes of the weights, so epochs can only be 0; or set head: fresh")
        return self

    @property
    def place(self) -> Place:
        """Where its weights are stored."""
        return place_of(self.weights or "")

    @property
    def fixed(self) -> bool:
        """Whether nothing of it is drawn or trained: one network for all seeds."""
        return self.weights is not None and self.epochs == 0 and self.head == "own"

    def stem_for(self, dataset_stem: str) -> str:
        """Its own stem, else the standard one for published weights, else the dataset's."""
        return self.stem or ("standard" if self.weights else dataset_stem)


class Mask(Block):
    """Where the object is assumed to be. `network` and `shuffled` read the saliency of `backbone`. The background of a
    Tobias image comes from `donors` other images, each cell from one of them."""

    title: str = ""
    source: one_of(MASK_SOURCES)
    backbone: Name | None = None
    fraction: real(gt=0, lt=1) = 0.5
    donors: whole(1, 255) = 1

    @model_validator(mode="after")
    def _backbone_where_used(self) -> Mask:
        if self.reads_saliency != (self.backbone is not None):
            readers = listed(sources_that_read("saliency"))
            raise ValueError(f"backbone is needed by the sources {readers}, and by no other")
        return self

    @property
    def reads_saliency(self) -> bool:
        """Whether it needs the saliency maps of its backbone."""
        return MASK_SOURCES[self.source].reads == "saliency"

    @property
    def reads_objects(self) -> bool:
        """Whether it needs a dataset with known object masks."""
        return MASK_SOURCES[self.source].reads == "objects"


class Mixture(Block):
    """The shares of the originals and of their Tobias images that enter the pool.

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
    """How a coreset is chosen from the pool. `weighted`: the training uses the weights that GradMatch and CRAIG give
    their images, scaled to mean 1, as factors of each image's loss. `pixels`: the features are those of the images
    after this pixel step, as in DQAS."""

    title: str = ""
    kind: one_of(SELECTORS)
    n_bins: whole(1, 100_000) = KEYS["n_bins"]
    lam: real(gt=0, le=1e6) = KEYS["lam"]
    features: one_of(FEATURES) = KEYS["features"]
    score: one_of(SCORES) | None = KEYS["score"]
    n_strata: whole(1, 100_000) = KEYS["n_strata"]
    prune_hardest: real(ge=0, lt=1) = KEYS["prune_hardest"]
    manifest: FilePath | None = KEYS["manifest"]
    sha256: Sha256 | None = KEYS["sha256"]
    weighted: bool = False
    pixels: Name | None = None

    @model_validator(mode="after")
    def _keys_where_used(self) -> Selector:
        takes = self.declared.keys
        if ("score" in takes) != (self.score is not None):
            raise ValueError(f"score is needed by the kinds {listed(kinds_with('score'))}, and by no other")
        if self.score is not None and self.score not in self.declared.scores:
            raise ValueError(f"{self.score} is known of the originals alone, and {self.kind} divides Tobias images too")
        if {self.manifest is not None, self.sha256 is not None} != {"manifest" in takes}:
            kinds = listed(kinds_with("manifest"))
            raise ValueError(f"manifest (an address or a file) and sha256 are needed by the kind {kinds}, by no other")
        if self.pixels and not self.reads_features:
            raise ValueError(f"pixels is for selectors that look at features, and {self.kind} does not")
        if self.weighted and not self.declared.weights:
            kinds = listed([kind.name for kind in SELECTORS.values() if kind.weights])
            raise ValueError(f"weighted is for the kinds that give weights: {kinds}")
        refuse_idle(self, [key for key in KEYS if key not in takes], f"on the kind {self.kind}")
        return self

    @property
    def declared(self) -> Kind:
        """What the table of selectors says of its kind."""
        return SELECTORS[self.kind]

    @property
    def used(self) -> dict[str, Any]:
        """The keys that this kind reads: what its result depends on."""
        takes = self.declared.keys
        return {"kind": self.kind} | {key: getattr(self, key) for key in KEYS if key in takes}

    @property
    def sampler(self) -> str:
        """How a coreset is drawn from the divided or ranked pool; see `dqv2.select.coreset.draw_places`."""
        return self.declared.sampler

    @property
    def reads_scores(self) -> bool:
        """Whether it needs the scores of several trainings, which are known of the originals alone."""
        return "scores" in self.declared.reads

    @property
    def reads_features(self) -> bool:
        """Whether it reads a network's embedding of the images."""
        return "features" in self.declared.reads

    @property
    def reads_logits(self) -> bool:
        """Whether it needs the network's logits as well as the embedding."""
        return "logits" in self.declared.reads or (self.reads_features and self.features != "embedding")

    @property
    def drawn_by_features(self) -> bool:
        """Whether drawing or weighting the coreset reads the features too."""
        return self.weighted or self.sampler == "classes"

    @property
    def reads_pixels(self) -> bool:
        """Whether it reads the images themselves."""
        return "pixels" in self.declared.reads


class Autoencoder(Block):
    """A masked autoencoder: published weights from a file (downloaded where `url` is given), or pre-trained here.

    `weights: self` trains one of `size` with `grid` patches a side on the dataset's own training images, once; the
    keys below `grid` are for that alone.
    """

    title: Text
    weights: FilePath
    url: Address | None = None
    sha256: Sha256 | None = None
    size: Literal["mini", "tiny", "base", "large", "huge"] | None = None
    grid: whole(2, 1024) = 14
    epochs: Epochs = 100
    batch_size: whole(1, 100_000) = 64
    learning_rate: Rate = 1.5e-3
    weight_decay: Decay = 0.05
    mask_ratio: real(gt=0, lt=1) = 0.75
    seed: Seed = 0

    @model_validator(mode="after")
    def _size_where_used(self) -> Autoencoder:
        if (self.weights == "self") != (self.size is not None):
            raise ValueError("size is needed by weights: self, and by no other")
        own = {"grid", "epochs", "batch_size", "learning_rate", "weight_decay", "mask_ratio", "seed"}
        if self.weights != "self" and (idle := sorted(self.model_fields_set & own)):
            raise ValueError(f"{', '.join(idle)} are for weights: self; a file brings its own")
        if self.weights == "self" and (self.url or self.sha256):
            raise ValueError("url and sha256 are for weights in a file, not for weights: self")
        return self

    @property
    def place(self) -> Place:
        """Where its weights are stored."""
        return Place(Path(self.weights).expanduser())


class Pixels(Block):
    """What is done to the pixels of a coreset: nothing, DQ's pixel step, or CutMix in its place.

    `share` of the patches (mae) or of the area (cutmix) is replaced. `backbone` names the network whose Grad-CAM++
    determines the important patches. `visible: resampled` takes the kept patches, too, from the image as the
    autoencoder saw it, resized and back, as DQ's code does for CIFAR-10 (32 px to 224 and back to 32). `counts: pixels`
    makes the keep ratio a share of the pixels, as DQ's is: keep_ratio / (1 - share) of the images are kept, without
    `share` of their patches (0.125 x 0.8 = 0.1).
    """

    title: str = ""
    step: Literal["none", "mae", "cutmix"]
    visible: Literal["kept", "resampled"] = "kept"
    counts: Literal["images", "pixels"] = "images"
    share: real(gt=0, lt=1) = 0.25
    autoencoder: Name | None = None
    backbone: Name | None = None

    @model_validator(mode="after")
    def _keys_where_used(self) -> Pixels:
        for key in ("autoencoder", "backbone"):
            if (self.step == "mae") != (getattr(self, key) is not None):
                raise ValueError(f"{key} is needed by the step mae, and by no other")
        idle = {"mae": [], "cutmix": ["visible", "counts"], "none": ["share", "visible", "counts"]}[self.step]
        refuse_idle(self, idle, f"with step: {self.step}")
        return self

    def share_of_images(self, keep_ratio: float) -> float:
        """The share of the images that are kept for a keep ratio."""
        return float(ratio(keep_ratio / (1 - self.share))) if self.counts == "pixels" else keep_ratio


class Axes(Block):
    """The axes of the grid; each the name of a block above, or a number."""

    dataset: Name | None = None
    keep_ratio: KeepRatio | None = None
    tobias_size: TobiasSize | None = None
    mask: Name | None = None
    mixture: Name | None = None
    backbone: Name | None = None
    selector: Name | None = None
    pixels: Name | None = None
    trainer: Name | None = None


class Method(Axes):
    """A named method: the axes that make it what it is."""

    title: Text
