"""One tidy row a run: what the plan knows of it and what its metrics say."""

from dqv2.paper.collect import collect, write_csv
from dqv2.runtime.job import run_job


def main(snakemake):
    params = snakemake.params
    frame = collect(params.columns, params.files, params.costs, partial=params.options["partial"])
    write_csv(frame, snakemake.output.csv)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
