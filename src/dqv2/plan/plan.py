"""A configuration's experiments, the jobs behind them, and the files to make. Imports neither torch nor pandas."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dqv2.config import Config, ConfigError
from dqv2.plan.check import check
from dqv2.plan.kinds import KINDS, Kind
from dqv2.plan.runs import Run
from dqv2.plan.walk import PlannedJob, Walk
from dqv2.stages import Stage, Wildcards, all_stages


class Plan(Walk):
    """A configuration's experiments, the runs and jobs behind them, and their files.

    Raises:
        ConfigError: an experiment asks for something impossible.
    """

    def __init__(self, config: Config):
        super().__init__(config)
        blocks = config.experiments
        self._kinds = {name: [kind(self, name) for kind in KINDS if kind.of(blocks[name])] for name in self.rows}
        # Experiment -> the one of its results that its tidy table is of
        self._tabled = {name: kind for name, kinds in self._kinds.items() for kind in kinds if kind.table}
        faults = {name: (fault for kind in kinds for fault in kind.faults()) for name, kinds in self._kinds.items()}
        check(config, self.rows, faults)

    # -- experiments --------------------------------------------------------------------------------------------------

    def kind(self, experiment: str, name: str) -> Kind | None:
        """An experiment's result of this kind, or None."""
        return next((kind for kind in self._kinds.get(experiment, []) if kind.name == name), None)

    def wanted(self, experiment: str) -> list[str]:
        """The files that an experiment is made from."""
        runs = [run for run, *_ in self.rows[experiment]]
        return list(dict.fromkeys(f for kind in self._kinds[experiment] for run in runs for f in kind.wanted_of(run)))

    def asked_of(self, experiment: str, run: Run) -> list[str]:
        """The files to make for a run of an experiment, before what is made from all its runs together."""
        return list(dict.fromkeys(file for kind in self._kinds[experiment] for file in kind.asked_of(run)))

    def tabled(self, experiment: str) -> str | None:
        """The stage that writes an experiment's tidy table, or None where it has none."""
        return self._tabled[experiment].table if experiment in self._tabled else None

    def table(self, experiment: str) -> str:
        """An experiment's tidy table."""
        return self.file("collect", "csv", experiment=experiment)

    def tables(self) -> dict[str, str]:
        """Experiment -> its tidy table of runs (or of masks, or of stored images), for those that make one."""
        return {name: self.table(name) for name in self._tabled}

    def planned(self, experiment: str) -> int:
        """The number of rows of an experiment's complete table."""
        return self._tabled[experiment].planned() if experiment in self._tabled else len(self.rows[experiment])

    def planned_table(self, experiment: str) -> tuple[Any, set[str]]:
        """An experiment's table with made-up measurements, and the columns that are measurements."""
        return self._tabled[experiment].made_up()

    def note(self, experiment: str) -> str:
        """The page's note on an experiment's data, seeds and keep ratio."""
        return self._kinds[experiment][0].note()

    def caption(self, experiment: str) -> dict[str, Any]:
        """What is printed with a figure or table of an experiment: about, label, note, planned number of rows."""
        kind, about = self._tabled[experiment], self.config.experiments[experiment].about
        return {"about": about, "label": self.config.label, "note": kind.note(), "planned": kind.planned()}

    def spec(self, kind: str, experiment: str) -> dict[str, Any]:
        """The spec of an experiment's "figure" or "table", with the paper's values as `reported`."""
        from dqv2.paper.reported import reported_values

        block = getattr(self.config.experiments[experiment], kind)
        return block.spec(partial=self.config.partial) | {"reported": reported_values(experiment)}

    def run_note(self) -> str:
        """The heading of results of several experiments: scale, data, seeds."""
        titles = dict.fromkeys(self.config.datasets[run.selection.dataset].title for run in self.runs)
        seeds = sorted({run.seed for run in self.runs})
        scale = self.config.label or f"run {self.config.run}"
        return " · ".join([scale, *titles, f"seeds {', '.join(map(str, seeds))}"])

    # -- what is asked for --------------------------------------------------------------------------------------------

    def targets(self, names: Iterable[str] | None = None) -> list[str]:
        """The files to make for these experiments; by default for all active ones, with those made from all together.

        In a partial report only for experiments with some finished results.
        """
        whole = names is None
        asked = self.rows if names is None else names
        names = [name for name in asked if self.is_there(name)]
        of_one = [(each, {"experiment": name}) for name in names for each in all_stages().values() if _one(each)]
        of_all = [(each, {}) for each in all_stages().values() if whole and each.shows and not _one(each)]
        found = [
            self.file(each.name, output, axes)
            for each, axes in [*of_one, *of_all]
            if each.makes(self, Wildcards(**axes))
            for output in each.shows
        ]
        return found + self.exports([name for name in names if self.kind(name, "coresets")])

    def exports(self, names: Iterable[str] | None = None) -> list[str]:
        """The exported folder of every coreset of these experiments, by default of all; with ids alone where there is
        no block `export`."""
        blocks = {name: self.config.experiments[name].export for name in (self.rows if names is None else names)}
        forms = {name: block.form if block else "ids" for name, block in blocks.items()}
        return list(dict.fromkeys(self.export_of(run, forms[name]) for name in forms for run, *_ in self.rows[name]))

    def records_of(self, files: Iterable[str]) -> list[str]:
        """The records of the jobs that make these files. Requested beside them, a lost one is made again."""
        jobs = dict.fromkeys(job for file in files if (job := self.job_making(file)))
        return [self.file_of(job, "record") for job in jobs if "record" in job.stage.writes]

    # -- a partial report (`partial: true`) starts nothing: it shows what there is ------------------------------------

    def present(self, files: Iterable[str]) -> list[str]:
        """All files, or in a partial report those that exist."""
        return [file for file in dict.fromkeys(files) if not self.config.partial or Path(file).exists()]

    def readable(self) -> dict[str, str]:
        """The tables of `tables` that a report reads: all, or in a partial report those with some finished results."""
        return {name: file for name, file in self.tables().items() if self.is_there(name)}

    def is_there(self, experiment: str) -> bool:
        """Whether an experiment is shown: in a partial report only if that takes no selecting or training, as one of
        its runs has finished or, if it shows no runs, all its inputs exist."""
        if not self.config.partial:
            return True
        if self.kind(experiment, "runs"):
            return any(Path(self.metrics_of(run)).exists() for run, *_ in self.rows[experiment])
        return all(Path(file).exists() for file in self.wanted(experiment))

    def require_shown(self, jobs: Iterable[PlannedJob]) -> None:
        """Raise ConfigError where the report is partial and these jobs do more than show results: files that need more
        were asked for by name."""
        more = [job for job in jobs if not job.stage.shows and job.stage.name != "export"]
        if self.config.partial and more:
            files = ", ".join(self.files_of(job)[-1] for job in more[:5])
            raise ConfigError(f"partial: true shows what there is, and makes nothing else, such as {files}")


def _one(each: Stage) -> bool:
    """Whether a stage shows one experiment."""
    return bool(each.shows) and any("{experiment}" in each.writes[output] for output in each.shows)
