"""What a stage declares of itself. Its module is the only place that says any of it: see docs/stage.md."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar, Literal

# What stages are given, by name alone: they are imported by those that these are defined in
Plan = Any  # dqv2.plan.Plan
Reckoning = Any  # dqv2.cost.work.Reckoning
Work = Any  # dqv2.cost.work.Work
Job = Any  # dqv2.runtime.job.Job

Files = str | list[str]

# What a stage that draws one figure of an experiment writes
DRAWN = {"pdf": "{figures}/{experiment}.pdf", "png": "{figures}/{experiment}.png"}
DRAWN |= {"record": "figures/{experiment}/record.json"}


class Wildcards(SimpleNamespace):
    """What a job's paths carry, all of it text: dataset, seed, keep, ..."""


class Stage:
    """One step from images to figures: a rule of the same name runs it, a job for each value of its wildcards.

    Attributes:
        title: in words, as figure 1 and the table of stages print it.
        version: raised when the stage's results change (`dqv2 stages raise`); a part of its params.
        writes: name -> pattern of an output; below `results/<run>/`, but for those that begin with {figures} or {root}.
            "record" is added: what the job depended on and cost, beside its first output.
        model: whether it runs a network, so that a job asks for a GPU.
        account: what its seconds count as in the cost of a coreset: "early" is a training before anything is selected,
            "" nothing (every method needs it alike, or it is no work of the method's).
        resumes: whether a job keeps what it reached apart from its outputs, and finds it again.
        cores: of a job; None are as many as the key `threads` of the configuration says.
        holds: what its bytes are in the account of the disk.
        shows: the outputs that are asked for when its experiment, or the run, is.
        shows_images: whether images of the set can be seen in them, so that they are not ours to publish.
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
        first = next(iter(cls.writes.values()))
        cls.writes = {"record": f"{first.rpartition('/')[0]}/record.json"} | cls.writes
        # Each job's log lies below logs/<run>/ as its record does below results/<run>/
        cls.log = f"{cls.writes['record'].removesuffix('/record.json') or cls.name + '/{root}/{archive}'}.log"
        if cls.writes["record"] == "":  # it leaves none
            del cls.writes["record"]

    def makes(self, plan: Plan, w: Wildcards) -> bool:
        """Whether it is this stage that makes files of its patterns, where others have the same."""
        return True

    def reads(self, plan: Plan, w: Wildcards) -> dict[str, Files]:
        """Name -> the file that a job reads, or a list of any number of them."""
        return {}

    def options(self, plan: Plan, w: Wildcards) -> dict[str, Any]:
        """What the result depends on besides what it reads and its seed: builtins, and only that; its rule's params."""
        return {}

    def detail(self, plan: Plan, w: Wildcards) -> str:
        """What the configuration says of a job, in a line: figure 1 prints it."""
        return ""

    def work(self, reckoning: Reckoning, w: Wildcards) -> Work:
        """What a job has to do, for the estimate of its cost."""
        return reckoning.work()

    def builds(self, plan: Plan, w: Wildcards) -> dict[str, dict[str, Any]]:
        """The network that a job builds, where one could be asked for that cannot be: key of the configuration ->
        options."""
        return {}

    def published(self, plan: Plan, w: Wildcards) -> list[tuple[str, str]]:
        """The published weights that a job wants, each as (block of the configuration, name)."""
        return []

    def maps(self, plan: Plan, w: Wildcards) -> dict[str, str]:
        """The files of networks whose last feature map a job's result rests on, if only by way of what it reads ->
        what it is used for: "masks", or "importance" of patches."""
        return {}

    def run(self, job: Job) -> None:
        """Do a job."""
        raise NotImplementedError
