"""From the configuration to the unique runs, their paths and their parameters. Imports no torch and no pandas."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from dqv2 import paths
from dqv2.config import Config, ConfigError
from dqv2.plan import coresets, data, overlap
from dqv2.plan.check import check, missing_weights
from dqv2.plan.params import Params
from dqv2.plan.runs import Run, Selection, rows_of, title_of


class Plan(Params):
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
        for key in ("needs", "arms_per_job"):
            if strangers := sorted(set(getattr(config, key)) - set(versions) - {"default"}):
                raise ConfigError(
                    f"{key}.{strangers[0]}: there is no such stage; there are: default, {', '.join(versions)}"
                )

    def check_files(self, *, packed: Iterable[str], trained: Iterable[str], pixels: Iterable[str]) -> None:
        """Before the first job: what the jobs will read has to be there, or to have an address.

        Args:
            packed: the datasets that will be packed: their images.
            trained: the datasets that networks will be trained on: images to evaluate them on.
            pixels: the pixel steps that will run: their autoencoders' weights.

        Raises:
            ConfigError: something is missing; the message says where it was looked for and what to do.
        """
        packed = set(packed)
        faults = data.missing_folders(self.config, sorted(packed))
        if not faults:
            packs = {name: self.under(paths.SPLITS).format(dataset=name) for name in set(trained) - packed}
            faults = data.without_test(self.config, sorted(trained), packs)
        if faults:
            raise ConfigError("\n  ".join(["images are missing:", *faults]))
        if faults := missing_weights(self.config, pixels):
            raise ConfigError("\n  ".join(["weights are missing:", *faults]))

    def changed_folders(self) -> list[str]:
        """One sentence for each of a person's own folders that got or lost files after it was packed."""
        packed = filter(self._is_packed, self.datasets)  # another pack is made anew anyhow
        packs = {name: self.under(paths.PACK_OPTIONS).format(dataset=name) for name in packed}
        return data.changed_folders(self.config, packs)

    @property
    def datasets(self) -> list[str]:
        """The sets that the plan needs, if only for a diagram's coresets."""
        return sorted({run.selection.dataset for rows in self.rows.values() for run, *_ in rows})

    @cached_property
    def fetches(self) -> dict[str, str]:
        """The published sets that the plan uses: the file that says that one is there -> a name for its rule."""
        found = {}
        for dataset in self.datasets:
            for file in self.fetched_of(dataset):
                name = self.config.datasets[dataset].archive.replace("-", "_")
                found.setdefault(file, f"{name}_{dataset}" if name in found.values() else name)
        return found

    def fetched_of(self, dataset: str) -> list[str]:
        """The file that says that a dataset's published set is there, or nothing."""
        return data.fetched_of(self.config, dataset)

    def _is_packed(self, dataset: str) -> bool:
        """Whether the pack that is there was made with these very options; Snakemake makes any other anew."""
        path = Path(self.under(paths.PACK_OPTIONS).format(dataset=dataset))
        return path.exists() and json.loads(path.read_text()) == self.pack_options(dataset)

    @cached_property
    def runs(self) -> list[Run]:
        """Every training of the plan, once."""
        trained = [rows for name, rows in self.rows.items() if not self.config.experiments[name].diagram]
        return list(dict.fromkeys(run for rows in trained for run, *_ in rows))

    def networks_of(self, files: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The networks that are built to make these files: where each stands -> the options of the stage."""
        built = (
            (paths.MODEL, "trainer", self.train_options),
            (paths.EARLY, "backbone", self.early_train_options),
            (paths.SCORES, "backbone", self.score_options),
        )
        found = {}
        for file in files:
            for pattern, kind, options in built:
                if match := paths.regex(pattern).fullmatch(file.removeprefix(f"{self.root}/")):
                    dataset, name = match["dataset"], match[kind]
                    found[f"{kind}s.{name} on datasets.{dataset}"] = options(dataset, name)
        return found

    @cached_property
    def selections(self) -> dict[tuple[str, str], Selection]:
        """(dataset, path) -> selection."""
        runs = [run for rows in self.rows.values() for run, *_ in rows]
        return {(run.selection.dataset, run.selection.path): run.selection for run in runs}

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

    # -- what is asked for --------------------------------------------------------------------------------------------

    def metrics_of(self, run: Run) -> str:
        """The file that a run leaves."""
        return self.at(paths.METRICS, run)

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
                    "pixels": run.pixels or "none",
                    "keep_ratio": run.keep_ratio,
                    "trainer": run.trainer,
                    "mix": config.trainers[run.trainer].mix,
                    "seed": run.seed,
                }
            )
        return found

    def picture_options(self, experiment: str) -> dict[str, Any]:
        """What an experiment's pictures depend on: how many images, of which seed, what to print over each recipe's."""
        block = self.config.experiments[experiment].pictures
        seed = self._shown(experiment).seed
        if block.steps == "pixels":
            files = self.pixel_files(experiment, first=True)
            return self.options("pixel_pictures", images=block.images, seed=seed, files=files)
        shown = [paths.axes_of(paths.RECIPE, path) for path in self.picture_recipes(experiment)]
        titles = [f"{axes['size']} × {axes['size']}" for axes in shown]
        if len({axes["mask"] for axes in shown}) > 1:
            masks = [title_of(self.config.masks, axes["mask"]) for axes in shown]
            titles = [f"{mask}, {title}" for mask, title in zip(masks, titles, strict=True)]
        return self.options("pictures", images=block.images, titles=titles, seed=seed)

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

    def redrawn(self, experiment: str) -> list[Run]:
        """The runs of an experiment whose coreset's pixels an autoencoder redraws, one a coreset."""
        runs = [run for run, *_ in self.rows[experiment] if run.pixels]
        runs = [run for run in runs if self.config.pixels[run.pixels].step == "mae"]
        return list({self.at(paths.PIXELS, run): run for run in runs}.values())

    def pixel_files(self, experiment: str, *, first: bool = False) -> dict[str, list[str]]:
        """For each redrawn coreset of an experiment (or the first): its pack, coreset and pixels."""
        runs = self.redrawn(experiment)[: 1 if first else None]
        found = {
            "train": [self.under(paths.PACK).format(dataset=run.selection.dataset, split="train") for run in runs],
            "coresets": [self.at(paths.CORESET, run) for run in runs],
            "pixels": [self.at(paths.PIXELS, run) for run in runs],
        }
        if storage := self.config.experiments[experiment].storage:
            recipe = self.under(paths.RECIPE).replace("{mask}", storage.mask)
            recipe = recipe.replace("{size}", str(storage.tobias_size))
            found["tobias"] = [self.at(recipe, run) for run in runs]
        return found

    def planned(self, experiment: str) -> int:
        """How many rows an experiment's table has when it is whole."""
        if self.config.experiments[experiment].storage:
            return len(self.redrawn(experiment)) * 4  # original, dropped, reconstructed, Tobias
        if self.config.experiments[experiment].overlap:
            return len(self.overlaps(experiment))
        return len(self.rows[experiment])

    def storage_options(self, experiment: str) -> dict[str, Any]:
        """What the storage of an experiment's images depends on."""
        block = self.config.experiments[experiment].storage
        files = self.pixel_files(experiment)
        return self.options("storage", encoding=block.encoding, quality=block.quality, files=files)

    def storage_columns(self, experiment: str) -> list[dict[str, Any]]:
        """What is known of each redrawn coreset before its images are encoded."""
        titles = {name: block.title for name, block in self.config.datasets.items()}
        return [
            {
                "experiment": experiment,
                "dataset": run.selection.dataset,
                "dataset_title": titles[run.selection.dataset],
                "keep_ratio": run.keep_ratio,
                "pixels": run.pixels,
                "seed": run.seed,
            }
            for run in self.redrawn(experiment)
        ]

    def at(self, pattern: str, run: Run) -> str:
        """A path of a run, from its pattern, below the results."""
        pattern = pattern if pattern.startswith(self.root) else self.under(pattern)
        return pattern.format(
            dataset=run.selection.dataset,
            selection=run.selection.path,
            keep=paths.ratio(run.keep_ratio),
            step=f"pixels-{run.pixels}/" if run.pixels else "",
            pixels=run.pixels,
            trainer=run.trainer,
            seed=run.seed,
        )

    def targets(self, names: Iterable[str] | None = None) -> list[str]:
        """The files of these experiments; by default of every active one."""
        names, found = list(self.config.targets if names is None else names), []
        for name in names:
            experiment = self.config.experiments[name]
            if experiment.figure or experiment.pictures or experiment.diagram or experiment.cost:
                found += [f"{self.figures}/{name}.pdf", f"{self.figures}/{name}.png"]
            if experiment.table:
                found += [f"{self.figures}/{name}_table.{kind}" for kind in ("csv", "md", "tex")]
        return found + coresets.exports(self, names, asked=True)

    def exports(self) -> list[str]:
        """The folder of every coreset, to give away."""
        return coresets.exports(self, self.config.targets)

    @cached_property
    def published(self) -> list[str]:
        """The selectors that are coresets published elsewhere."""
        return coresets.published(self)

    def overlaps(self, experiment: str) -> list[overlap.Cell]:
        """The masks that an experiment holds against the objects that a set knows."""
        return overlap.cells(self, experiment)

    @property
    def collected(self) -> list[str]:
        """The active experiments whose table is of runs, not of encoded images or of masks."""
        blocks = self.config.experiments
        return [name for name in self.config.targets if not (blocks[name].storage or blocks[name].overlap)]

    @property
    def trains(self) -> bool:
        """Whether some active experiment asks for accuracies, and so for a test split."""
        return any(self.makes_runs(name) for name in self.config.targets)

    def makes_runs(self, experiment: str) -> bool:
        """Whether an experiment shows trainings: pictures, storage, overlaps and a diagram do not."""
        block = self.config.experiments[experiment]
        return bool(block.figure or block.table or block.cost) and not (block.storage or block.overlap)

    def run_note(self) -> str:
        """What stands over the results of several experiments: the data, the seeds, the scale."""
        titles = dict.fromkeys(self.config.datasets[run.selection.dataset].title for run in self.runs)
        seeds = sorted({run.seed for run in self.runs})
        scale = self.config.label or f"run {self.config.run}"
        return " · ".join([scale, *titles, f"seeds {', '.join(map(str, seeds))}"])

    def note(self, experiment: str) -> str:
        """What a caption says of the data, the seeds and the keep ratio; the runs themselves add the device."""
        rows = self.rows[experiment]
        if self.config.experiments[experiment].pictures:
            rows = rows[:1]
        if self.config.experiments[experiment].diagram:
            title = self.config.datasets[rows[0].run.selection.dataset].title
            return f"from the stages that the plan runs · {title} · every stage also reads the images"
        seeds = len({run.seed for run, *_ in rows})
        keeps = sorted({run.keep_ratio for run, *_ in rows})
        parts = sorted({self.config.datasets[run.selection.dataset].title for run, *_ in rows})
        if self.config.experiments[experiment].pictures:
            first = self._shown(experiment)
            masks = {run.selection.mask for run, *_ in self.rows[experiment]} - {None}
            mask = title_of(self.config.masks, first.selection.mask) if len(masks) == 1 else None
            facts = [mask, self._drawn_by(first)]
            return " · ".join([*parts, *filter(None, facts), f"seed {first.seed}"])
        parts += sorted({self._drawn_by(run) for run, *_ in rows} - {""})
        parts += [f"n = {seeds} seeds" if seeds > 1 else "n = 1 seed"]
        if len(keeps) == 1:
            parts.append(f"keep ratio {keeps[0]:g}")
        return " · ".join(parts)

    def _shown(self, experiment: str) -> Run:
        """The run whose images an experiment's pictures show."""
        pictures = self.config.experiments[experiment].pictures
        redraws = pictures and pictures.steps == "pixels"
        return self.redrawn(experiment)[0] if redraws else self.rows[experiment][0].run

    def _drawn_by(self, run: Run) -> str:
        """Which autoencoder redraws the run's pixels, for captions; empty where none does."""
        name = self.config.pixels[run.pixels].autoencoder if run.pixels else None
        return f"autoencoder: {self.config.autoencoders[name].title}" if name else ""
