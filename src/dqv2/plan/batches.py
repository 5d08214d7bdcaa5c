"""What one job does: the seeds of a chunk, for one arm of a stage or, where arms are short, for several."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dqv2 import paths
from dqv2.paths import chunk_name
from dqv2.plan.graph import OUTPUTS, Chunk, Job, inputs_of, job_of, jobs_of
from dqv2.plan.plan import Plan
from dqv2.runtime.files import write_json

Arm = dict[str, str]  # the wildcards of an arm's paths but the seed

# The stages whose arms can share a job, each with the params of an arm
OPTIONS: dict[str, Callable[[Plan, Any], dict[str, Any]]] = {
    "saliency": lambda plan, arm: plan.options("saliency"),
    "augment": lambda plan, arm: plan.augment_options(arm.mask),
    "features": lambda plan, arm: plan.options("features"),
    "bin": lambda plan, arm: plan.bin_options(plan.selections[arm.dataset, arm.selection]),
    "sample": lambda plan, arm: plan.sample_options(plan.selections[arm.dataset, arm.selection]),
    "train": lambda plan, arm: plan.train_options(arm.dataset, arm.trainer),
    "evaluate": lambda plan, arm: plan.options("evaluate"),
}


@dataclass(frozen=True)
class Batch:
    """Some seeds of a stage: of any one arm, as a rule with wildcards, or of these arms, as a rule without.

    Attributes:
        plan: the plan.
        stage: the stage.
        seeds: a chunk of seeds.
        arms: the wildcards of each arm; none for the rule with wildcards.
    """

    plan: Plan
    stage: str
    seeds: Chunk
    arms: tuple[Arm, ...] = ()

    @property
    def name(self) -> str:
        """The rule's name: train_0_1_2, or of a batch, by its arms, train_0_1_2_batch_8d4e10."""
        name = f"{self.stage}_{chunk_name(self.seeds)}"
        if not self.arms:
            return name
        return f"{name}_batch_{hashlib.sha256(json.dumps(self.arms, sort_keys=True).encode()).hexdigest()[:6]}"

    @property
    def size(self) -> int:
        """How many arms and seeds one job does."""
        return max(len(self.arms), 1) * len(self.seeds)

    def each(self, pattern: str) -> list[str]:
        """A path below the results for each arm and seed."""
        return self._filled([[self.plan.under(pattern)] for _ in self.arms or [{}]])

    def one(self, pattern: str) -> str:
        """The path below the results that all arms share."""
        return _fill(self.plan.under(pattern), {"dataset": self.arms[0]["dataset"]} if self.arms else {})

    def reads(self, patterns_of: Callable[[Any], list[str]]) -> Any:
        """The paths of an input, from the patterns of an arm: source by source, in each all arms and seeds."""
        if not self.arms:
            return lambda wildcards: self._filled([patterns_of(wildcards)])
        return self._filled([patterns_of(SimpleNamespace(**arm)) for arm in self.arms])

    def _filled(self, patterns: list[list[str]]) -> list[str]:
        arms = self.arms or [{}]
        return [
            _fill(pattern, arm | {"seed": str(seed)})
            for source in zip(*patterns, strict=True)
            for pattern, arm in zip(source, arms, strict=True)
            for seed in self.seeds
        ]

    @property
    def options(self) -> Any:
        """The params of the stage, the same for each arm."""
        of = OPTIONS[self.stage]
        if not self.arms:
            return lambda wildcards: of(self.plan, wildcards)
        return of(self.plan, SimpleNamespace(**self.arms[0]))

    @property
    def devices(self) -> Any:
        """How many GPUs a job of trainings asks for."""
        of = self.plan.config.trainers
        if not self.arms:
            return lambda wildcards: of[wildcards.trainer].devices
        return max(of[arm["trainer"]].devices for arm in self.arms)

    def place(self, pattern: str) -> str:
        """Where the job's log and benchmark stand: the folder of its outputs, or of its batch."""
        if self.arms:
            return f"{self.arms[0]['dataset']}/batches/{self.name}"
        return str(Path(pattern).parent).replace("{seed}", chunk_name(self.seeds))

    def message(self, text: str) -> str:
        """What Snakemake says of the job; `{wildcards.NAME}` in `text` stands for an arm's."""
        if not self.arms:
            return text
        first = text.format(wildcards=SimpleNamespace(**self.arms[0]))
        return f"{first}, and {len(self.arms) - 1} more"


def _fill(pattern: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        pattern = pattern.replace(f"{{{name}}}", value)
    return pattern


def of_any_arm(plan: Plan, stage: str) -> list[Batch]:
    """The rules with wildcards of a stage, one for each chunk of seeds."""
    return [Batch(plan, stage, chunk) for chunk in plan.chunks]


def of_several_arms(plan: Plan, there: Callable[[str], bool] = lambda path: False) -> list[Batch]:
    """Batches of the arms that are still to be done.

    Arms of one set with the same params and with inputs from the same stages, at most `arms_per_job` together, in the
    order of the experiments.

    Args:
        plan: the plan.
        there: whether a file is there. An arm that is done is left to the rule with wildcards, so that another's job
            never makes it again.
    """
    if not plan.config.arms_per_job:
        return []
    groups: dict[tuple, list[Arm]] = {}
    needed = [each for experiment in plan.rows for each in jobs_of(plan, experiment)]
    for job, chunk in dict.fromkeys(pair for jobs in needed for pair in jobs.items()):
        if plan.config.arms_of(job.stage) == 1 or job.stage not in OPTIONS:
            continue
        axes = job_of(job.path)[1]
        # Weights may have been deleted once there were metrics
        made = [job.path, paths.METRICS.format(**axes)] if job.stage == "train" else [job.path]
        if any(all(there(plan.under(file.replace("{seed}", str(seed)))) for seed in chunk) for file in made):
            continue
        arm = {name: value for name, value in axes.items() if name != "seed"}
        if job.stage == "sample" and plan.selections[arm["dataset"], arm["selection"]].selector in plan.published:
            continue  # a list from elsewhere
        sources = [job_of(path)[0].stage for path in inputs_of(plan, job.stage, arm)]
        options = OPTIONS[job.stage](plan, SimpleNamespace(**arm))
        groups.setdefault((job.stage, chunk, arm["dataset"], repr(sources), repr(options)), []).append(arm)
    found = []
    for (stage, chunk, *_), arms in groups.items():
        step = plan.config.arms_of(stage)
        parts = [tuple(arms[i : i + step]) for i in range(0, len(arms), step)]
        found += [Batch(plan, stage, chunk, part) for part in parts if len(part) > 1]
    return found


def keep_batches(found: Iterable[Batch], folder: Path) -> None:
    """Write each batch under its name, for the jobs of a cluster, which see files that were not there before."""
    for batch in found:
        write_json(folder / f"{batch.name}.json", {"stage": batch.stage, "seeds": batch.seeds, "arms": batch.arms})


def kept_batches(plan: Plan, names: Iterable[str], folder: Path) -> list[Batch]:
    """The batches of these names that were kept; of other names none."""
    files = [folder / f"{name}.json" for name in dict.fromkeys(names)]
    kept = [json.loads(file.read_text()) for file in files if file.exists()]
    return [Batch(plan, each["stage"], tuple(each["seeds"]), tuple(each["arms"])) for each in kept]


def count_jobs(plan: Plan) -> tuple[Counter[str], Counter[str]]:
    """Stage -> how many jobs the plan has, and how many there were if no experiment, run or arm shared any.

    A job does a chunk of seeds (`seeds_per_job`); a pack is for all of them. Drawing and collecting are not counted.
    """
    batch_of = {
        (Job(batch.stage, _fill(OUTPUTS[batch.stage][0], arm)), batch.seeds): batch.name
        for batch in of_several_arms(plan)
        for arm in batch.arms
    }
    shared: dict[Any, str] = {}
    apart: Counter[str] = Counter()
    for experiment in plan.rows:
        for needed in jobs_of(plan, experiment):
            apart.update(job.stage for job in needed)
            shared |= {batch_of.get(pair, pair): pair[0].stage for pair in needed.items()}
    return Counter(shared.values()), apart
