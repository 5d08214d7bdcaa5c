"""What a stage depends on besides its inputs: sorted builtins, only what it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dqv2.config.blocks import Training
from dqv2.plan import coresets, data
from dqv2.plan.inputs import Inputs
from dqv2.plan.runs import Selection


class Params(Inputs):
    """The part of the plan that says what each stage's params are."""

    versions: dict[str, int]

    def options(self, stage: str, **values: Any) -> dict[str, Any]:
        """The params of a stage."""
        return _sorted({"version": self.versions[stage], **values})

    def pack_options(self, dataset: str) -> dict[str, Any]:
        """What the pack depends on: the dataset's block without what only training reads."""
        return self.options("pack", **data.pack_block(self.config, dataset))

    def early_train_options(self, dataset: str, backbone: str) -> dict[str, Any]:
        """What early training depends on."""
        block = self.config.backbones[backbone]
        recipe = _recipe(block, "initialisations")
        if not block.epochs:  # random weights depend on nothing else
            recipe = {"model": block.model, "args": block.args, "input_size": block.input_size, "epochs": 0}
        return self.options("early_train", **recipe, **self._network_options(dataset, augment=block.epochs > 0))

    def score_options(self, dataset: str, backbone: str) -> dict[str, Any]:
        """What scores depend on."""
        recipe = _recipe(self.config.backbones[backbone])
        return self.options("score", **recipe, **self._network_options(dataset))

    def _network_options(self, dataset: str, *, augment: bool = True) -> dict[str, Any]:
        block = self.config.datasets[dataset]
        options = {"image_size": block.size, "stem": block.stem}
        return options | ({"augment": block.augment.model_dump()} if augment else {})

    def augment_options(self, mask: str) -> dict[str, Any]:
        """What a Tobias recipe depends on besides the size, which its path says."""
        block = self.config.masks[mask]
        return self.options("augment", source=block.source, backbone=block.backbone, fraction=block.fraction)

    def bin_options(self, selection: Selection) -> dict[str, Any]:
        """What bins depend on."""
        mixture = self.config.mixtures[selection.mixture].model_dump(exclude={"title", "budget"})
        selector = self.config.selectors[selection.selector].used
        return self.options("bin", mixture=mixture, selector=selector)

    def sample_options(self, selection: Selection) -> dict[str, Any]:
        """What a coreset depends on besides the bins and the keep ratio, which its path says."""
        budget = self.config.mixtures[selection.mixture].budget
        sampler = self.config.selectors[selection.selector].sampler
        return self.options("sample", budget=budget, sampler=sampler)

    def autoencoder_options(self, dataset: str, autoencoder: str) -> dict[str, Any]:
        """What an autoencoder pre-trained here depends on besides the images."""
        block = self.config.autoencoders[autoencoder].model_dump(exclude={"title", "weights", "url", "sha256"})
        return self.options("autoencoder", flip=self.config.datasets[dataset].augment.flip, **block)

    def weights_options(self, autoencoder: str) -> dict[str, Any]:
        """What the look at published weights depends on."""
        block = self.config.autoencoders[autoencoder]
        return self.options("weights", file=Path(block.weights).name, sha256=block.sha256)

    def pixels_options(self, pixels: str) -> dict[str, Any]:
        """What a pixel step depends on; the names too, since another network's file may be older than the result."""
        block = self.config.pixels[pixels]
        drawn_by = self.config.autoencoders[block.autoencoder].weights if block.autoencoder else None
        autoencoder = drawn_by and {"name": block.autoencoder, "file": Path(drawn_by).name}
        return self.options(
            "pixels", step=block.step, share=block.share, backbone=block.backbone, autoencoder=autoencoder
        )

    def train_options(self, dataset: str, trainer: str) -> dict[str, Any]:
        """What a training depends on besides the images."""
        recipe = _recipe(self.config.trainers[trainer], "devices")
        return self.options("train", **recipe, **self._network_options(dataset))

    def export_options(self, selection: Selection, keep: float, form: str, step: str = "") -> dict[str, Any]:
        """What an exported coreset depends on besides the coreset."""
        return coresets.export_options(self, selection, keep, form, step)

    def fetch_coreset_options(self, selector: str) -> dict[str, Any]:
        """What a published coreset is."""
        block = self.config.selectors[selector]
        return self.options("fetch_coreset", manifest=block.manifest, sha256=block.sha256)

    def published_options(self, keep: float) -> dict[str, Any]:
        """What a published coreset is compared with."""
        return self.options("published", keep_ratio=keep)


def _recipe(block: Training, *others: str) -> dict[str, Any]:
    """A training's keys; of those that say how it runs, the ones that are not at their default."""
    found = block.model_dump(exclude={"title", *others})
    default = {key: field.default for key, field in Training.model_fields.items()}
    return {key: value for key, value in found.items() if key not in default or value != default[key]}


def _sorted(block: dict[str, Any]) -> dict[str, Any]:
    return {key: _sorted(value) if isinstance(value, dict) else value for key, value in sorted(block.items())}
