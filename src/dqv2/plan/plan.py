"""From the configuration to the unique runs, their paths and their parameters. Imports no torch and no pandas."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from dqv2.config import Config, ConfigError, missing_folders
from dqv2.plan import paths
from dqv2.plan.runs import Run, Selection, check, rows_of, title_of


class Plan:
    """The runs of a configuration, each once however many experiments share it.

    Args:
        config: the checked configuration.
        versions: stage -> integer version; a part of each stage's params.

    Raises:
        ConfigError: an experiment asks for something impossible.
    """

    def __init__(self, config: Config, versions: dict[str, int]):
        self.config = config
        self.versions = versions
        self.root = f"results/{config.run}"
        self.logs = f"logs/{config.run}"
        self.figures = "paper_figures" if config.run == "paper" else f"paper_figures/{config.run}"
        self.rows = {name: rows_of(config, config.experiments[name]) for name in config.targets}
        check(config, self.rows)
        if strangers := sorted(set(config.needs) - set(versions) - {"default"}):
            raise ConfigError(
                f"needs.{strangers[0]}: there is no such stage; there are: default, {', '.join(versions)}"
            )

    def check_folders(self) -> None:
        """Before the first job: every folder of images that is still to be packed must be there."""
        datasets = sorted({run.selection.dataset for run in self.runs})
        if faults := missing_folders(self.config, [name for name in datasets if not self._is_packed(name)]):
            raise ConfigError("\n  ".join(["images are missing:", *faults]))

    def _is_packed(self, dataset: str) -> bool:
        """Whether the pack that is there was made with these very options; Snakemake makes any other anew."""
        path = Path(self.under(paths.PACK_OPTIONS).format(dataset=dataset))
        return path.exists() and json.loads(path.read_text()) == self.pack_options(dataset)

    @cached_property
    def runs(self) -> list[Run]:
        """Every training of the plan, once."""
        return list(dict.fromkeys(run for rows in self.rows.values() for run, *_ in rows))

    @cached_property
    def models(self) -> list[str]:
        """The networks that the plan builds."""
        trainers = {run.trainer for run in self.runs}
        backbones = {run.selection.backbone for run in self.runs} - {None}
        masks = {run.selection.mask for run in self.runs} - {None}
        backbones |= {self.config.masks[mask].backbone for mask in masks} - {None}
        found = {self.config.trainers[name].model for name in trainers}
        return sorted(found | {self.config.backbones[name].model for name in backbones})

    @cached_property
    def selections(self) -> dict[tuple[str, str], Selection]:
        """(dataset, path) -> selection."""
        return {(run.selection.dataset, run.selection.path): run.selection for run in self.runs}

    @cached_property
    def chunks(self) -> list[tuple[int, ...]]:
        """Which seeds one job does, one after the other: at most `seeds_per_job`, and never a seed that a job need not.

        Seeds that the same experiments ask for are cut into chunks in ascending order, so an appended seed leaves the
        full chunks before it as they are.
        """
        asked: dict[int, frozenset[str]] = {}
        for name, rows in self.rows.items():
            for run, *_ in rows:
                asked[run.seed] = asked.get(run.seed, frozenset()) | {name}
        chunks = []
        for group in dict.fromkeys(asked[seed] for seed in sorted(asked)):
            seeds = sorted(seed for seed in asked if asked[seed] == group)
            step = self.config.seeds_per_job
            chunks += [tuple(seeds[i : i + step]) for i in range(0, len(seeds), step)]
        return chunks

    # -- inputs that depend on the configuration ------------------------------------------------------------------

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

    # -- parameters: sorted builtins, only what a stage uses --------------------------------------------------------

    def options(self, stage: str, **values: Any) -> dict[str, Any]:
        """The params of a stage."""
        return _sorted({"version": self.versions[stage], **values})

    def pack_options(self, dataset: str) -> dict[str, Any]:
        """What the pack depends on: the dataset's block without what only training reads."""
        block = self.config.datasets[dataset].model_dump(exclude={"title", "augment", "stem"})
        return self.options("pack", **block)

    def early_train_options(self, dataset: str, backbone: str) -> dict[str, Any]:
        """What early training depends on."""
        recipe = self.config.backbones[backbone].model_dump(exclude={"title"})
        network = self._network_options(dataset)
        if not recipe["epochs"]:  # random weights depend on nothing else
            recipe, network = {"model": recipe["model"], "epochs": 0}, {"stem": network["stem"]}
        return self.options("early_train", **recipe, **network)

    def _network_options(self, dataset: str) -> dict[str, Any]:
        block = self.config.datasets[dataset]
        return {"augment": block.augment.model_dump(), "stem": block.stem}

    def augment_options(self, mask: str, size: int) -> dict[str, Any]:
        """What a Tobias recipe depends on."""
        block = self.config.masks[mask]
        return self.options("augment", source=block.source, backbone=block.backbone, fraction=block.fraction, size=size)

    def bin_options(self, selection: Selection) -> dict[str, Any]:
        """What bins depend on."""
        mixture = self.config.mixtures[selection.mixture].model_dump(exclude={"title", "budget"})
        selector = self.config.selectors[selection.selector].used
        return self.options("bin", mixture=mixture, selector=selector)

    def sample_options(self, selection: Selection, keep: float) -> dict[str, Any]:
        """What a coreset depends on besides the bins."""
        budget = self.config.mixtures[selection.mixture].budget
        return self.options("sample", keep_ratio=keep, budget=budget)

    def train_options(self, dataset: str, trainer: str) -> dict[str, Any]:
        """What a training depends on besides the images."""
        recipe = self.config.trainers[trainer].model_dump(exclude={"title"})
        return self.options("train", **recipe, **self._network_options(dataset))

    # -- what is asked for --------------------------------------------------------------------------------------------

    def metrics_of(self, run: Run) -> str:
        """The file that a run leaves."""
        return self.under(paths.METRICS).format(
            dataset=run.selection.dataset,
            selection=run.selection.path,
            keep=paths.ratio(run.keep_ratio),
            trainer=run.trainer,
            seed=run.seed,
        )

    def columns_of(self, experiment: str) -> list[dict[str, Any]]:
        """What is known of each run of an experiment before it ran: the columns that collect joins to its metrics."""
        config = self.config
        found = []
        for run, title, method in self.rows[experiment]:
            s = run.selection
            mixture = config.mixtures[s.mixture]
            fresh = config.trainers[run.trainer].fresh_tobias
            backgrounds = "drawn anew at every visit" if fresh else "stored in the coreset" if s.mask else "its own"
            mask = fresh.mask if fresh else s.mask
            found.append(
                {
                    "experiment": experiment,
                    "dataset": s.dataset,
                    "dataset_title": config.datasets[s.dataset].title,
                    "label": title,
                    "method": method,
                    "selector": s.selector,
                    "backbone": s.backbone,
                    "mixture": s.mixture,
                    "originals": mixture.originals,
                    "tobias": mixture.tobias,
                    "mask": mask,
                    "mask_title": title_of(config.masks, mask) or "no mask",
                    "backgrounds": backgrounds,
                    "tobias_size": s.tobias_size,
                    "keep_ratio": run.keep_ratio,
                    "trainer": run.trainer,
                    "mix": config.trainers[run.trainer].mix,
                    "seed": run.seed,
                }
            )
        return found

    def picture_options(self, experiment: str) -> dict[str, Any]:
        """What an experiment's pictures depend on: how many images, and the Tobias size of each recipe."""
        sizes = [int(path.split("/size-")[1].split("/")[0]) for path in self.picture_recipes(experiment)]
        images = self.config.experiments[experiment].pictures.images
        return self.options("pictures", images=images, sizes=sizes, seed=self.rows[experiment][0].run.seed)

    def picture_recipes(self, experiment: str) -> list[str]:
        """The recipes that an experiment's pictures show: its first seed, each Tobias size once."""
        rows = self.rows[experiment]
        first = rows[0].run
        found = [
            self.recipes_of(run.selection)[0].format(dataset=run.selection.dataset, seed=run.seed)
            for run, *_ in rows
            if run.seed == first.seed and run.selection.mask and run.selection.dataset == first.selection.dataset
        ]
        return list(dict.fromkeys(found))

    def targets(self) -> list[str]:
        """The files of every active experiment."""
        found = []
        for name in self.config.targets:
            experiment = self.config.experiments[name]
            if experiment.figure or experiment.pictures:
                found += [f"{self.figures}/{name}.pdf", f"{self.figures}/{name}.png"]
            if experiment.table:
                found += [f"{self.figures}/{name}_table.{kind}" for kind in ("csv", "md", "tex")]
        return found

    def note(self, experiment: str) -> str:
        """What a caption says of the data, the seeds and the keep ratio; the runs themselves add the device."""
        rows = self.rows[experiment]
        if self.config.experiments[experiment].pictures:
            rows = rows[:1]
        seeds = len({run.seed for run, *_ in rows})
        keeps = sorted({run.keep_ratio for run, *_ in rows})
        parts = sorted({self.config.datasets[run.selection.dataset].title for run, *_ in rows})
        if self.config.experiments[experiment].pictures:
            first = rows[0].run
            mask = title_of(self.config.masks, first.selection.mask)
            return " · ".join([*parts, *([mask] if mask else []), f"seed {first.seed}"])
        parts += [f"n = {seeds} seeds" if seeds > 1 else "n = 1 seed"]
        if len(keeps) == 1:
            parts.append(f"keep ratio {keeps[0]:g}")
        return " · ".join(parts)


def _sorted(block: dict[str, Any]) -> dict[str, Any]:
    return {key: _sorted(value) if isinstance(value, dict) else value for key, value in sorted(block.items())}
