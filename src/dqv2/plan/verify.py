"""Checking results by their records, not Snakemake's: are they what their jobs wrote, and match the configuration?"""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dqv2.config import ConfigError, load_config
from dqv2.plan.plan import Plan
from dqv2.plan.walk import PlannedJob
from dqv2.runtime import record
from dqv2.runtime.files import read_json
from dqv2.runtime.files import remove as remove_path
from dqv2.runtime.sentences import counted
from dqv2.stages import all_stages, stage

Made = Callable[[Path], dict[str, str]]
NOTES = Path(".snakemake/metadata")
LOCKS = Path(".snakemake/locks")
NOT_RESULTS = ("resume",)  # below results/<run>/: the state of trainings


class Finding(NamedTuple):
    """What is wrong with a file.

    Attributes:
        kind: damaged (not what its job wrote), stale (made with other options, or from other inputs than are there
            now), foreign (not written by any job), changed (a link of an exported coreset to an image that is no longer
            the one that was packed), gone (Snakemake makes it again where something needs it), orphaned (sound, but of
            a job that the configuration does not have).
        file: the file.
        what: what is wrong, in a sentence.
        outputs: all files of its job; empty where no job is known.
    """

    kind: Literal["damaged", "stale", "foreign", "changed", "gone", "orphaned"]
    file: str
    what: str
    outputs: tuple[str, ...] = ()

    @property
    def bad(self) -> bool:
        """Whether its job has to be done again: damaged or stale."""
        return self.kind in ("damaged", "stale")


def require_root(folder: str) -> str:
    """The folder of a run's results, normalised; raises ConfigError for anything else than results/<run>."""
    root = Path(folder)
    if not root.is_dir() or root.parent != Path("results") or root.name == "..":
        raise ConfigError(f"no run is in {folder}: name a folder results/<run> of this folder ({Path.cwd()})")
    return root.as_posix()


def require_no_run(root: str) -> None:
    """Raise ConfigError where Snakemake's lock says that a run is writing these results: they are damaged or stale only
    until its jobs end."""
    for lock in LOCKS.glob("*.output.lock"):
        with suppress(FileNotFoundError):  # the run has just ended
            if any(file.startswith(f"{root}/") for file in lock.read_text(encoding="utf-8").splitlines()):
                raise ConfigError(
                    f"a run is writing {root}: wait until it ends; if it was killed, repeat its command with --unlock"
                )


def asked_of(root: str) -> dict[str, Any]:
    """The configuration of a run's last command, as stored with its results.

    Raises:
        ConfigError: it is missing, damaged, of another version, or of another run; the message names the file.
    """
    file = f"{root}/config.json"
    asked = read_json(file)
    if not isinstance(asked, dict):
        raise ConfigError(
            f"{file} is gone or damaged: have any job of the run done again, which writes it (--forcerun page)"
        )
    try:
        config = load_config(asked)
    except ConfigError as error:
        raise ConfigError(f"{file}, which a run of another version may have left: {error}") from None
    if config.run != Path(root).name:
        raise ConfigError(
            f"{file} is of the run {config.run!r}, not of {root}: it was copied there, or the folder renamed: give the "
            f"folder its name back, or make all of it again (snakemake --forceall --config run={Path(root).name})"
        )
    return asked


def verify(root: str, plan: Plan | None = None) -> Iterator[Finding]:
    """Check all results of a run: recompute every checksum, and follow the records.

    root: results/<run>. plan: what results are compared with; without it nothing is orphaned or stale for its options.
    """
    records = sorted(records_below(root))
    known = {*map(str, records), f"{root}/config.json"}
    made, gone = cache(_made), set()
    for path in records:
        try:
            kept = record.read(path)
        except ValueError as error:
            outputs = _files_of(plan, str(path)) or (str(path),)
            known.update(outputs)
            yield Finding("damaged", str(path), str(error), outputs)
            continue
        if kept["stage"] not in all_stages() or record.of_others(path, kept):
            outputs = _files_of(plan, str(path))
            known.update(outputs)
            what = "it is the record of other files than those next to it"
            yield Finding("damaged" if outputs else "foreign", str(path), what, outputs)
            continue
        outputs = (str(path), *kept["outputs"])
        known.update(outputs)
        found = [each for each in _of_job(path, kept, plan, made) if each[0] != "gone" or each[1] not in gone]
        gone.update(file for kind, file, _ in found if kind == "gone")
        yield from (Finding(kind, file, what, outputs) for kind, file, what in found)
    for job in plan.jobs([*plan.targets(), *plan.exports()]) if plan else ():
        outputs = tuple(plan.files_of(job))
        there = [file for file in outputs if Path(file).exists() and file not in known]
        if there and "record" in job.stage.writes:
            known.update(outputs)
            yield Finding("damaged", there[0], "it has no record, so nobody knows what it is", outputs)
    for file in _files_below(root, known):
        yield Finding("foreign", file, "no job made it: move it out of results/, or remove it")


def records_below(root: str) -> Iterator[Path]:
    """The records of a run's jobs."""
    return (Path(folder, "record.json") for folder, names in _folders(root, set()) if "record.json" in names)


def _folders(root: str, known: set[str]) -> Iterator[tuple[str, list[str]]]:
    """The folders of a run, following links, each with the names of its files; without known folders and leftovers of
    killed processes."""
    seen = set()
    for folder, below, names in os.walk(root, followlinks=True, onerror=_unreadable):
        if (real := os.path.realpath(folder)) in seen:  # by another link
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if f"{folder}/{name}" not in known and not name.startswith(".tmp-"))
        if folder == root:
            below[:] = [name for name in below if name not in NOT_RESULTS]
        yield folder, sorted(names)


def _unreadable(error: OSError) -> None:
    """Raise for a folder that cannot be read, as its content is unknown; one that has vanished is ignored."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _files_below(root: str, known: set[str]) -> Iterator[str]:
    """The files of a run that are not known, except the timestamps that Snakemake puts into output folders."""
    for folder, names in _folders(root, known):
        own = (name for name in names if not name.startswith((".tmp-", ".snakemake_timestamp")))
        yield from (f"{folder}/{name}" for name in own if f"{folder}/{name}" not in known)


def _files_of(plan: Plan | None, record_file: str) -> tuple[str, ...]:
    """All files of the job whose record has this path; empty where the plan has no such job."""
    job = plan.job_making(record_file) if plan else None
    return tuple(plan.files_of(job)) if job and not plan.unknown(job) else ()


def remove(findings: Iterable[Finding], root: str, plan: Plan | None = None) -> list[str]:
    """Remove what is damaged or stale, all other files of its job, and what was made from it; returns these.

    So the next run makes all of it again: Snakemake does not make a missing file between two existing ones. Dependent
    results that the plan does not have stay. Inputs are removed after what was made from them, so that an interrupted
    removal leaves the information about the rest.
    """
    bad = {file for each in findings if each.bad for file in each.outputs}
    jobs = []
    for path in records_below(root):
        try:
            kept = record.read(path)
        except ValueError:  # it is among the findings itself
            continue
        if plan is None or why_orphaned(plan, kept) is None:
            inputs = {each["file"] for each in record.inputs_of(kept)}
            jobs.append((inputs, {str(path), *kept["outputs"]}))
    while after := [files for inputs, files in jobs if inputs & bad and not files <= bad]:
        bad.update(*after)
    there = {file for file in bad if Path(file).exists() or Path(file).is_symlink()}
    for file in _readers_first(there, jobs):
        remove_path(Path(file))
    return sorted(there)


def _readers_first(files: set[str], jobs: list[tuple[set[str], set[str]]]) -> list[str]:
    """Files ordered so that each comes after what was made from it; the record is the last of each job.

    jobs: the inputs and the files of each job.
    """
    maker = {file: job for job, (_, own) in enumerate(jobs) for file in own}
    order: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(range(len(jobs)), ()))
    for job, (inputs, _) in enumerate(jobs):
        for file in inputs & maker.keys():
            order.add(maker[file], job)
    found: list[str] = []
    for job in order.static_order():
        found += sorted(jobs[job][1] & files, key=lambda file: (Path(file).name == "record.json", file))
    return [*found, *sorted(files - {*found})]


def _of_job(path: Path, kept: dict[str, Any], plan: Plan | None, made: Made) -> Iterator[tuple[Any, str, str]]:
    for file in kept["outputs"]:
        if not Path(file).exists():
            yield "gone", file, "it is not there"
            continue
        links = record.linked(file, kept)
        if changed := [name for name, same in links.items() if not same]:
            yield "changed", f"{file}/{changed[0]}", _of_links(path, kept, Path(file, changed[0]), len(changed))
        try:
            record.compare(file, kept, whole=True, without=links)
        except ValueError as error:
            yield "damaged", file, str(error)
        for name in sorted(_strange(Path(file), kept.get("files", {}).get(file, {}))):
            yield "foreign", name, "its job did not make it, and who reads the folder finds it: remove it"
    for each in record.inputs_of(kept):
        if record.record_beside(each["file"]) and not Path(each["file"]).exists():
            yield "gone", each["file"], f"it is not there, and {path.parent} was made from it"
        elif why := _other_input(each, made):
            yield "stale", str(path), why
    if plan and (why := why_orphaned(plan, kept)):
        yield "orphaned", str(path), why
    elif plan and (why := why_stale(plan, kept)):
        yield "stale", str(path), why


def _of_links(path: Path, kept: dict[str, Any], first: Path, count: int) -> str:
    """What to do where the images behind some links of an exported coreset have changed.

    path: the path of its record. kept: the record. first: one of the links. count: their number.
    """
    options = stage("pack").writes["options"].format_map(kept["wildcards"])
    return (
        f"{counted(count, 'image')} to which this coreset links changed or went after packing, the first is "
        f"{first.readlink()}: put them back, or have the set packed again, with all that follows: add --forcerun "
        f"{Path(*path.parts[:2])}/{options} to the command of the run"
    )


def _strange(folder: Path, known: dict[str, str]) -> Iterator[str]:
    """The paths in an output folder that its job did not write."""
    for path in folder.rglob("*") if known else ():
        inside = path.relative_to(folder).as_posix()
        own = inside in known or path.name.startswith(".snakemake_timestamp")
        if not own and (path.is_symlink() or not path.is_dir()):
            yield str(path)


def _made(beside: Path) -> dict[str, str]:
    """The checksums of a job's outputs, by its record; empty where it cannot be read, which is reported separately."""
    try:
        return record.read(beside)["outputs"]
    except ValueError:
        return {}


def _other_input(each: dict[str, Any], made: Made) -> str | None:
    """Why an input differs from the one that was read, by its own record; None where it does not."""
    beside = record.record_beside(each["file"])
    if beside is None or not beside.exists() or not Path(each["file"]).exists():
        return None
    if beside == Path(each["file"]):
        now = record.checksum(beside) if beside.is_file() else None
    else:
        now = made(beside).get(each["file"], each["checksum"])
    return None if now == each["checksum"] else f"it was made from another {each['file']}"


def why_orphaned(plan: Plan, kept: dict[str, Any]) -> str | None:
    """Why a job is not in the plan, in words; None where it is."""
    job = plan.job_making(next(iter(kept["outputs"]), ""))
    if job is None:
        return "the configuration has no such job"
    return plan.unknown(job)


def why_stale(plan: Plan, kept: dict[str, Any]) -> str | None:
    """Which options of a job, one that the plan has, differ from the configuration, in words; None where none do."""
    now = json.loads(json.dumps(plan.options(plan.job_making(next(iter(kept["outputs"]))))))
    said = [f"{key} was {_short(was)} and is {_short(is_)}" for key, was, is_ in _changed(kept["options"], now)]
    return f"it was made with other options: {'; '.join(said)}" if said else None


def _changed(was: dict[str, Any], now: dict[str, Any], within: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The options that differ, each with both values; those within a block one by one, as `selector.n_bins`."""
    for key in sorted(was.keys() | now.keys()):
        one, other = was.get(key), now.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _changed(one, other, f"{within}{key}.")
        elif one != other:
            yield f"{within}{key}", one, other


def stale_behind(plan: Plan, jobs: Iterable[PlannedJob]) -> Iterator[str]:
    """A sentence for each stale result that these jobs depend on and do not make themselves.

    An example is an older backup that was restored: its record is sound, and Snakemake accepts anything newer.
    """
    waiting, made = set(jobs), cache(_made)
    for job in _recorded(plan, (file for each in waiting for file in plan.files_read(each))):
        kept = None if job in waiting else _kept(plan, job)  # where it is gone or damaged, who reads it says so
        if kept and (why := _why_other(plan, kept, made)):
            yield f"{next(iter(kept['outputs']))} is stale: {why}."


def finished(plan: Plan, files: Iterable[str]) -> bool:
    """Whether all results that files are made from, and they themselves, are done and not stale, by the records."""
    made, kept = cache(_made), (_kept(plan, job) for job in _recorded(plan, files))
    return all(each is not None and _why_other(plan, each, made) is None for each in kept)


def _recorded(plan: Plan, files: Iterable[str]) -> Iterator[PlannedJob]:
    """The jobs behind files that leave records."""
    return (job for job in plan.jobs(files) if "record" in job.stage.writes)


def _kept(plan: Plan, job: PlannedJob) -> dict[str, Any] | None:
    """The record of a job; None where it is gone, damaged or of other files."""
    path = Path(plan.file_of(job, "record"))
    try:
        kept = record.read(path)
    except ValueError:
        return None
    return None if record.of_others(path, kept) else kept


def _why_other(plan: Plan, kept: dict[str, Any], made: Made) -> str | None:
    """Why a job's results are stale, for its options or its inputs; None where they are not."""
    others = (_other_input(each, made) for each in record.inputs_of(kept))
    return why_stale(plan, kept) or next(filter(None, others), None)


def _short(value: Any) -> str:
    text = "not there" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def unnoticed(plan: Plan, notes: str | Path = NOTES) -> list[str]:
    """Results that are or may be stale and that Snakemake would accept, as it has no metadata: path and reason.

    notes: Snakemake's metadata folder, with a file per output, named after it in base64.
    """
    found = []
    for folder, names in _folders(plan.root, set()):
        # A note may be empty, after a loss of power, or be gone of one file alone
        if "record.json" not in names or all(read_json(_note_of(f"{folder}/{n}", Path(notes))) for n in names):
            continue
        path = Path(folder, "record.json")
        try:
            kept = record.read(path)
        except ValueError as error:
            found.append(str(error))
            continue
        if record.of_others(path, kept):
            found.append(f"{path}: it is the record of other files than those next to it, as of a run that was copied")
        elif why_orphaned(plan, kept) is None and (why := why_stale(plan, kept) or _of_lost(kept)):
            found.append(f"{path}: {why}")
    return found


def _of_lost(kept: dict[str, Any]) -> str | None:
    """Which input of a job is gone with its record and Snakemake's note of it; None where none is."""
    behind = (record.record_beside(each["file"]) for each in record.inputs_of(kept))
    lost = (path for path in behind if path and not path.exists() and not read_json(_note_of(str(path), NOTES)))
    why = "of what it was made from is gone, so its options are unknown (--forceall makes all again)"
    return next((f"{path} {why}" for path in lost), None)


def _note_of(output: str, notes: Path) -> Path:
    name = urlsafe_b64encode(output.encode()).decode()
    *folders, last = (name[i : i + 254] for i in range(0, len(name), 254))
    return Path(notes, *(f"@{part}" for part in folders), last)
