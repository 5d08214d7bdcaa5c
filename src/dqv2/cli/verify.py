"""Check that results are what their jobs wrote, and match the configuration.

dqv2 verify results/demo                         every checksum, and the options of the last run (its config.json)
dqv2 verify results/demo config/mine.yaml        against another configuration, as for snakemake --configfile
dqv2 verify results/own config/own_images.yaml --config 'datasets={own: {path: images}}'
                                                 if the run was given values by --config
dqv2 verify results/demo --remove                also remove what is damaged or stale, and everything made from it;
                                                 the next run makes it again

damaged    not what its job wrote
stale      made with other options, by another version of its stage, or from inputs other than those there now
foreign    not written by any job; also inside an exported coreset or a pack
changed    an exported coreset links to an original image that has changed since it was packed; --remove keeps it
gone       missing; Snakemake makes it again if another missing file needs it
orphaned   sound, but from a job that the configuration no longer has

The exit status is 1 if anything is damaged, stale, foreign or changed.
"""

import argparse
from pathlib import Path

from dqv2.cli.configured import add_values, values_of
from dqv2.config import ConfigError, load_config
from dqv2.plan import Plan
from dqv2.runtime.sentences import counted

ORDER = ("damaged", "stale", "foreign", "changed", "gone", "orphaned")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    about = "check that results are undamaged and match the configuration"
    parser = commands.add_parser("verify", help=about, description=__doc__)
    parser.add_argument("results", metavar="RESULTS", help="results/<run>")
    parser.add_argument("overlays", nargs="*", metavar="CONFIGFILE", help="files merged over config.yaml")
    add_values(parser)
    parser.add_argument("--remove", action="store_true", help="remove what is damaged or stale")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from dqv2.plan.verify import records_below, remove, require_no_run, require_root, verify

    root = require_root(args.results)
    if args.remove:
        require_no_run(root)
    plan = _plan(root, args.overlays, args.config)
    found = sorted(verify(root, plan), key=lambda each: (ORDER.index(each.kind), each.file))
    for kind in ORDER:
        some = [each for each in found if each.kind == kind]
        if some:
            print(f"{kind} ({len(some)}):")
        for each in some:
            print(f"  {each.file}\n      {each.what}")
    bad = [each for each in found if each.bad]
    count = sum(1 for _ in records_below(root))
    if not found:
        print(f"{root}: {count:,} records, all files as they were written" + (" and as configured" if plan else ""))
    else:
        numbers = ", ".join(f"{sum(each.kind == kind for each in found)} {kind}" for kind in ORDER)
        print(f"{root}: {count:,} records; {numbers}")
    if args.remove:
        require_no_run(root)  # one may have begun while the checksums were computed
        removed = remove(found, root, plan)
        jobs = len({each.outputs for each in bad})
        print(f"removed {len(removed)} files and folders: of {counted(jobs, 'job')}, and what was made from them")
        bad = []
    elif bad:
        print("use --remove to remove what is damaged or stale and what was made from it, then run again")
    if any(each.kind == "gone" for each in found):
        print("what is gone is made again where a job needs it; to have it back now, give Snakemake its path")
    return int(bool(bad) or any(each.kind in ("foreign", "changed") for each in found))


def _plan(root: str, overlays: list[str], entries: list[str]) -> Plan | None:
    """The plan of a run: from the given overlays and entries of --config, else from its last run; None without both."""
    from dqv2.plan.verify import asked_of

    if overlays or entries:
        plan = Plan(load_config(values_of(overlays, entries)))
        if plan.root != root:
            raise ConfigError(f"{' '.join([*overlays, *entries])} is of the run {plan.config.run!r}, not of {root}")
        return plan
    file = Path(root, "config.json")  # includes what --config set
    if not (file.exists() or file.is_symlink()):
        print(f"there is no {file}: name a configuration to see what is stale for its options, or orphaned")
        return None
    plan = Plan(load_config(asked_of(root)))
    print(f"compared with {file}, the configuration of its last run")
    return plan
