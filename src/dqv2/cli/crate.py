"""Make a Workflow Run RO-Crate of a finished run, to archive or to publish it.

dqv2 crate results/demo demo-crate

The folder holds the workflow, the configuration, figures, tables, claims and the page, and the record of every job;
`ro-crate-metadata.json` describes them. Results that are not sound are refused (dqv2 verify).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dqv2.config import ConfigError


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    text = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser(
        "crate", help="a finished run as an RO-Crate", description=__doc__, formatter_class=text
    )
    parser.add_argument("results", metavar="RESULTS", help="results/<run>")
    parser.add_argument("folder", metavar="FOLDER", help="where to; it must not be there")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from dqv2.plan.verify import records_below, require_root, verify
    from dqv2.runtime import record
    from dqv2.runtime.crate import write_crate
    from dqv2.runtime.files import read_json

    root, folder = require_root(args.results), Path(args.folder)
    if folder.exists():
        raise ConfigError(f"{folder} is there already: choose another name")
    configuration = Path(root, "config.json")
    asked = read_json(configuration)
    if not isinstance(asked, dict):
        raise ConfigError(f"{configuration} is gone or damaged: run Snakemake again, which writes it")
    if damaged := [each for each in verify(root) if each.kind in ("damaged", "stale")]:
        raise ConfigError(
            f"{len(damaged)} results are damaged or stale, the first is {damaged[0].file}: dqv2 verify {root}"
        )
    records = [record.read(path) for path in sorted(records_below(root))]
    label = asked.get("label") or "the paper"
    told = {"run": Path(root).name, "label": label, "project": Path(), "configuration": configuration}
    write_crate(folder, **told, records=records)
    print(f"{folder}: {len(records):,} jobs, described in {folder}/ro-crate-metadata.json")
    return 0
