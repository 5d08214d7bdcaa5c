"""Running a job: what a stage is given, and what happens around its work: log, device, resume state, record, and one
clear sentence when it fails."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from dqv2.runtime import lease, record
from dqv2.runtime.logging import log_to, logger, say
from dqv2.runtime.sentences import sentence
from dqv2.runtime.stop import Stopped, stop_signals
from dqv2.runtime.warm import THREADS
from dqv2.stages import stage as stage_of

if TYPE_CHECKING:
    import torch

    from dqv2.runtime.resume import Resume

Found = TypeVar("Found")


class Job:
    """What a stage is given.

    Attributes:
        inputs, outputs: name -> the file, or a list of files.
        input, output: the same, as attributes.
        options: what the result depends on, as the stage declares it, and the stage's version.
        wildcards: the axes in its paths, as text.
        threads: number of CPU cores.
        resources: the rule's resources.
        log: the log file.
        config: the whole configuration, for what is deliberately not among the options (such as URLs).
        seconds: of the stage's own work; None: all of the job's time counts.
    """

    def __init__(self, request: dict[str, Any]):
        self.stage = stage_of(request["stage"])
        self.inputs, self.outputs = request["input"], request["output"]
        self.input, self.output = SimpleNamespace(**self.inputs), SimpleNamespace(**self.outputs)
        self.options: dict[str, Any] = request["options"]
        self.wildcards = SimpleNamespace(**request["wildcards"])
        self.threads: int = request["threads"]
        self.resources: dict[str, Any] = request["resources"]
        self.log: str = request["log"]
        self.config: dict[str, Any] = request["config"]
        self.seconds: float | None = None
        self.memory_before = round(psutil.Process().memory_info().rss / 1e6, 1)  # MB, of libraries

    @property
    def name(self) -> str:
        """The job's stage and wildcards, for messages."""
        return " ".join([self.stage.name, *filter(None, vars(self.wildcards).values())])

    @property
    def seed(self) -> int:
        """The seed in its paths."""
        return int(self.wildcards.seed)

    def generator(self, *purpose: object) -> torch.Generator:
        """A CPU generator determined by the job's seed and a purpose."""
        from dqv2.runtime.seeding import generator

        return generator(self.seed, *purpose)

    @cached_property
    def device(self) -> torch.device:
        """The device for its network."""
        from dqv2.runtime.device import use_device

        return use_device(self.threads)

    def load(self, name: str, read: Callable[[str], Found]) -> Found | None:
        """`read` applied to an optional input; None where the job does not have it."""
        files = self.inputs[name]
        return read(*files) if files else None

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Time the stage's own work within the context: these seconds are its cost. Waits for a GPU at the end."""
        began = time.perf_counter()
        yield
        if self.stage.model and self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)
        self.seconds = (self.seconds or 0.0) + time.perf_counter() - began

    @cached_property
    def checksums(self) -> dict[str, list[dict[str, Any]]]:
        """Name -> checksums of the inputs, after comparing them with the records of the jobs that made them."""
        return record.checksums_of(self.inputs)

    @cached_property
    def resume(self) -> Resume:
        """The resume state of this very job, which is kept apart from its outputs:

        results/demo/digits/train/.../model.pt -> results/demo/resume/digits/train/...
        """
        import torch

        from dqv2.runtime.device import describe
        from dqv2.runtime.resume import Resume

        parts = Path(next(path for name, path in self.outputs.items() if name != "record")).parts
        cut = parts.index("results") + 2
        depends_on = {
            "stage": self.stage.name,
            "options": self.options,
            "seed": getattr(self.wildcards, "seed", None),
            "inputs": {name: [each["checksum"] for each in found] for name, found in self.checksums.items()},
            "device": describe(self.device),
            "threads": self.threads,
            "torch": torch.__version__,
            **self._precision(),
        }
        return Resume(Path(*parts[:cut], "resume", *parts[cut:-1]), depends_on)

    def _precision(self) -> dict[str, str]:
        """What `precision: auto` stands for on its device; empty where the options say it."""
        from dqv2.runtime.device import fast_precision

        return {"precision": fast_precision(self.device)} if self.options.get("precision") == "auto" else {}

    def facts(self, wall_seconds: float) -> dict[str, Any]:
        """The content of its record, once it has done its work."""
        own = wall_seconds if self.seconds is None else self.seconds
        found = {
            "stage": self.stage.name,
            "version": self.stage.version,
            "options": self.options,
            "wildcards": vars(self.wildcards),
            "inputs": self.checksums,
            **record.written(self.outputs),
            "seconds": round(own, 4),
            "wall_seconds": round(wall_seconds, 4),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "device": "CPU",
            "cpu": record.cpu(),
            "device_memory_mb": None,
            "threads": self.threads,
            "versions": record.versions(),
            "commit": record.commit(),
        }
        if self.stage.model:
            from dqv2.runtime.device import describe, peak_memory

            found |= {"device": describe(self.device), "device_memory_mb": peak_memory(self.device)} | self._precision()
        return found | record.used() | {"memory_before_mb": self.memory_before}


def run_job(request: dict[str, Any]) -> int:
    """Run a job on the devices that its rule asks for (resource `gpu`); returns the exit code of its process.

    When it fails, the traceback goes to the log and one sentence to the terminal, and the code is 1. When it is asked
    to stop, the code is 128 + the signal's number, as in a shell: its progress is saved, and the job resumes from there
    when it is started again.
    """
    began = time.perf_counter()
    job = Job(request)
    log_to(job.log)
    if number := os.environ.get("SLURM_JOB_ID"):
        logger.info("in the SLURM job %s", number)
    try:
        with stop_signals(), _devices(job):
            _work(job, began)
    except Stopped as stopped:
        logger.info("stopped", exc_info=True)
        goes_on = "resumes from what it saved" if job.stage.resumes else "begins from the start"
        print(f"\n{job.stage.name} was {stopped}; started again, it {goes_on}\n", file=sys.stderr)
        return 128 + stopped.signum
    except (Exception, SystemExit) as error:
        logger.info("failed", exc_info=True)
        ended = f"its code ended the process with sys.exit({error.code!r})" if isinstance(error, SystemExit) else None
        said = ended or sentence(error, [job.log, *job.outputs.values()])
        print(f"\nError in {job.stage.name}: {said}\n(the whole story: {job.log})\n", file=sys.stderr)
        return 1
    return 0


def _work(job: Job, began: float) -> None:
    _limit_threads(job.threads)
    files = [Path(file) for file in job.outputs.values()]
    job.checksums  # noqa: B018  (refuses damaged inputs before anything is read)
    if job.stage.resumes and job.resume.restore(*files):
        say(f"{job.name}: was finished before")
        return
    job.stage.run(job)
    for name, file in job.outputs.items():
        if name != "record" and not Path(file).exists():
            raise ValueError(f"{job.stage.name} did not write {name} ({file})")
    if "record" in job.outputs:
        record.write(job.output.record, job.facts(time.perf_counter() - began))
    if job.stage.resumes:
        job.resume.finish(*files)


def _limit_threads(threads: int) -> None:
    """Limit the threads of libraries; those loaded before may not have seen Snakemake's environment variables."""
    os.environ |= dict.fromkeys(THREADS, str(threads))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


@contextmanager
def _devices(job: Job) -> Iterator[None]:
    """Hold the job's devices within the context; logs which, and when."""
    # Who imports the rules as a module may replace a rule's resources, and forget `gpu`
    defaults = {"gpu": job.stage.model, "jobs_per_gpu": 1}
    wanted, shared = (int(job.resources.get(name, default)) for name, default in defaults.items())
    with lease.take(wanted, jobs_per_device=shared, job=job.name) as held:
        if held.devices:
            logger.info("took %s: process %d, %s", held, os.getpid(), _now())
        try:
            yield
        finally:
            if held.devices:
                logger.info("gave back %s: process %d, %s", held, os.getpid(), _now())


def _now() -> str:
    return datetime.now().isoformat(timespec="milliseconds")
