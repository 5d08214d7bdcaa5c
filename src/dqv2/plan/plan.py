"""A configuration's experiments, the jobs behind them, and what is asked for. Imports no torch and no pandas."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dqv2.config import Config
from dqv2.plan.check import check
from dqv2.plan.kinds import KINDS, Kind, exports
from dqv2.plan.walk import Walk
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
        faults = {name: (fault for kind in kinds for fault in kind.faults()) for name, kinds in self._kinds.items()}
        check(config, self.rows, faults)

    # -- experiments --------------------------------------------------------------------------------------------------

    def kind(self, experiment: str, name: str) -> Kind | None:
        """A kind of result of an experiment, or None where it has none of it."""
        return next((kind for kind in self._kinds.get(experiment, []) if kind.name == name), None)

    def wanted(self, experiment: str) -> list[list[str]]:
        """The files that an experiment is made from, those of one run (or coreset) together."""
        return [files for kind in self._kinds[experiment] for files in kind.wanted()]

    def tabled(self, experiment: str) -> str | None:
        """The stage that writes an experiment's tidy table, or None where it has none."""
        return next((kind.table for kind in self._kinds.get(experiment, []) if kind.table), None)

    def table(self, experiment: str) -> str:
        """An experiment's tidy table."""
        return self.file("collect", "csv", experiment=experiment)

    def tables(self) -> dict[str, str]:
        """Experiment -> its tidy table of runs (or of masks, or of stored images), for those that make one."""
        return {name: self.table(name) for name in self.rows if self.tabled(name)}

    def planned(self, experiment: str) -> int:
        """How many rows an experiment's table has when it is whole."""
        return next((k.planned() for k in self._kinds[experiment] if k.table), len(self.rows[experiment]))

    def planned_table(self, experiment: str) -> tuple[Any, set[str]]:
        """An experiment's table as it will be, and which of its columns are measurements, which are made up."""
        return next(kind for kind in self._kinds[experiment] if kind.table).made_up()

    def note(self, experiment: str) -> str:
        """What the page says of an experiment's data, seeds and keep ratio."""
        return self._kinds[experiment][0].note()

    def caption(self, experiment: str) -> dict[str, Any]:
        """What is printed beside what is drawn of an experiment's table."""
        note = next(kind for kind in self._kinds[experiment] if kind.table).note()
        about = self.config.experiments[experiment].about
        return {"about": about, "label": self.config.label, "note": note, "planned": self.planned(experiment)}

    def spec(self, kind: str, experiment: str) -> dict[str, Any]:
        """What is drawn ("figure") or printed ("table") of an experiment, and the paper's values beside it."""
        from dqv2.paper.reported import reported_values

        block = getattr(self.config.experiments[experiment], kind)
        return block.spec(partial=self.config.partial) | {"reported": reported_values(experiment)}

    def run_note(self) -> str:
        """What stands over the results of several experiments: the data, the seeds, the scale."""
        titles = dict.fromkeys(self.config.datasets[run.selection.dataset].title for run in self.runs)
        seeds = sorted({run.seed for run in self.runs})
        scale = self.config.label or f"run {self.config.run}"
        return " · ".join([scale, *titles, f"seeds {', '.join(map(str, seeds))}"])

    # -- what is asked for --------------------------------------------------------------------------------------------

    def targets(self, names: Iterable[str] | None = None) -> list[str]:
        """The files of these experiments; by default of every active one, with what is made of all of them together.

        In a partial report those of which something is there.
        """
        whole = names is None
        asked = self.rows if names is None else names
        names = [name for name in asked if not self.config.partial or self.is_there(name)]
        of_one = [(each, {"experiment": name}) for name in names for each in all_stages().values() if _one(each)]
        of_all = [(each, {}) for each in all_stages().values() if whole and each.shows and not _one(each)]
        found = [
            self.file(each.name, output, axes)
            for each, axes in [*of_one, *of_all]
            if each.makes(self, Wildcards(**axes))
            for output in each.shows
        ]
        return found + exports(self, [name for name in names if self.kind(name, "coresets")])

    def exports(self) -> list[str]:
        """The folder of every coreset, to give away."""
        return exports(self, list(self.rows))

    # -- a partial report (`partial: true`) starts nothing: it shows what there is ------------------------------------

    def present(self, files: Iterable[str]) -> list[str]:
        """All files, or in a partial report those that there are."""
        return [file for file in dict.fromkeys(files) if not self.config.partial or Path(file).exists()]

    def readable(self, tables: dict[str, str]) -> dict[str, str]:
        """The tables, by name, that a report reads: all, or in a partial one those of which something is there."""
        return {name: file for name, file in tables.items() if not self.config.partial or self.is_there(name, file)}

    def is_there(self, name: str, table: str | None = None) -> bool:
        """Whether a run of an experiment has finished or, where it shows none, all is there that it is made of: so
        nothing is selected or trained for it. Of what is no experiment, whether its table is made."""
        experiment = name.removesuffix("_jobs")
        if experiment not in self.rows:
            return table is not None and Path(table).exists()
        if self.kind(experiment, "runs"):
            return any(Path(self.metrics_of(run)).exists() for run, *_ in self.rows[experiment])
        return all(Path(file).exists() for needed in self.wanted(experiment) for file in needed)


def _one(each: Stage) -> bool:
    """Whether a stage shows one experiment."""
    return bool(each.shows) and any("{experiment}" in each.writes[output] for output in each.shows)
