"""A published list of ids, checked."""

from dqv2.runtime.job import run_job
from dqv2.select.published import fetch_ids


def main(snakemake):
    options = snakemake.params.options
    fetch_ids(options["manifest"], options["sha256"], snakemake.output.ids)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
