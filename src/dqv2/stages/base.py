"""The declaration of a stage. A stage's module is the only place that defines it: see docs/stage.md."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar, Literal

# The types of what stages are given, as names only: importing their modules would be circular
Plan = Any  # dqv2.plan.Plan
Reckoning = Any  # dqv2.cost.work.Reckoning
Work = Any  # dqv2.cost.work.Work
Job = Any  # dqv2.runtime.job.Job

Files = str | list[str]

# The outputs of a stage that draws one figure of an experiment
DRAWN = {"pdf": "{figures}/{experiment}.pdf", "png": "{figures}/{experiment}.png"}
DRAWN |= {"record": "figures/{experiment}/record.json"}


class Wildcards(SimpleNamespace):
    """The axes in a job's paths, all as text: dataset, seed, keep, ... With `|` a dict, as that of other axes is."""

    def __or__(self, other: dict[str, Any]) -> dict[str, Any]:
        return vars(self) | other


class Stage:
    """One step from images to figures: run by a rule of the same name, with a job for each value of its wildcards.

    Attributes:
        title: printed in figure 1 and in messages.
        version: incremented when the stage's results change (`dqv2 stages raise`); part of its params.
        writes: name -> pattern of an output, below `results/<run>/` unless it begins with {figures} or {root}. "record"
            is added next to the first output: what the job depended on, and its cost; "" leaves none.
        log: the pattern of a job's log below `logs/<run>/`: by default as its record lies below `results/<run>/`.
        model: whether it runs a network, so that its jobs ask for a GPU.
        account: how its seconds count in the cost of a coreset: "early" is a training before the selection, "" not at
            all (all methods need it equally, or it is not part of a method).
        resumes: whether a job saves its progress outside its outputs, and resumes from there.
        cores: CPU cores of a job; None: the configuration's `threads`.
        holds: the category of its files in the estimate of disk space.
        shows: the outputs that are targets when its experiment, or the run, is requested.
        shows_images: whether these show images of the dataset, which are not ours to publish.
    """

    name: ClassVar[str]
    log: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[int] = 1
    writes: ClassVar[dict[str, str]]
    model: ClassVar[bool] = False
    account: ClassVar[Literal["early", "selection", "training", ""]] = ""
    resumes: ClassVar[bool] = False
    cores: ClassVar[int | None] = 1
    holds: ClassVar[str] = "other"
    shows: ClassVar[tuple[str, ...]] = ()
    shows_images: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.name = cls.__module__.rpartition(".")[2]
        if not isinstance(getattr(cls, "writes", None), dict) or not cls.writes:
            raise ValueError(f"the stage {cls.__name__} has no writes, which name its outputs: see docs/stage.md")
        first = next(iter(cls.writes.values()))
        cls.writes = {"record": f"{first.rpartition('/')[0]}/record.json"} | cls.writes
        if record := cls.writes["record"]:
            cls.log = f"{record.removesuffix('/record.json')}.log"
        else:
            del cls.writes["record"]

    def makes(self, plan: Plan, w: Wildcards) -> bool:
        """Whether this stage makes the files with these wildcards, where other stages have the same patterns."""
        return True

    def reads(self, plan: Plan, w: Wildcards) -> dict[str, Files]:
        """Name -> the file that a job reads, or a list of files, possibly empty."""
        return {}

    def options(self, plan: Plan, w: Wildcards) -> dict[str, Any]:
        """What the result depends on besides inputs and seed, and nothing else, as builtins: its rule's params."""
        return {}

    def detail(self, plan: Plan, w: Wildcards) -> str:
        """One line on how a job is configured, printed in figure 1."""
        return ""

    def work(self, reckoning: Reckoning, w: Wildcards) -> Work:
        """The work of a job, for the estimate of its cost."""
        return reckoning.work()

    def builds(self, plan: Plan, w: Wildcards) -> dict[str, dict[str, Any]]:
        """The networks that a job builds, to be tried before the run: place in the configuration -> options."""
        return {}

    def published(self, plan: Plan, w: Wildcards) -> list[tuple[str, str]]:
        """The published weights that a job needs, each as (block of the configuration, name)."""
        return []

    def maps(self, plan: Plan, w: Wildcards) -> dict[str, str]:
        """The files of networks whose last feature map a job's result depends on, directly or through its inputs -> its
        use: "masks", or "importance" of patches."""
        return {}

    def run(self, job: Job) -> None:
        """Do a job."""
        raise NotImplementedError


class Tidy(Stage):
    """A stage that makes an experiment's tidy table, from which its figure and its table are drawn."""

    shows = ("csv",)
    writes = {"csv": "experiments/{experiment}.csv", "record": "experiments/{experiment}/record.json"}

    def makes(self, plan: Plan, w: Wildcards) -> bool:
        return plan.tabled(w.experiment) == self.name
