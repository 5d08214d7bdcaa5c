"""Faults of files: every output of every stage is damaged, replaced, or set to another time; what reads it runs."""

import os
import random
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dqv2.plan import Plan
from dqv2.plan.before import check_jobs, require_fresh, set_clocks
from dqv2.plan.verify import remove, verify
from dqv2.plan.walk import PlannedJob
from tests.damage import BYTES, ROWS
from tests.faults import base
from tests.faults.tries import SLOW, Outcome, Try

DAY = 86400


class Place(NamedTuple):
    """A file to damage: of which job, and which jobs read it."""

    job: PlannedJob
    file: str
    readers: list[PlannedJob]


def places(plan: Plan) -> list[Place]:
    """The files of one job of every stage: the one that reads most."""
    jobs = plan.jobs(plan.targets())
    chosen: dict[str, PlannedJob] = {}
    for job in jobs:
        best = chosen.setdefault(job.stage.name, job)
        if len(plan.files_read(job)) > len(plan.files_read(best)):
            chosen[job.stage.name] = job
    reading: dict[str, list[PlannedJob]] = {}
    for job in jobs:
        for file in plan.files_read(job):
            reading.setdefault(file, []).append(job)
    found = []
    for job in chosen.values():
        beside = [each for file in plan.files_of(job) for each in reading.get(file, [])]
        for file in plan.files_of(job):
            readers = beside if file.endswith("/record.json") else reading.get(file, [])
            found.append(Place(job, file, list(dict.fromkeys(readers))))
    return found


def _sibling(plan: Plan, job: PlannedJob) -> PlannedJob | None:
    """The same job of another seed, if the plan has it; else any other of its stage."""
    others = [each for each in plan.jobs(plan.targets()) if each.stage is job.stage and each != job]
    seedless = {key: value for key, value in job.wildcards if key != "seed"}
    of_seed = [each for each in others if {k: v for k, v in each.wildcards if k != "seed"} == seedless]
    return next(iter(of_seed + others), None)


class Tries:
    """The tries of files, on a clone of the base that each of them begins with."""

    def __init__(self, kept: Path, plan: Plan):
        self.plan, self.kept, self.sound = plan, kept, kept / "base"
        self.order = list(plan.jobs(plan.targets()))
        # Of what a job writes Snakemake misses what is asked for, or read
        self.wanted = {*plan.targets(), *(file for job in self.order for file in plan.files_read(job))}

    def all(self) -> Iterator[Try]:
        """Every fault of every file."""
        for job, output, readers in places(self.plan):
            place = self.sound / output
            names = [output]
            if place.is_dir():
                names = [
                    f"{output}/{name}" for name in _some({each.name for each in place.iterdir() if each.is_file()})
                ]
            for name in names:
                for fault, change in self._faults(job, output, name).items():
                    yield Try(fault, job.stage.name, name, self._attempt(output, name, fault, change, readers))

    def _faults(self, job: PlannedJob, output: str, name: str) -> dict[str, Callable[[Path], None]]:
        """Fault -> what does it, given the clone."""
        sound = self.sound / name
        found = {fault: self._own(name, damage) for fault, damage in BYTES.items() if sound.stat().st_size}
        if name.endswith(".csv") and len(sound.read_bytes().splitlines()) > 3:
            found |= {fault: self._own(name, damage) for fault, damage in ROWS.items()}
        found["gone"] = lambda folder: (folder / name).unlink()
        found["clock ahead"] = self._own(name, lambda file: os.utime(file, (time.time() + DAY,) * 2))
        found["clock behind"] = self._own(name, lambda file: os.utime(file, (time.time() - 400 * DAY,) * 2))
        if name.endswith("record.json"):
            return found
        record = self.plan.file_of(job, "record")
        outputs = self.plan.files_of(job)
        if other := _sibling(self.plan, job):
            theirs = self.plan.files_of(other)
            pairs = dict(zip(outputs, theirs, strict=True))
            if self._differ(self.sound / (name.replace(output, pairs[output], 1)), sound):
                swap = name.replace(output, pairs[output], 1)
                found["another seed's file"] = lambda folder: _replace(folder, name, self.sound / swap)
                found["another seed's file with its record"] = lambda folder: (
                    _replace(folder, name, self.sound / swap),
                    _replace(folder, record, self.sound / pairs[record]),
                )
        older = self.kept / "older"
        if self._differ(older / name, sound):
            found["older backup of the file"] = lambda folder: _replace(folder, name, older / name)
        if name in (outputs[1], f"{outputs[1]}/images.npy"):  # once a job
            found["older backup of all its job's files"] = lambda folder: [
                _replace(folder, file, older / file) for file in outputs
            ]
        return found

    @staticmethod
    def _own(name: str, change: Callable[[Path], None]) -> Callable[[Path], None]:
        def changed(folder: Path) -> None:
            base.own(folder / name)
            change(folder / name)

        return changed

    @staticmethod
    def _differ(one: Path, other: Path) -> bool:
        return one.is_file() and one.read_bytes() != other.read_bytes()

    def _attempt(self, output, name, fault, change, readers) -> Callable[[Path], Outcome]:
        def attempt(scratch: Path) -> Outcome:
            draw = random.Random(fault + name)  # which of those that read it
            quick = [each for each in readers if each.stage.name not in SLOW] or (readers if fault == "flipped" else [])
            stage = draw.choice(sorted({each.stage.name for each in quick} or {""}))
            chosen = [draw.choice([each for each in quick if each.stage.name == stage])] if quick else []
            folder = base.clone(self.sound, scratch / "clone")
            change(folder)
            before = (folder / name).read_bytes() if (folder / name).exists() else None
            return self._ask(folder, output, chosen, before != (self.sound / name).read_bytes())

        return attempt

    def _ask(self, folder: Path, output: str, chosen: list[PlannedJob], hurt: bool) -> Outcome:
        """Run what reads it; do what is said; look at what is there in the end."""
        names = [file for each in chosen for file in self.plan.files_of(each)]
        for each in chosen:  # one that Snakemake runs begins without its outputs
            for file in self.plan.files_of(each):
                base.remove(folder / file)
        said, turns = [], 0
        while True:
            code, text = self._start(folder, chosen)
            said.append(text)
            if code is None:
                return Outcome("hang", text)
            if "Traceback (most recent call last)" in text or code not in (0, 1):
                return Outcome("traceback", text)
            if code == 0:
                break
            turns += 1
            if turns > 4:
                return Outcome("stuck", "\n---\n".join(said))
            if not self._follow(folder, text, by_hand=turns > 1 or len(text) % 2 == 0):
                return Outcome("unclear", text)
        own = [file for file in base.files_below(self.sound) if file.startswith(tuple(names))]
        if wrong := base.differences(self.sound, folder, own):
            return Outcome("silent wrong", f"{wrong}\n" + "\n---\n".join(said))
        if turns:
            outcome = Outcome("refused", said[0].strip())
        elif any("has changed since it was saved" in text for text in said):
            outcome = Outcome("remade", said[0].strip())
        else:
            outcome = Outcome("same bytes", "")
        return self._end(folder, output, outcome, hurt)

    def _start(self, folder: Path, chosen: list[PlannedJob]) -> tuple[int | None, str]:
        """What a run of Snakemake's does: a look at what there is, then the jobs of which outputs are missing."""
        waiting = [each for each in self.order if not self._whole(folder, each)]

        def look() -> int:
            require_fresh(self.plan, waiting)
            check_jobs(self.plan, waiting)
            set_clocks(self.plan, waiting)
            return 0

        code, said = base.here(folder, lambda: _sentence(look))
        for each in waiting if code == 0 else ():
            ran, text = base.run(self.plan, each, folder)
            code, said = ran, said + text
            if ran != 0:
                break
        return code, said

    def _whole(self, folder: Path, job: PlannedJob) -> bool:
        return all((folder / file).exists() for file in self.plan.files_of(job) if file in self.wanted)

    def _follow(self, folder: Path, text: str, *, by_hand: bool) -> bool:
        """Do what a sentence says: remove what it names, or let `dqv2 verify --remove` do it. Whether it says any."""
        named = re.findall(r"\(rm -r ([^)]+)\)", text) or re.findall(r"(\S+/record\.json) cannot be read", text)
        named = named or re.findall(
            r"The pack (\S+) is damaged: .* Delete that folder|(\S+) is damaged: remove it|remove (\S+), and run again",
            text,
        )
        named = ["".join(each) for each in named]
        if by_hand and named:
            for each in named:
                base.remove(folder / shlex.split(each)[0])
            return True
        if named or "dqv2 verify" in text:
            self._verify(folder, and_remove=True)
            return True
        return False

    def _verify(self, folder: Path, *, and_remove: bool = False) -> tuple[int | None, str]:
        """What is behind `dqv2 verify`, without reading the configuration again."""

        def look() -> int:
            found = [*verify(base.RUN, self.plan)]
            print(*found, sep="\n")
            if and_remove:
                print("removed", remove(found, base.RUN, self.plan))
            return int(any(each.kind not in ("gone", "orphaned") for each in found))

        return base.here(folder, look)

    def _end(self, folder: Path, output: str, outcome: Outcome, hurt: bool) -> Outcome:
        """`dqv2 verify` finds what is still wrong, and after its --remove and another run all is as it was."""
        code, text = self._verify(folder)
        if "Traceback" in text or code not in (0, 1):
            return Outcome("hang" if code is None else "traceback", text)
        if code == 0:
            still = base.differences(self.sound, folder)
            if still and all(f"kind='gone', file='{name}'" in text for name in still):  # nothing needs it
                return Outcome("named by verify", text)
            if still:
                return Outcome("unseen", f"{still}\n{text}")
            return Outcome("remade", "") if outcome.kind == "same bytes" and hurt else outcome
        if outcome.kind == "same bytes":
            outcome = Outcome("named by verify", text)
        self._verify(folder, and_remove=True)
        code, text = self._start(folder, [])
        if code != 0:
            return Outcome("stuck", text)
        code, text = self._verify(folder)
        if code != 0:
            return Outcome("stuck", text)
        if wrong := base.differences(self.sound, folder):
            return Outcome("silent wrong", f"after verify --remove: {wrong}")
        return outcome


def _some(names: set[str]) -> list[str]:
    """Of a folder's files: all, but only the first of many of one kind."""
    found: dict[str, str] = {}
    for name in sorted(names):
        found.setdefault(Path(name).suffix if len(names) > 8 else name, name)
    return sorted(found.values())


def _replace(folder: Path, name: str, source: Path) -> None:
    base.remove(folder / name)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder / name)


def _sentence(look: Callable[[], int]) -> int:
    try:
        return look()
    except ValueError as error:
        print(f"WorkflowError: {error}")
        return 1
