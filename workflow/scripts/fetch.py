"""A published set onto the disk: used as it lies, else from its archive, else from its site."""

from pathlib import Path

from dqv2.config import load_config
from dqv2.data.fetch import fetch_set
from dqv2.plan.data import fetch_options
from dqv2.runtime.files import write_json
from dqv2.runtime.job import run_job
from dqv2.runtime.logging import say


def main(snakemake):
    fetched = snakemake.output.fetched
    # From the configuration, not from params: another mirror is no reason to fetch, or pack, anything again.
    options = fetch_options(load_config(snakemake.config))[fetched]
    folder = fetch_set(**options)
    write_json(Path(fetched), {"set": options["name"], "folder": str(folder)})
    say(f"{options['name']} is in {folder}")


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
