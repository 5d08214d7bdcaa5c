"""Faults of what trainings keep: the state that a run goes on from, and a pack that is damaged and then repaired."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from dqv2.plan import Plan
from dqv2.plan.walk import PlannedJob
from dqv2.runtime.job import run_job
from dqv2.train.checkpointed import CheckpointedLoop
from tests.damage import BYTES
from tests.faults import base
from tests.faults.tries import Outcome, Try
from tests.jobs import request_of

WARNING = "has changed since it was saved"


def _damages() -> dict[str, Callable[[Path], None]]:
    return BYTES | {"gone": Path.unlink}


class Tries:
    """A training of each stage that keeps its state."""

    def __init__(self, kept: Path, plan: Plan):
        self.plan, self.sound = plan, kept / "base"
        self.jobs: dict[str, PlannedJob] = {}
        for job in plan.jobs(plan.targets()):
            if job.stage.resumes:
                self.jobs.setdefault(job.stage.name, job)
        self.pack = next(job for job in plan.jobs(plan.targets()) if job.stage.name == "pack")

    def all(self) -> Iterator[Try]:
        """Every fault of every file that is kept; checkpoints; the poisoned state."""
        for stage, job in self.jobs.items():
            below = self._state(self.sound, job)
            for file in sorted(path for path in below.rglob("*") if path.is_file()):
                name = file.relative_to(self.sound).as_posix()
                for fault, damage in _damages().items():
                    yield Try(fault, stage, name, self._finished(job, name, damage))
            for fault, damage in (_damages() | {"stopped": lambda file: None}).items():
                yield Try(fault, stage, "checkpoint.pt", self._checkpoint(job, damage))
            for how in ("while its state was kept", "before its first run"):
                yield Try("pack damaged, then repaired", stage, how, self._poisoned(job, how))

    def _state(self, folder: Path, job: PlannedJob) -> Path:
        first = next(self.plan.file_of(job, name) for name in job.stage.writes if name != "record")
        return folder / str(Path(first).parent).replace(base.RUN, f"{base.RUN}/resume", 1)

    def _again(self, folder: Path, job: PlannedJob, said: str = "") -> Outcome:
        """Run a training once more, which ends well, and look at its bytes."""
        code, text = base.run(self.plan, job, folder)
        if code != 0:
            return Outcome("hang" if code is None else "traceback" if "Traceback" in text else "stuck", text)
        if wrong := base.differences(self.sound, folder, self._results(job)):
            return Outcome("silent wrong", f"{wrong}\n{text}")
        return Outcome("remade" if WARNING in text + said else "same bytes", text + said)

    def _results(self, job: PlannedJob) -> list[str]:
        return [self.plan.file_of(job, name) for name in job.stage.writes if name != "record"]

    def _finished(self, job: PlannedJob, name: str, damage: Callable[[Path], None]) -> Callable[[Path], Outcome]:
        def attempt(scratch: Path) -> Outcome:
            folder = base.clone(self.sound, scratch / "clone")
            for file in self.plan.files_of(job):
                base.remove(folder / file)
            base.own(folder / name)
            damage(folder / name)
            outcome = self._again(folder, job)
            return outcome if outcome.kind not in ("same bytes", "remade") else self._again(folder, job, outcome.said)

        return attempt

    def _checkpoint(self, job: PlannedJob, damage: Callable[[Path], None]) -> Callable[[Path], Outcome]:
        def attempt(scratch: Path) -> Outcome:
            folder = base.clone(self.sound, scratch / "clone")
            base.remove(self._state(folder, job))
            for file in self.plan.files_of(job):
                base.remove(folder / file)
            code, said = base.here(folder, lambda: stopped_at_step(request_of(self.plan, job), 1))
            if code != 128 + signal.SIGTERM:
                return Outcome("traceback", said)
            for file in self._state(folder, job).rglob("checkpoint.pt"):
                damage(file)
            return self._again(folder, job)

        return attempt

    def _poisoned(self, job: PlannedJob, how: str) -> Callable[[Path], Outcome]:
        """All pixels are overwritten, something is trained, the pack is made anew, and it is trained again."""

        def attempt(scratch: Path) -> Outcome:
            folder = base.clone(self.sound, scratch / "clone")
            if how == "before its first run":
                base.remove(self._state(folder, job))
            pixels = folder / self.plan.file_of(self.pack, "train") / "images.npy"
            base.own(pixels)
            stored = bytearray(pixels.read_bytes())
            stored[128:] = bytes(255 - value for value in stored[128:])
            pixels.write_bytes(stored)
            code, said = base.run(self.plan, job, folder)
            if code == 0 and base.differences(self.sound, folder, self._results(job)):
                return Outcome("silent wrong", said)
            if code not in (0, 1) or "Traceback" in said:
                return Outcome("hang" if code is None else "traceback", said)
            code, text = base.run(self.plan, self.pack, folder)
            if code != 0:
                return Outcome("stuck", text)
            again = self._again(folder, job)
            return Outcome("refused", said) if again.kind == "same bytes" else again

        return attempt


def stopped_at_step(request: dict, step: int) -> int:
    """Run a training that is asked to stop as it has made so many steps."""
    made = CheckpointedLoop.stepped

    def stepped(self, *args):
        if self.step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return made(self, *args)

    CheckpointedLoop.stepped = stepped
    try:
        return run_job(request)
    finally:
        CheckpointedLoop.stepped = made
