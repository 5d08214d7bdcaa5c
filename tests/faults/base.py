"""A run of every stage, made once and kept, and copies of it to break."""

import csv
import hashlib
import io
import json
import os
import shutil
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

from dqv2.config import load_config, read_files
from dqv2.plan import Plan
from dqv2.plan.verify import verify
from dqv2.plan.walk import PlannedJob
from dqv2.runtime import record
from dqv2.runtime.job import run_job
from tests.jobs import AsBefore, request_of

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("config.yaml")
RUN = "results/faults"
# Made with other keys at another time, as a backup of last month's
OLDER = {
    "seeds": [0],
    "datasets": {"digits": {"split_seed": 1}},
    "trainers": {"resnet8": {"learning_rate": 0.01}},
    "defaults": {"keep_ratio": 0.2},
}
MEASURED = ("seconds", "wall", "memory", "cpu")  # parts of the names of columns that are other ones in each run
CLONED = ("config.yaml", "config", "results", "paper_figures")
LIMIT = 120  # seconds after which a job hangs


def plan_of(changes: dict | None = None) -> Plan:
    """The plan of config.yaml below this folder."""
    values = read_files([CONFIG], base=ROOT / "config.yaml")
    for key, block in (changes or {}).items():
        if isinstance(block, dict):
            for name, more in block.items():
                values[key][name] = values[key][name] | more if isinstance(more, dict) else more
        else:
            values[key] = block
    plan = Plan(load_config(values))
    plan.values = values
    plan.options = cache(plan.options)  # looked at again and again
    for job in plan.jobs(plan.targets()):
        plan.options(job)
    return plan


def digest_of_sources() -> str:
    """Of all that a try depends on."""
    places = [ROOT / name for name in ("src", "workflow", "Snakefile", "config.yaml", "tests/faults/config.yaml")]
    found = hashlib.sha256()
    for path in sorted(each for place in places for each in ([place] if place.is_file() else place.rglob("*"))):
        if path.suffix in (".py", ".smk", ".yaml", "") and path.is_file() and "egg-info" not in str(path):
            found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


class Hangs(BaseException):
    """The time is up."""


def here(folder: Path, work: Callable[[], int], limit: int = LIMIT) -> tuple[int | None, str]:
    """The exit code (None: it hangs) and all that it said, of what is done in a folder; in this process, which has all
    modules."""
    said = io.StringIO()

    def up(*_) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, up)
    signal.alarm(limit)
    try:
        with chdir(folder), redirect_stdout(said), redirect_stderr(said), AsBefore():
            code = work()
    except Hangs:
        code = None
    except Exception:
        said.write(traceback.format_exc())
        code = 70
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return code, said.getvalue()


def remove(path: Path) -> None:
    """A file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def run(plan: Plan, job: PlannedJob, folder: Path, limit: int = LIMIT) -> tuple[int | None, str]:
    """Do a job as Snakemake does it: without its outputs."""
    for file in plan.files_of(job):
        remove(folder / file)
    code, said = here(folder, lambda: run_job(request_of(plan, job, config=plan.values)), limit)
    if code in (128 + signal.SIGTERM, 128 + signal.SIGINT):
        raise SystemExit("the harness was asked to stop")
    return code, said


def run_missing(plan: Plan, jobs: Iterable[PlannedJob], folder: Path) -> tuple[int | None, str]:
    """Do all jobs, in their order, that have not all their outputs; up to the first that fails."""
    for job in jobs:
        if not all((folder / file).exists() for file in plan.files_of(job)):
            code, said = run(plan, job, folder)
            if code != 0:
                return code, said
    return 0, ""


def make_base(folder: Path, plan: Plan) -> None:
    """Run everything below a folder that appears when it is whole."""
    if folder.exists():
        return
    started = folder.with_name(f"{folder.name}.part")
    (started / "config").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "config.yaml", started / "config.yaml")
    shutil.copy(CONFIG, started / "config/faults.yaml")
    code, said = run_missing(plan, plan.jobs(plan.targets()), started)
    if code != 0:
        raise SystemExit(f"the base run failed:\n{said}")
    started.rename(folder)


def commit_of(folder: Path) -> str | None:
    """The commit that a run was made with, by its records."""
    found = next(folder.glob(f"{RUN}/*/data/record.json"), None)
    return json.loads(found.read_text(encoding="utf-8"))["commit"] if found else None


def clone(base: Path, folder: Path) -> Path:
    """A copy by hard links: what is damaged there is unlinked first (`own`), and jobs write files anew. Of an older
    clone what is another file is linked anew."""
    wanted, there = _tree(base), _tree(folder)
    for name in there.keys() - wanted.keys():
        (folder / name).unlink()
    for name in [name for name in wanted if there.get(name) != wanted[name]]:
        base_file, file = base / name, folder / name
        if file.is_dir():
            shutil.rmtree(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        os.link(base_file, file)
    return folder


@contextmanager
def remembered(folder: Path) -> Iterator[None]:
    """Checksums and records of a run's own inodes, to which nothing writes, are taken once for all clones."""
    inodes = set(_tree(folder).values())
    asked = {name: getattr(record, name) for name in ("checksum", "read")}

    def once(name: str) -> Callable[[Path], Any]:
        known: dict[int, Any] = {}

        def ask(path: Path) -> Any:
            inode = os.stat(path).st_ino if os.path.isfile(path) else None  # noqa: PTH116, PTH113 (quick)
            if inode not in inodes:
                return asked[name](path)
            if inode not in known:
                known[inode] = asked[name](path)
            return known[inode]

        return ask

    for name in asked:
        setattr(record, name, once(name))
    try:
        yield
    finally:
        for name, function in asked.items():
            setattr(record, name, function)


def require_sound(folder: Path, plan: Plan) -> None:
    """Exit where a try has reached the base run itself, as nothing that came after it would mean anything."""
    with chdir(folder):
        if found := [*verify(RUN, plan)]:
            raise SystemExit(f"the base run is no longer as it was: {found}")


def _tree(folder: Path) -> dict[str, int]:
    """The inode of each file below a folder; logs are left out."""
    found, cut = {}, len(str(folder)) + 1
    for top in CLONED:
        if (folder / top).is_file():
            found[top] = (folder / top).stat().st_ino
        for place, _, names in os.walk(folder / top):
            found |= {f"{place}/{name}"[cut:]: os.stat(f"{place}/{name}").st_ino for name in names}  # noqa: PTH116 (quick)
    return found


def own(file: Path) -> None:
    """Give a file of a clone an inode of its own, which what a training keeps of it shares, as it did."""
    kept = Path(str(file).replace(f"{RUN}/", f"{RUN}/resume/", 1))
    shared = kept != file and kept.exists() and kept.samefile(file)
    copied = file.with_name(f".own-{file.name}")
    shutil.copy2(file, copied)
    copied.rename(file)
    if shared:
        kept.unlink()
        os.link(file, kept)


def files_below(folder: Path) -> set[str]:
    """All files of a run, but what is no result: records, which hold seconds, and what trainings keep."""
    found = set()
    for top in (RUN, "paper_figures/faults"):
        for place, below, names in os.walk(folder / top):
            if place == str(folder / RUN):
                below[:] = [name for name in below if name != "resume"]
            found |= {f"{place}/{name}" for name in names if not name.startswith((".", "record.json", "config.json"))}
    return {name[len(str(folder)) + 1 :] for name in found}


def differences(base: Path, folder: Path, only: Iterable[str] | None = None) -> list[str]:
    """The results that are other bytes than the base's, or not there; but for measured seconds and memory."""
    wanted = files_below(base) if only is None else set(only)
    there = files_below(folder)
    extra = there - wanted if only is None else set()
    return sorted(extra) + sorted(name for name in wanted if not (name in there and same(base, folder, name)))


def same(base: Path, folder: Path, name: str) -> bool:
    """Whether a result is the same, but for what was measured."""
    one, other = base / name, folder / name
    if one.samefile(other) or one.read_bytes() == other.read_bytes():
        return True
    if name.startswith("paper_figures/") and Path(name).stem == "cost":  # drawn from seconds
        return True
    if name.endswith("/manifest.json"):  # tells when and with which commit each job behind it was done
        return _unproven(one) == _unproven(other)
    if name.endswith("/index.html"):  # prints what was measured
        return any(_measured_anew(base, folder, each) for each in files_below(base) if "/experiments/" in each)
    return name.endswith(".csv") and "/experiments/" in name and _rows(one) == _rows(other)


def _measured_anew(base: Path, folder: Path, name: str) -> bool:
    return (
        (folder / name).exists()
        and (base / name).read_bytes() != (folder / name).read_bytes()
        and same(base, folder, name)
    )


def _unproven(file: Path) -> dict:
    try:
        return json.loads(file.read_text(encoding="utf-8")) | {"provenance": None}
    except ValueError:
        return {"unreadable": str(file)}


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))
    except (ValueError, csv.Error):
        return [{"unreadable": str(file)}]
    return [{key: row[key] for key in row if key and not any(part in key for part in MEASURED)} for row in rows]
