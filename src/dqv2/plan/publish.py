"""Publishing a run: a folder of small files, from which all figures and tables can be redrawn.

published/cifar10/
    config.json           the configuration, all files merged
    experiments/*.csv     the tidy tables: a row per run
    claims.csv, claims.md the paper's claims, tested
    figures/*             figures and tables as the run drew them
    coresets/**.csv.gz    the ids of every coreset, as `sample` wrote them
    records.jsonl.gz      the record of every job: options, checksums, seconds, device, versions, commit
    SHA256SUMS            of all these files, as sha256sum writes it
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from dqv2.config import ConfigError, load_config
from dqv2.config.base import as_list
from dqv2.plan.plan import Plan
from dqv2.plan.verify import asked_of, finished, records_below, verify, why_stale
from dqv2.plan.walk import PlannedJob
from dqv2.runtime import record
from dqv2.runtime.crate import of_all_sets, results_of
from dqv2.runtime.files import atomic_dir, load_json, require_regular, sha256, write_json
from dqv2.runtime.sentences import counted
from dqv2.stages import stage

RECORDS = "records.jsonl.gz"
SUMS = "SHA256SUMS"
CAPTIONS = "captions/"  # for Snakemake's report


class Drawn(NamedTuple):
    """A job that needs nothing but published files.

    Attributes:
        job: the job.
        inputs, outputs: the stage's names -> the files, or lists of them.
    """

    job: PlannedJob
    inputs: dict[str, Any]
    outputs: dict[str, str]

    def draw(self, plan: Plan) -> None:
        """Run the job without Snakemake."""
        given = {"input": SimpleNamespace(**self.inputs), "output": SimpleNamespace(**self.outputs)}
        given |= {"inputs": self.inputs, "outputs": self.outputs, "wildcards": self.job.w}
        self.job.stage.run(SimpleNamespace(**given, options=plan.options(self.job)))


def sound(root: str, refused: tuple[str, ...] = ("damaged", "stale")) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The configuration of a run and the records of its jobs, without those of stale results.

    refused: kinds of findings of `verify` that are errors.

    Raises:
        ConfigError: the configuration is missing, there is a finding of a refused kind, or a result is gone.
    """
    asked = asked_of(root)
    found = list(verify(root, Plan(load_config(asked))))
    if bad := [each for each in found if each.kind in refused]:
        kinds = " or ".join(refused)
        raise ConfigError(f"{counted(len(bad), 'result')} {kinds}, the first is {bad[0].file}: dqv2 verify {root}")
    left_out = {each.file for each in found if each.bad}
    records = [record.read(path) for path in sorted(records_below(root)) if str(path) not in left_out]
    missing = {each.file for each in found if each.kind == "gone"}
    shown = (kept for kept in records if of_all_sets(kept) or kept["stage"] == "sample")
    if lost := sorted(missing & {file for kept in shown for file in kept["outputs"]}):
        raise ConfigError(f"{lost[0]} is gone: run Snakemake again, or remove what is left of it (dqv2 verify {root})")
    return asked, records


def publish(root: str, folder: str | Path) -> Path:
    """Write the published files of the run `root` to `folder`, atomically; returns it.

    Included are the finished experiments, whether the last run asked for them or an earlier one, and the jobs behind
    them; not results of other seeds. Files made from all experiments together are redrawn where the run made them from
    other experiments. Pictures that show the dataset's own images are left out, as they are not ours to publish, and so
    is the list of a coreset that is the whole set.

    Raises:
        ConfigError: the configuration is missing, a result is damaged, or no table of runs is finished.
        ValueError: a run has rewritten a result since its record was read.
    """
    asked, records = sound(root, refused=("damaged",))
    plan = begun_plan(root, asked)
    there = [name for name in plan.rows if finished(plan, plan.targets([name]))]
    if not any(plan.tabled(name) for name in there):
        raise ConfigError(f"{root}: no table of runs is finished, so there is nothing to publish")
    asked |= {"partial": False, "targets": there}
    plan = Plan(load_config(asked))
    files = {file for job in plan.jobs(plan.targets()) for file in plan.files_of(job)}
    records = [kept for kept in records if files & {*kept["outputs"]} and not why_stale(plan, kept)]
    with atomic_dir(folder, mark=SUMS) as staged:
        for kept in records:
            if stage(kept["stage"]).shows_images:
                continue
            for file in results_of([kept]):
                if not file.startswith(f"{root}/{CAPTIONS}"):
                    inside = file.replace(f"{plan.figures}/", f"{root}/figures/").removeprefix(f"{root}/")
                    _write(staged / inside, record.as_recorded(Path(file).read_bytes(), file, kept))
            if kept["stage"] == "sample" and kept["wildcards"]["keep"] != "1":
                for file in kept["outputs"]:
                    inside = file.removeprefix(f"{root}/").replace("/coreset/", "/", 1)
                    _write(staged / f"coresets/{inside}.gz", record.as_recorded(Path(file).read_bytes(), file, kept))
        write_json(staged / "config.json", asked)
        _write(staged / RECORDS, record.as_lines(map(_portable, records)).encode())
        for drawn in drawable(staged, plan, staged, figures="figures/"):
            shown = [file for file in drawn.outputs.values() if not Path(file).is_relative_to(staged / CAPTIONS)]
            if not all(Path(file).exists() for file in shown):
                drawn.draw(plan)
        if (staged / CAPTIONS).exists():
            shutil.rmtree(staged / CAPTIONS)
        inside = sorted(file.relative_to(staged).as_posix() for file in staged.rglob("*") if file.is_file())
        _write(staged / SUMS, "".join(f"{sha256(staged / file)}  {file}\n" for file in inside).encode())
    return Path(folder)


def begun_plan(root: str, asked: dict[str, Any]) -> Plan:
    """The whole plan of a run's last configuration, of all that is `begun`."""
    return Plan(load_config(asked | {"partial": False, "targets": begun(root, asked)}))


def begun(root: str, asked: dict[str, Any]) -> list[str]:
    """The experiments among the targets of a run's last command, and those that it has tables of."""
    tables = sorted(file.stem for file in Path(root, "experiments").glob("*.csv"))
    return list(dict.fromkeys([*as_list(asked["targets"]), *(name for name in tables if name in asked["experiments"])]))


def _portable(kept: dict[str, Any]) -> dict[str, Any]:
    """A record without this machine's folders: absolute paths of inputs are reduced to their names."""

    def named(each: dict[str, Any]) -> dict[str, Any]:
        file = Path(each["file"])
        return each | {"file": file.name} if file.is_absolute() else each

    return kept | {"inputs": {name: list(map(named, found)) for name, found in kept["inputs"].items()}}


def _write(file: Path, content: bytes) -> None:
    """Write a file, compressed if its name ends in .gz; the same content gives the same bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(content, mtime=0) if file.suffix == ".gz" else content)


def published_plan(folder: str | Path) -> Plan:
    """The plan of a published run; raises ConfigError where there is none, or a file has changed or is missing."""
    try:
        require_regular(Path(folder, SUMS))
        lines = Path(folder, SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} holds no published run: it has no readable {SUMS}") from error
    there = {file.relative_to(folder).as_posix() for file in Path(folder).rglob("*") if file.is_file()} - {SUMS}
    sums = {name: expected for expected, _, name in (line.partition("  ") for line in lines)}
    if unlisted := sorted((there | {"config.json", RECORDS}) - set(sums)):
        raise ConfigError(f"{folder}/{SUMS} does not name {unlisted[0]}: it is damaged, or the file is not of this run")
    for name, expected in sums.items():
        file = Path(folder, name)
        if Path(name).is_absolute() or ".." in Path(name).parts or not name:
            raise ConfigError(f"{folder}/{SUMS} names {name!r}, which is not a file in this folder")
        if not file.is_file():
            raise ConfigError(f"{file} is gone, which {SUMS} names: get the published run, or publish it, again")
        if (found := sha256(file)) != expected:
            raise ConfigError(
                f"{file} is damaged: its SHA-256 is {found[:12]}…, and {SUMS} says {expected[:12]}…: get it again"
            )
    try:
        return Plan(load_config(load_json(Path(folder, "config.json"))))
    except ConfigError as error:
        raise ConfigError(f"{folder}/config.json, published by another version: {error}") from None


def published_records(folder: str | Path) -> list[dict[str, Any]]:
    """The records of a published run's jobs."""
    with gzip.open(Path(folder, RECORDS), "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def drawable(folder: str | Path, plan: Plan, out: str | Path, *, figures: str = "") -> Iterator[Drawn]:
    """The jobs of a published run that read only published files, or outputs of such jobs before them.

    out: the folder for their outputs, instead of results/<run>/. figures: the folder in it that replaces
    paper_figures/<run>/, with a trailing slash.
    """
    made: dict[str, str] = {}

    def found(file: str) -> str | None:
        kept = Path(folder, file.removeprefix(f"{plan.root}/"))
        return made.get(file) or (str(kept) if kept.exists() else None)

    for job in plan.jobs(plan.targets()):
        there = all(map(found, plan.files_read(job)))
        if job.stage.shows and there and not job.stage.shows_images:
            files = {name: plan.file_of(job, name) for name in job.stage.writes if name != "record"}
            inside = {name: file.replace(f"{plan.figures}/", f"{plan.root}/{figures}") for name, file in files.items()}
            outputs = {name: str(Path(out, file.removeprefix(f"{plan.root}/"))) for name, file in inside.items()}
            made |= {file: outputs[name] for name, file in files.items()}
            reads = plan.reads(job).items()
            inputs = {name: list(map(found, f)) if isinstance(f, list) else found(f) for name, f in reads}
            yield Drawn(job, inputs, outputs)
