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
    from dqv2.plan.publish import sound
    from dqv2.plan.verify import require_root
    from dqv2.runtime.crate import write_crate

    root, folder = require_root(args.results), Path(args.folder)
    if folder.exists():
        raise ConfigError(f"{folder} is there already: choose another name")
    asked, records = sound(root)
    label = asked.get("label") or "the paper"
    told = {"run": Path(root).name, "label": label, "project": Path(), "configuration": Path(root, "config.json")}
    write_crate(folder, **told, records=records)
    print(f"{folder}: {len(records):,} jobs, described in {folder}/ro-crate-metadata.json")
    return 0
