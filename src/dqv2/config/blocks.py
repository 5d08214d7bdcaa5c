"""Networks, masks, mixtures, selectors, methods: what the axes of an experiment name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dqv2.config.base import Block, KeepRatio, Name, Share, TobiasSize


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
        "published",
    ]
    n_bins: Annotated[int, Field(ge=1)] = 10
    lam: Annotated[float, Field(gt=0)] = 1.0
    features: Literal["embedding", "gradient", "gradient_dq"] = "embedding"
    score: Literal["grand", "el2n", "least_confidence", "entropy", "margin"] | None = None
    manifest: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _score_where_used(self) -> Selector:
        if self.kind.startswith("score") != (self.score is not None):
            raise ValueError("score is needed by the kinds score and score_bins, and by no other")
        if (self.kind == "published") != (self.manifest is not None and self.sha256 is not None):
            raise ValueError(
                "manifest (an address or a file) and sha256 are needed by the kind published, and by no other"
            )
        return self

    @property
    def used(self) -> dict[str, Any]:
        """The keys that this kind reads: what its result depends on."""
        keys = {"kind": self.kind}
        if self.kind == "published":
            return keys | {"manifest": self.manifest, "sha256": self.sha256}
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
        return self.kind not in ("random", "random_bins", "uniform_bins", "published")

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
