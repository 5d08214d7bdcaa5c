"""Which files a stage reads, where that depends on the configuration: as patterns, or for one run."""

from __future__ import annotations

from typing import Any

from dqv2 import paths
from dqv2.config import Config
from dqv2.plan.runs import Run, Selection


class Inputs:
    """The part of the plan that says what each stage reads."""

    config: Config
    root: str

    def under(self, pattern: str) -> str:
        """A path pattern below this run's results."""
        return f"{self.root}/{pattern}"

    def models_of_mask(self, mask: str) -> list[str]:
        """The saliency pattern that a mask reads, or nothing."""
        backbone = self.config.masks[mask].backbone
        return [self.under(paths.SALIENCY).replace("{backbone}", backbone)] if backbone else []

    def features_of(self, selection: Selection) -> list[str]:
        """The embedding patterns that a selection's bins read: the originals', then the Tobias images'."""
        return self._outputs_of(selection, paths.EMBEDDING, paths.FEATURES)

    def logits_of(self, selection: Selection) -> list[str]:
        """The same for the logits, or nothing where the selector needs none."""
        if not self.config.selectors[selection.selector].reads_logits:
            return []
        return self._outputs_of(selection, paths.LOGITS, paths.FEATURE_LOGITS)

    def scores_of(self, selection: Selection) -> list[str]:
        """The scores pattern that a selection's bins read, or nothing."""
        if not self.config.selectors[selection.selector].reads_scores:
            return []
        return [self.under(paths.SCORES).replace("{backbone}", selection.backbone)]

    def pictures_of(self, selection: Selection) -> list[str]:
        """The recipe pattern of a pool whose selector looks at the images themselves, or nothing."""
        return self.recipes_of(selection) if self.config.selectors[selection.selector].reads_pixels else []

    def importance_of(self, pixels: str) -> list[str]:
        """The network whose Grad-CAM++ a pixel step reads, or nothing."""
        backbone = self.config.pixels[pixels].backbone
        return [self.under(paths.EARLY).replace("{backbone}", backbone)] if backbone else []

    def autoencoder_of(self, dataset: str, pixels: str) -> list[str]:
        """The file that stands for a pixel step's autoencoder, or nothing: its weights, or that they were looked at."""
        name = self.config.pixels[pixels].autoencoder
        if name is None:
            return []
        pattern = paths.AUTOENCODER if self.config.autoencoders[name].weights == "self" else paths.WEIGHTS
        return [self.under(pattern).format(dataset=dataset, autoencoder=name)]

    def pixels_of(self, step: str) -> list[str]:
        """The pixels pattern that a training reads; `step` is the part of its path, empty for nothing."""
        name = step.removeprefix("pixels-").rstrip("/")
        return [self.under(paths.PIXELS).replace("{pixels}", name)] if name else []

    def costs_of(self, run: Run) -> dict[str, list[str]]:
        """Stage -> the cost files of what a run's coreset needed, and of its training."""
        s, config = run.selection, self.config
        fresh = config.trainers[run.trainer].fresh_tobias
        values = {"dataset": s.dataset, "seed": run.seed, "keep": paths.ratio(run.keep_ratio), "selection": s.path}
        selector = config.selectors[s.selector]
        found: dict[str, list[str]] = {}

        def add(stage: str, pattern: str, **more: Any) -> None:
            file = paths.cost(self.under(pattern)).format(**values, **more)
            if file not in (files := found.setdefault(stage, [])):
                files.append(file)

        if selector.reads_scores:
            add("score", paths.SCORES, backbone=s.backbone)
        elif s.backbone:
            add("early_train", paths.EARLY, backbone=s.backbone)
            if config.mixtures[s.mixture].originals:
                add("saliency", paths.SALIENCY, backbone=s.backbone)
        for mask, size in [(s.mask, s.tobias_size), (fresh.mask, fresh.size) if fresh else (None, None)]:
            if mask and (backbone := config.masks[mask].backbone):
                add("early_train", paths.EARLY, backbone=backbone)
                add("saliency", paths.SALIENCY, backbone=backbone)
            if mask:
                add("augment", paths.RECIPE, mask=mask, size=size)
        if s.mask and selector.reads_features:
            add("features", paths.FEATURES, mask=s.mask, size=s.tobias_size, backbone=s.backbone)
        if selector.kind != "published":
            add("bin", paths.BINS)
        add("sample", paths.CORESET)
        if run.pixels:
            block = config.pixels[run.pixels]
            if block.backbone:
                add("early_train", paths.EARLY, backbone=block.backbone)
            if block.autoencoder and config.autoencoders[block.autoencoder].weights == "self":
                add("autoencoder", paths.AUTOENCODER, autoencoder=block.autoencoder)
            add("pixels", paths.PIXELS, pixels=run.pixels)
        step = f"pixels-{run.pixels}/" if run.pixels else ""
        add("train", paths.MODEL, step=step, trainer=run.trainer)
        return found

    def _outputs_of(self, selection: Selection, originals: str, tobias: str) -> list[str]:
        found = []
        if selection.backbone:
            if self.config.mixtures[selection.mixture].originals > 0:
                found.append(self.under(originals).replace("{backbone}", selection.backbone))
            if selection.mask:
                found.append(self._with_mask(self.under(tobias).replace("{backbone}", selection.backbone), selection))
        return found

    def recipes_of(self, selection: Selection) -> list[str]:
        """The recipe pattern of a selection's Tobias images, or nothing."""
        return [self._with_mask(self.under(paths.RECIPE), selection)] if selection.mask else []

    def fresh_of(self, trainer: str) -> list[str]:
        """The recipe pattern whose masks a trainer needs to draw fresh backgrounds, or nothing."""
        fresh = self.config.trainers[trainer].fresh_tobias
        if fresh is None:
            return []
        return [self.under(paths.RECIPE).replace("{mask}", fresh.mask).replace("{size}", str(fresh.size))]

    @staticmethod
    def _with_mask(pattern: str, selection: Selection) -> str:
        return pattern.replace("{mask}", str(selection.mask)).replace("{size}", str(selection.tobias_size))
