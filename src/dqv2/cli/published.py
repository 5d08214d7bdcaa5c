"""Published results: write them (`publish`), redraw them (`figures`), compare a new run with them (`compare`); a run
as an RO-Crate (`crate`)."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dqv2.cli.configured import project
from dqv2.config import ConfigError
from dqv2.runtime.files import atomic_dir, recover_dirs
from dqv2.runtime.sentences import counted

PAGE = "docs/results.md"
DRAWN = Path("paper_figures/published")
PUBLISH = """Publish a run: its tables, figures, claims, the ids of its coresets, its records.

dqv2 publish results/cifar10                 into published/cifar10; also rewrites docs/results.md

Only finished experiments are published: no result may be missing or stale. Images of the dataset are never published.
Damaged results are refused (see dqv2 verify).
"""
FIGURES = """Redraw the figures and tables of published runs, and docs/results.md, from their small tables alone.

dqv2 figures                                 all of published/, into paper_figures/published/
dqv2 figures published/cifar10

Neither torch nor a dataset is needed.
"""
COMPARE = """Compare a run with the published one: does any arm differ by more than its seeds explain?

dqv2 compare results/cifar10                 with published/cifar10
dqv2 compare results/mine published/cifar10

Only tables behind which no result is missing or stale are compared.
The exit status is 1 if an arm differs: p of Welch's t test, Holm-corrected for all arms of the run, is below 0.05.
"""
CRATE = """Make a Workflow Run RO-Crate of a finished run, to archive or publish it.

dqv2 crate results/demo demo-crate

The folder contains the workflow, the configuration, figures, tables, claims, the report page and all records.
`ro-crate-metadata.json` describes them. Results that are not sound are refused (see dqv2 verify).
A run of coresets alone has nothing for a crate: archive its exported folders.
"""


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the subcommands."""
    parser = commands.add_parser("publish", help="publish the tables and figures of a run", description=PUBLISH)
    parser.add_argument("results", metavar="RESULTS", help="results/<run>")
    parser.set_defaults(run=_publish)
    about = "redraw the figures and tables of published runs"
    parser = commands.add_parser("figures", help=about, description=FIGURES)
    parser.add_argument("published", nargs="*", metavar="PUBLISHED", help="published/<run>; all by default")
    parser.set_defaults(run=_figures)
    about = "compare a run with the published one"
    parser = commands.add_parser("compare", help=about, description=COMPARE)
    parser.add_argument("results", metavar="RESULTS", help="results/<run>")
    parser.add_argument(
        "published", nargs="?", metavar="PUBLISHED", help="published/<run>; by default the one of the same name"
    )
    parser.set_defaults(run=_compare)
    parser = commands.add_parser("crate", help="pack a finished run as an RO-Crate", description=CRATE)
    parser.add_argument("results", metavar="RESULTS", help="results/<run>")
    parser.add_argument("folder", metavar="FOLDER", help="the folder to write; it must not exist")
    parser.set_defaults(run=_crate)


def _publish(args: argparse.Namespace) -> int:
    from dqv2.plan.publish import begun, publish, published_plan
    from dqv2.plan.verify import asked_of, require_root

    root = require_root(args.results)
    recover_dirs("published")
    folder = publish(root, Path("published", Path(root).name))
    _write_page()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    rows = published_plan(folder).rows
    print(f"{folder}: {', '.join(rows)}; {size / 1e6:.1f} MB; {PAGE} is rewritten")
    names = begun(root, asked_of(root))
    if left_out := [name for name in names if name not in rows]:
        print(f"left out, as results are missing or stale (dqv2 verify {root}): {', '.join(left_out)}")
    return 0


def _figures(args: argparse.Namespace) -> int:
    from dqv2.plan.publish import drawable, published_plan

    folders = [Path(folder) for folder in args.published] or _all()
    if not folders:
        raise ConfigError("there is no published run: no folder published/*/ with SHA256SUMS")
    recover_dirs(DRAWN)
    names = [folder.resolve().name for folder in folders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"several folders are named {twice[0]}, and their figures would be in one place: one at a time"
        )
    for folder, name in zip(folders, names, strict=True):
        if Path.cwd().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"figures would be drawn into {folder.resolve()} itself: call this from the project's folder"
            )
        plan, out, count = published_plan(folder), Path(DRAWN, name), 0
        with atomic_dir(out) as staged:  # so that nothing of an earlier publication remains
            for drawn in drawable(folder, plan, staged):
                try:
                    drawn.draw(plan)
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    made = ", ".join(Path(each).name for each in drawn.outputs.values())
                    why = error if isinstance(error, ValueError) else repr(error)
                    raise ConfigError(f"{made} cannot be drawn from {folder}: {why}") from error
                count += 1
        print(f"{out}: {count} figures, tables and lists, drawn from {folder}")
    if not args.published:
        for left in sorted(set(DRAWN.glob("[!.]*/")) - {Path(DRAWN, name) for name in names}):
            print(f"{left}: not redrawn, as there is no published/{left.name}; remove it if you do not need it")
        _write_page()
        print(f"{PAGE}: rewritten")
    return 0


def _compare(args: argparse.Namespace) -> int:
    from dqv2.paper.agreement import agreement, corrected, missing_arms, told
    from dqv2.plan.publish import SUMS, published_plan
    from dqv2.runtime.record import checksums_of, record_beside

    mine = Path(args.results)
    theirs = Path(args.published or Path("published", mine.name))
    if Path(theirs, SUMS).exists() or theirs.resolve().parent == Path("published").resolve():
        published_plan(theirs)  # raises where it is not sound
    pairs = {file.stem: file for file in sorted(Path(theirs, "experiments").glob("*.csv"))}
    both = {name: file for name, file in pairs.items() if Path(mine, "experiments", file.name).exists()}
    if not both:
        if missing := [str(folder) for folder in (mine, theirs) if not folder.is_dir()]:
            raise ConfigError(f"there is no folder {missing[0]}")
        raise ConfigError(f"{mine} and {theirs} have no experiment in common: no table in experiments/ of both")
    for run in (mine, theirs):
        if left_out := _unfinished(run, both):
            print(f"left out, as results are missing or stale (dqv2 verify {run}): {', '.join(left_out)}")
            both = {name: file for name, file in both.items() if name not in left_out}
    if not both:
        raise ConfigError(f"{mine} and {theirs} have no finished experiment in common, so nothing was compared")
    tables, missing = {}, {}
    for name, file in both.items():
        own = Path(mine, "experiments", file.name)
        if record_beside(str(own)):
            checksums_of({"csv": str(own)})  # raises where it is damaged
        published = _read_table(file)
        measure = next((y for y in ("test_accuracy", "iou") if y in published), None)
        if measure is None:
            continue
        ours = _read_table(own)
        try:
            table, missing[name] = agreement(ours, published, measure), missing_arms(ours, published)
        except (ValueError, KeyError) as error:
            why = f"it has no column {error}" if isinstance(error, KeyError) else error
            raise ConfigError(f"{own} is not a table of runs like {file}: {why}") from error
        if len(table):
            tables[name] = table
    if not tables:
        raise ConfigError(f"{mine} and {theirs} have no arm in common, so nothing was compared")
    tables = dict(zip(tables, corrected(list(tables.values())), strict=True))
    for name, gone in missing.items():
        print(f"{name}:" + (f" {gone} arms of the published table are not here" if gone else ""))
        for line in told(tables[name]) if name in tables else ["no arm in common"]:
            print(f"  {line}")
    verdicts = [verdict for table in tables.values() for verdict in table["verdict"]]
    differ, untested = verdicts.count("DIFFERS"), verdicts.count("not tested")
    left = f"; {untested} could not be tested" if untested else ""
    print(f"{differ} of {len(verdicts)} arms differ from {theirs} by more than the seeds do{left}")
    return int(differ > 0)


def _unfinished(root: Path, names: Iterable[str]) -> list[str]:
    """The tables of a run behind which something is missing or stale, so that they may be of other options; none where
    the folder is no run's."""
    from dqv2.plan.publish import begun_plan
    from dqv2.plan.verify import asked_of, finished

    if root.parent != Path("results") or not Path(root, "config.json").exists():
        return []
    plan = begun_plan(str(root), asked_of(str(root)))
    return [name for name in names if name not in plan.rows or not finished(plan, [f"{root}/experiments/{name}.csv"])]


def _read_table(file: Path) -> Any:
    """Read a tidy table, which may be a user's own; raises ConfigError where a spreadsheet saved it in another form."""
    from dqv2.paper.collect import read_csv

    remedy = "save it as CSV in UTF-8, with commas between the columns and points in numbers"
    try:
        found = read_csv(file)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{file} is not a table of runs ({' '.join(str(error).split())}): {remedy}") from None
    if len(found.columns) < 2:
        raise ConfigError(f"{file} is not a table of runs: its only column is {found.columns[0][:80]!r}: {remedy}")
    for name in found.select_dtypes(exclude="number"):
        if found[name].astype("string").str.fullmatch(r"-?\d+,\d+").any():
            raise ConfigError(f"{file} has commas in the numbers of column {name}: {remedy}")
    return found


def _crate(args: argparse.Namespace) -> int:
    from dqv2.plan.publish import sound
    from dqv2.plan.verify import require_root
    from dqv2.runtime.crate import write_crate

    root, folder = require_root(args.results), Path(args.folder)
    if folder.exists():
        raise ConfigError(f"{folder} is there already: choose another name")
    asked, records = sound(root)
    label = asked.get("label") or ("the paper" if root == "results/paper" else f"run {Path(root).name}")
    told = {"run": Path(root).name, "label": label, "project": project(), "configuration": Path(root, "config.json")}
    write_crate(folder, **told, records=records)
    print(f"{folder}: {counted(len(records), 'job')}, described in {folder}/ro-crate-metadata.json")
    return 0


def _all() -> list[Path]:
    recover_dirs("published")
    return sorted(file.parent for file in Path("published").glob("[!.]*/SHA256SUMS"))


def _write_page() -> None:
    from dqv2.paper.collect import write_text
    from dqv2.plan.results import results_page

    write_text(results_page(_all()), Path(PAGE))
