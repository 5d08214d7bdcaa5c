"""The kinds of results that an experiment can have: for each the files it is made from, its rows, its possible faults
and its caption. An experiment may have several, such as pictures and a table of runs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from dqv2.config.data import KNOWS_OBJECTS
from dqv2.config.experiments import OVERLAP, STORAGE, Experiment
from dqv2.plan.check import mask_faults, redraws
from dqv2.plan.runs import Row, Run
from dqv2.plan.walk import Walk

if TYPE_CHECKING:
    from pandas import DataFrame


class Kind:
    """A kind of result of one experiment.

    Attributes:
        name: the name that stages use.
        table: the stage that writes the tidy table behind it, if any.
    """

    name: ClassVar[str]
    table: ClassVar[str | None] = None

    def __init__(self, plan: Walk, experiment: str):
        self.plan, self.config, self.experiment = plan, plan.config, experiment
        self.block: Experiment = plan.config.experiments[experiment]
        self.rows: list[Row] = plan.rows[experiment]

    @staticmethod
    def of(block: Experiment) -> bool:
        """Whether an experiment has this kind of result."""
        raise NotImplementedError

    def wanted_of(self, run: Run) -> list[str]:
        """The files of a run that it is made from."""
        return []

    def asked_of(self, run: Run) -> list[str]:
        """The files to make for a run, before what is made from all runs together."""
        return self.wanted_of(run)

    def records_behind(self, file: str) -> list[list[str]]:
        """[stage, account, record] of the jobs behind a file that count in the cost of a coreset."""
        behind = [job for job in self.plan.jobs([file]) if job.stage.account]
        return [[job.stage.name, job.stage.account, self.plan.file_of(job, "record")] for job in behind]

    def planned(self) -> int:
        """The number of rows of its complete table."""
        return len(self.rows)

    def faults(self) -> Iterator[str]:
        """The reasons why it cannot be made, other than faults of single runs, each beginning with its key."""
        yield from ()

    def made_up(self) -> tuple[DataFrame, set[str]]:
        """Its table with made-up measurements, and the columns that are measurements."""
        raise NotImplementedError

    def note(self) -> str:
        """The caption's note on data, seeds and keep ratio; the device is added from the finished runs."""
        seeds = len({run.seed for run, *_ in self.rows})
        keeps = sorted({self.plan.asked_ratio(run) for run, *_ in self.rows})
        parts = sorted({self.config.datasets[run.selection.dataset].title for run, *_ in self.rows})
        parts += sorted({self.plan.drawn_by(run) for run, *_ in self.rows} - {""})
        parts += [f"n = {seeds} seeds" if seeds > 1 else "n = 1 seed"]
        if len(keeps) == 1 and not self.block.overlap:  # masks are made before anything is kept
            parts.append(f"keep ratio {keeps[0]:g}")
        return " · ".join(parts)

    def _datasets(self) -> list[str]:
        return sorted({run.selection.dataset for run, *_ in self.rows})


class TobiasPictures(Kind):
    """The original and its Tobias image at each size of the experiment."""

    name = "pictures"

    @staticmethod
    def of(block: Experiment) -> bool:
        return block.pictures is not None and block.pictures.steps == "tobias"

    @property
    def shown(self) -> Run:
        """The run whose images are shown."""
        return self.rows[0].run

    def files(self) -> dict[str, Any]:
        """The pack and the recipes: of the first seed, each mask and Tobias size once."""
        recipes = [self.plan.recipe_of_run(run) for run in self._runs]
        train = self.plan.file("pack", "train", dataset=self.shown.selection.dataset)
        return {"train": train, "recipes": list(dict.fromkeys(recipes))}

    @cached_property
    def _runs(self) -> dict[Run, None]:
        first = self.shown
        same = [run for run, *_ in self.rows if run.selection.dataset == first.selection.dataset]
        return dict.fromkeys(run for run in same if run.seed == first.seed and run.selection.mask)

    def titles(self) -> list[str]:
        """The titles above the images of each recipe."""
        shown = list(dict.fromkeys((run.selection.mask, run.selection.tobias_size) for run in self._runs))
        titles = [f"{size} × {size}" for _, size in shown]
        if len({mask for mask, _ in shown}) > 1:
            masks = [self.plan.title("masks", mask) for mask, _ in shown]
            titles = [f"{mask}, {title}" for mask, title in zip(masks, titles, strict=True)]
        return titles

    def wanted_of(self, run: Run) -> list[str]:
        return [self.plan.recipe_of_run(run)] if run in self._runs else []

    def faults(self) -> Iterator[str]:
        if not any(run.selection.mask for run, *_ in self.rows):
            yield "pictures show Tobias images, and no method of it has any"
        if len(self._datasets()) > 1:
            number = len(self._datasets())
            yield f"pictures show one set's images, and it has {number} datasets: make two experiments of it"

    def note(self) -> str:
        first = self.shown
        masks = {run.selection.mask for run, *_ in self.rows} - {None}
        mask = self.plan.title("masks", first.selection.mask) if len(masks) == 1 else None
        title = self.config.datasets[first.selection.dataset].title
        return " · ".join([title, *filter(None, [mask, self.plan.drawn_by(first)]), f"seed {first.seed}"])


class Redrawn(Kind):
    """Results that need coresets whose pixels an autoencoder redraws."""

    key: ClassVar[str]

    @cached_property
    def runs(self) -> dict[Run, None]:
        """The runs with redrawn pixels, one per coreset."""
        found = [run for run, *_ in self.rows if redraws(self.config, run)]
        return dict.fromkeys({self.plan.file("pixels", "pixels", self.plan.axes(run)): run for run in found}.values())

    def of_run(self, run: Run) -> dict[str, str]:
        """The pack, coreset and pixels of a run."""
        axes = self.plan.axes(run)
        return {
            "train": self.plan.file("pack", "train", axes),
            "coreset": self.plan.file("sample", "coreset", axes),
            "pixels": self.plan.file("pixels", "pixels", axes),
        }

    def faults(self) -> Iterator[str]:
        if not any(redraws(self.config, run) for run, *_ in self.rows):
            yield f"{self.key} needs a run whose pixels an autoencoder redraws (step: mae)"
        if any(run.selection.mask for run, *_ in self.rows):
            yield f"{self.key} shows coresets of originals, and a mixture has Tobias images"


class PixelPictures(Redrawn):
    """The original, the image without its least important patches, and its reconstruction."""

    name, key = "pixel_pictures", "pictures.steps"

    @staticmethod
    def of(block: Experiment) -> bool:
        return block.pictures is not None and block.pictures.steps == "pixels"

    @property
    def shown(self) -> Run:
        """The run whose images are shown."""
        return next(iter(self.runs))

    def files(self) -> dict[str, Any]:
        """The pack, coreset and pixels shown."""
        return self.of_run(self.shown)

    def wanted_of(self, run: Run) -> list[str]:
        return list(self.files().values()) if run == self.shown else []

    def note(self) -> str:
        first = self.shown
        title = self.config.datasets[first.selection.dataset].title
        return " · ".join([title, self.plan.drawn_by(first), f"seed {first.seed}"])


class Diagram(Kind):
    """The pipelines of the experiment's methods."""

    name = "diagram"

    @staticmethod
    def of(block: Experiment) -> bool:
        return block.diagram is not None

    def note(self) -> str:
        title = self.config.datasets[self.rows[0].run.selection.dataset].title
        return f"from the stages that the plan runs · {title} · every stage also reads the images"

    def lanes(self) -> list[dict[str, Any]]:
        """For each method (its first dataset and seed): title and stages, as ``draw_pipelines`` takes them."""
        lanes: dict[str, dict[str, Any]] = {}
        for run, title, method in self.rows:
            if title not in lanes:
                chain = self.plan.jobs([self.plan.metrics_of(run)])
                lanes[title] = {"title": title, "method": method, "stages": self._stages(chain)}
        return list(lanes.values())

    def _stages(self, chain: dict[Any, list[Any]]) -> list[dict[str, Any]]:
        keys: dict[Any, str] = {}  # a stage's name, with a number from the second job of the same stage on
        for job in chain:
            before = sum(other.stage.name == job.stage.name for other in keys)
            keys[job] = job.stage.name + (f" {before + 1}" if before else "")
        return [
            {
                "key": keys[job],
                "title": job.stage.title,
                "detail": job.stage.detail(self.plan, job.w),
                "reads": [keys[read] for read in reads if read.is_step],
            }
            for job, reads in chain.items()
            if job.is_step
        ]


class Storage(Redrawn):
    """The encoded size of the images of each redrawn coreset."""

    name, key, table = "storage", "storage", "storage"

    @staticmethod
    def of(block: Experiment) -> bool:
        return block.storage is not None

    def of_run(self, run: Run) -> dict[str, str]:
        """The pack, coreset and pixels of a run, and a recipe of Tobias images."""
        tobias = {"mask": self.block.storage.mask, "size": self.block.storage.tobias_size}
        recipe = self.plan.file("augment", "recipe", self.plan.axes(run), **tobias)
        return super().of_run(run) | {"tobias": recipe}

    def files(self) -> dict[str, list[str]]:
        """The files of all redrawn coresets, by name."""
        found = [self.of_run(run) for run in self.runs]
        return {name: [files[name] for files in found] for name in ("train", "coreset", "pixels", "tobias")}

    def wanted_of(self, run: Run) -> list[str]:
        return list(self.of_run(run).values()) if run in self.runs else []

    def planned(self) -> int:
        return len(self.runs) * 4  # original, dropped, reconstructed, Tobias

    def columns(self) -> list[dict[str, Any]]:
        """The known columns of each redrawn coreset, before its images are encoded."""
        return [
            {
                "experiment": self.experiment,
                "dataset": run.selection.dataset,
                "dataset_title": self.config.datasets[run.selection.dataset].title,
                "keep_ratio": self.plan.asked_ratio(run),
                "pixels": run.pixels,
                "seed": run.seed,
            }
            for run in self.runs
        ]

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        for dataset in self._datasets():
            for fault in mask_faults(self.config, dataset, self.block.storage.mask, self.block.storage.tobias_size):
                yield f"storage: {fault}"

    def made_up(self) -> tuple[DataFrame, set[str]]:
        from dqv2.paper.collect import VARIANTS, storage_frame

        columns = self.columns()
        return storage_frame(columns, [dict.fromkeys(VARIANTS, (1, 1)) for _ in columns]), {*STORAGE, "coreset_size"}


class Overlap(Kind):
    """Overlap of masks with a set's known objects."""

    name = table = "overlap"

    @staticmethod
    def of(block: Experiment) -> bool:
        return block.overlap

    @cached_property
    def rows_with_files(self) -> list[dict[str, Any]]:
        """For each mask, size and seed, once, the columns known before it runs, its pack and recipe, and
        [stage, account, record] of the jobs behind the recipe."""
        found: dict[str, dict[str, Any]] = {}
        keys = ("experiment", "dataset", "dataset_title", "mask", "mask_title", "tobias_size", "seed")
        for row in self.rows:
            selection = row.run.selection
            recipe = self.plan.recipe_of_run(row.run)
            pack = self.plan.file("pack", "train", dataset=selection.dataset)
            kept = {key: value for key, value in self.plan.columns(self.experiment, row).items() if key in keys}
            kept |= {"mask": selection.mask, "tobias_size": selection.tobias_size}
            made = {"columns": kept, "pack": pack, "recipe": recipe, "records": self.records_behind(recipe)}
            found.setdefault(recipe, made)
        return list(found.values())

    def wanted_of(self, run: Run) -> list[str]:
        return [self.plan.recipe_of_run(run)]

    def planned(self) -> int:
        return len(self.rows_with_files)

    def faults(self) -> Iterator[str]:
        for run, *_ in self.rows:
            selection = run.selection
            if selection.mask is None:
                yield f"overlap: an overlap needs masks, and mixture {selection.mixture} has none"
            elif self.config.datasets[selection.dataset].kind not in KNOWS_OBJECTS:
                yield f"overlap: {selection.dataset} has no known objects"

    def made_up(self) -> tuple[DataFrame, set[str]]:
        import pandas as pd

        measured = dict.fromkeys((*OVERLAP, "n_images", "mask_seconds"), 1.0) | {"mask_device": "made up"}
        return pd.DataFrame([row["columns"] | measured for row in self.rows_with_files]), set(measured)


class Runs(Kind):
    """Accuracies, one row a training."""

    name, table = "runs", "collect"

    @staticmethod
    def of(block: Experiment) -> bool:
        return bool(block.figure or block.table or block.cost) and not (block.storage or block.overlap)

    def wanted_of(self, run: Run) -> list[str]:
        return [self.plan.metrics_of(run)]

    @cached_property
    def rows_with_files(self) -> list[dict[str, Any]]:
        """For each run the columns known before it runs, its metrics file, and [stage, account, record] of the jobs
        behind it."""
        found = [(self.plan.columns(self.experiment, row), self.plan.metrics_of(row.run)) for row in self.rows]
        return [{"columns": c, "metrics": m, "records": self.records_behind(m)} for c, m in found]

    def made_up(self) -> tuple[DataFrame, set[str]]:
        from dqv2.paper.collect import made_up

        frame = made_up(self.rows_with_files)
        return frame, set(frame.columns) - set(self.rows_with_files[0]["columns"])


class Coresets(Kind):
    """Coresets to give away."""

    name = "coresets"

    @staticmethod
    def of(block: Experiment) -> bool:
        return block.export is not None

    def wanted_of(self, run: Run) -> list[str]:
        axes = self.plan.axes(run)
        files = [self.plan.file("sample", "coreset", axes)]
        if self.block.export.images != "none":
            files += self.plan.recipes(run.selection, axes)
            files += [self.plan.file("pixels", "pixels", axes)] if run.pixels else []
        return files

    def asked_of(self, run: Run) -> list[str]:
        return [self.plan.export_of(run, self.block.export.form)]

    def faults(self) -> Iterator[str]:
        if self.block.export.images == "none":
            return
        for pixels in sorted({run.pixels for run, *_ in self.rows if run.pixels}):
            if self.config.pixels[pixels].step == "cutmix":
                yield (
                    f"export: pixels {pixels} gives each image two labels, which folders of classes cannot hold: set "
                    "images: none, or choose a method without it"
                )


# The first kind that an experiment has provides the note of its section on the page
KINDS: tuple[type[Kind], ...] = (TobiasPictures, PixelPictures, Diagram, Storage, Overlap, Runs, Coresets)
