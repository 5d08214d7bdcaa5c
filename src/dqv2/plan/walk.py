"""From any file to the jobs that make it, by what the stages declare."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from dqv2 import paths
from dqv2.config import Config
from dqv2.config.blocks import Trainable, Training
from dqv2.plan.check import mask_faults
from dqv2.plan.runs import Row, Run, Selection, largest_keeps, replaced, rows_of, title_of
from dqv2.stages import Stage, Wildcards, makers, stage
from dqv2.weights import PRETRAINED, hub_name

# Values of columns that are no block of the configuration
BACKGROUNDS = ("drawn anew at every visit", "stored in the coreset", "its own")
NO_MASK, UNCHANGED = "no mask", "none"  # the mask's title, and the pixel step

Axes = Wildcards | dict[str, Any]


class PlannedJob(NamedTuple):
    """A job of a plan: a stage and the wildcards of its files."""

    stage: Stage
    wildcards: tuple[tuple[str, str], ...]

    @property
    def w(self) -> Wildcards:
        """The wildcards as attributes."""
        return Wildcards(**dict(self.wildcards))

    @property
    def is_step(self) -> bool:
        """Whether it is a step of a method, so neither fetching a set nor checking a backbone's weights."""
        return self.stage.name != "fetch" and ("block", "backbones") not in self.wildcards


class Walk:
    """The runs of a configuration, each once however many experiments share it, and the jobs behind any file."""

    def __init__(self, config: Config):
        self.config = config
        self.root = f"results/{config.run}"
        self.configuration = f"{self.root}/config.json"  # as the last run had it, all files and --config merged
        self.logs = f"logs/{config.run}"
        self.figures = "paper_figures" if config.run == "paper" else f"paper_figures/{config.run}"
        self.rows = {name: rows_of(config, name) for name in config.targets}
        self._making: dict[str, PlannedJob | None] = {}
        self._read: dict[PlannedJob, dict[str, Any]] = {}
        self._replacing: dict[str, bool] = {}

    # -- files and the jobs that make them ----------------------------------------------------------------------------

    def pattern(self, stage_name: str, output: str) -> str:
        """The pattern of an output for Snakemake: with this run's folders, and the axes as wildcards in braces. Raises
        ValueError where there is no such stage or output."""
        writes = stage(stage_name).writes
        if output not in writes:
            raise ValueError(f"the stage {stage_name} writes no {output!r}: it writes {', '.join(writes)}")
        pattern = writes[output]
        if pattern.startswith("{figures}"):
            return pattern.replace("{figures}", self.figures)
        return pattern if pattern.startswith("{root}") else f"{self.root}/{pattern}"

    def file(self, stage_name: str, output: str, w: Axes | None = None, **other: Any) -> str:
        """The path of an output, with its axes from `w`, overridden by `other`; raises ValueError where one is missing,
        and as `pattern`."""
        pattern = self.pattern(stage_name, output)
        try:
            return pattern.format_map((w or {}) | other)
        except KeyError as error:
            axis = error.args[0]
            raise ValueError(f"{pattern} has the axis {axis}, and no value is given: pass {axis}=...") from error

    def of_backbone(self, stage_name: str, output: str, w: Axes, backbone: str | None = None) -> str:
        """The path of an output that depends on a backbone (that of `w`, or `backbone`); the same for all seeds where
        the backbone is fixed."""
        values = w | ({"backbone": backbone} if backbone else {})
        seed = {"seed": 0} if self.config.backbones[values["backbone"]].fixed else {}
        return self.file(stage_name, output, values, **seed)

    def file_of(self, job: PlannedJob, output: str) -> str:
        """The path of a job's output."""
        return self.file(job.stage.name, output, job.w)

    def files_of(self, job: PlannedJob) -> list[str]:
        """All files that a job makes."""
        return [self.file_of(job, name) for name in job.stage.writes]

    def job_making(self, file: str) -> PlannedJob | None:
        """The job that makes a file; None where no stage does."""
        if file not in self._making:
            self._making[file] = self._find(file)
        return self._making[file]

    def _find(self, file: str) -> PlannedJob | None:
        below = file.removeprefix(f"{self.root}/")
        if file.startswith(f"{self.figures}/"):
            below = file.replace(self.figures, "paper_figures", 1)
        for each, output, axes in makers(below):
            if below == file != self.file(each.name, output, axes | {"figures": self.figures}):
                continue  # of another run
            axes.pop("figures", None)
            if axes.get("experiment", "") in ("", *self.rows) and each.makes(self, Wildcards(**axes)):
                return PlannedJob(each, tuple(sorted(axes.items())))
        return None

    def reads(self, job: PlannedJob) -> dict[str, Any]:
        """What a job reads, by name."""
        if job not in self._read:
            self._read[job] = job.stage.reads(self, job.w)
        return self._read[job]

    def files_read(self, job: PlannedJob) -> list[str]:
        """All files that a job reads."""
        return [file for files in self.reads(job).values() for file in ([files] if isinstance(files, str) else files)]

    def options(self, job: PlannedJob) -> dict[str, Any]:
        """What a job's result depends on besides its inputs: its rule's params."""
        return _sorted({"version": job.stage.version, **job.stage.options(self, job.w)})

    def unknown(self, job: PlannedJob) -> str | None:
        """What a job's paths name that this plan does not have, in a sentence; None where it has all of it.

        A seed, keep ratio or size need not be one of an experiment, but it is one that the configuration would take."""
        config, w = self.config, vars(job.w)
        known: dict[str, Any] = {"dataset": config.datasets, "backbone": config.backbones, "mask": config.masks}
        if w.get("block") in ("autoencoders", "backbones"):
            known["network"] = getattr(config, w["block"])
        drawn = [name for name, block in config.pixels.items() if block.step != "none"]
        known |= {"trainer": config.trainers, "pixels": drawn, "autoencoder": config.autoencoders}
        for axis, names in known.items():
            if axis in w and w[axis] not in names:
                return f"the configuration has no {axis} {w[axis]!r}"
        if (step := w.get("step", "").removeprefix("pixels-").rstrip("/")) and step not in drawn:
            return f"the configuration has no pixel step {step!r}"
        if wrong := paths.misspelt(w):
            return wrong
        if "mask" in w and (fault := next(mask_faults(config, w["dataset"], w["mask"], int(w["size"])), None)):
            return fault
        if "selection" in w and (w["dataset"], w["selection"]) not in self.selections:
            return f"no experiment among the targets selects {w['selection']!r} from {w['dataset']}"
        return None

    def jobs(self, files: Iterable[str]) -> dict[PlannedJob, list[PlannedJob]]:
        """Every job that files need, with the jobs whose outputs it reads, in an order in which they can run."""
        found: dict[PlannedJob, list[PlannedJob]] = {}

        def visit(file: str) -> PlannedJob | None:
            job = self.job_making(file)
            if job is not None and job not in found:
                read = map(visit, self.files_read(job))
                found[job] = list(dict.fromkeys(each for each in read if each is not None))
            return job

        for file in files:
            visit(file)
        return found

    # -- what stages ask ----------------------------------------------------------------------------------------------

    def selection(self, w: Wildcards) -> Selection:
        """The selection that a job's paths name."""
        return self.selections[w.dataset, w.selection]

    @cached_property
    def largest_keeps(self) -> dict[Selection, float]:
        """Selection -> the largest keep ratio of any experiment's coresets from it, rounded as in paths."""
        return {each: float(paths.ratio(keep)) for each, keep in largest_keeps(self.config).items()}

    def recipes(self, selection: Selection, w: Axes) -> list[str]:
        """The recipe of a selection's Tobias images, or an empty list."""
        if not selection.mask:
            return []
        return [self.file("augment", "recipe", w, mask=selection.mask, size=selection.tobias_size)]

    def passes(self, selection: Selection, w: Axes) -> dict[str, list[str]]:
        """The features and logits that a selection's selector reads: of the originals, then of the Tobias images."""
        selector, mixture = self.config.selectors[selection.selector], self.config.mixtures[selection.mixture]
        axes = w | {"mask": selection.mask, "size": selection.tobias_size, "backbone": selection.backbone}

        def made(output: str) -> list[str]:
            if selector.pixels:
                networks = (selection.backbone, self.config.pixels[selector.pixels].backbone)
                drawn = {} if not all(self.config.backbones[each or ""].fixed for each in networks) else {"seed": 0}
                return [self.file("redrawn", output, axes | {"pixels": selector.pixels} | drawn)]
            originals = [self.of_backbone("saliency", output, axes)] if mixture.originals else []
            return originals + ([self.file("features", output, axes)] if selection.mask else [])

        return {
            "features": made("embedding") if selector.reads_features else [],
            "logits": made("logits") if selector.reads_logits else [],
        }

    def recipe_of_run(self, run: Run) -> str:
        """The recipe of a run's Tobias images."""
        return self.recipes(run.selection, self.axes(run))[0]

    def hyperparameters(self, block: Training, *others: str) -> dict[str, Any]:
        """The options of a training; keys that only say how it runs are left out at their default."""
        found = block.model_dump(exclude={"title", "stem", "url", *others})
        often = (*Training.model_fields, *PRETRAINED, "schedule", "start")
        default = {key: field.default for key, field in type(block).model_fields.items() if key in often}
        if found.get("weights"):  # the location of the file changes nothing
            name = Path(found["weights"]).name  # of a file that is called like one of timm's, with its place unsaid
            found["weights"] = name if name == found["weights"] or not hub_name(name) else f"./{name}"
        return {key: value for key, value in found.items() if key not in default or value != default[key]}

    def network_options(self, dataset: str, network: Trainable, *, augment: bool = True) -> dict[str, Any]:
        """The options that a network for a dataset's images depends on."""
        block = self.config.datasets[dataset]
        options: dict[str, Any] = {"image_size": block.size, "stem": network.stem_for(block.stem)}
        if block.mean and not getattr(network, "weights", None):  # published weights bring their own
            options |= {"mean": block.mean, "std": block.std}
        return options | ({"augment": block.augment.model_dump()} if augment else {})

    def title(self, kind: str, name: str) -> str:
        """The printed name of a block of the configuration."""
        return title_of(getattr(self.config, kind), name) or ""

    # -- runs ---------------------------------------------------------------------------------------------------------

    @cached_property
    def selections(self) -> dict[tuple[str, str], Selection]:
        """(dataset, path) -> selection."""
        runs = [run for rows in self.rows.values() for run, *_ in rows]
        return {(run.selection.dataset, run.selection.path): run.selection for run in runs}

    @cached_property
    def runs(self) -> list[Run]:
        """Every training of the plan, once; a diagram shows runs without making them."""
        made = [rows for name, rows in self.rows.items() if not self.config.experiments[name].diagram]
        return list(dict.fromkeys(run for rows in made for run, *_ in rows))

    @property
    def datasets(self) -> list[str]:
        """The datasets that the plan needs, even if only for a diagram."""
        return sorted({run.selection.dataset for rows in self.rows.values() for run, *_ in rows})

    @staticmethod
    def axes(run: Run) -> dict[str, Any]:
        """The axes of a run's paths."""
        return {
            "dataset": run.selection.dataset,
            "selection": run.selection.path,
            "keep": paths.ratio(run.keep_ratio),
            "step": f"pixels-{run.pixels}/" if run.pixels else "",
            "pixels": run.pixels,
            "draw": "" if run.drawn is None else f"coreset-seed-{run.drawn}/",
            "trainer": run.trainer,
            "seed": run.seed,
        }

    def metrics_of(self, run: Run) -> str:
        """The metrics file of a run."""
        return self.file("evaluate", "metrics", self.axes(run))

    def export_of(self, run: Run, form: str) -> str:
        """The exported folder of a run's coreset. Ids say which images were chosen, whatever a pixel step does."""
        return self.file("export", "folder", self.axes(run) | {"form": form} | ({"step": ""} if form == "ids" else {}))

    def columns(self, experiment: str, row: Row) -> dict[str, Any]:
        """The columns of a run that are known before it runs, which collect joins to its metrics."""
        config, (run, title, method) = self.config, row
        s = run.selection
        mixture = config.mixtures[s.mixture]
        fresh = config.trainers[run.trainer].fresh_tobias
        backgrounds = BACKGROUNDS[0 if fresh else 1 if s.mask else 2]
        mask = fresh.mask if fresh else s.mask
        return {
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
            "mask_title": title_of(config.masks, mask) or NO_MASK,
            "backgrounds": backgrounds,
            "tobias_size": s.tobias_size,
            "pixels": run.pixels or UNCHANGED,
            "keep_ratio": self.asked_ratio(run),
            "share_of_images": run.keep_ratio,
            "trainer": run.trainer,
            "mix": config.trainers[run.trainer].mix,
            "seed": run.seed,
            "selection_seed": run.seed if run.drawn is None else run.drawn,
        } | self._replaces(experiment, row)

    def _replaces(self, experiment: str, row: Row) -> dict[str, str | None]:
        """The column of the axes that the experiment replaces of the row's method, where it does so in any row."""
        if experiment not in self._replacing:
            found = (replaced(self.config, experiment, run, method) for run, _, method in self.rows[experiment])
            self._replacing[experiment] = any(found)
        if not self._replacing[experiment]:
            return {}
        return {"replaces": ", ".join(replaced(self.config, experiment, row.run, row.method)) or None}

    def asked_ratio(self, run: Run) -> float:
        """The requested keep ratio: of images, or of pixels if the run's pixel step counts pixels."""
        share = self.config.pixels[run.pixels].share_of_images(1.0) if run.pixels else 1.0
        return float(f"{run.keep_ratio / share:.9g}")

    def drawn_by(self, run: Run) -> str:
        """The autoencoder that redraws the run's pixels, for captions; empty without one."""
        name = self.config.pixels[run.pixels].autoencoder if run.pixels else None
        return f"autoencoder: {self.config.autoencoders[name].title}" if name else ""


def _sorted(block: dict[str, Any]) -> dict[str, Any]:
    return {key: _sorted(value) if isinstance(value, dict) else value for key, value in sorted(block.items())}
