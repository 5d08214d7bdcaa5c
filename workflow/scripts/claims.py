"""A verdict for each of the paper's claims."""

from dqv2.paper.claims import judge
from dqv2.paper.collect import read_csv
from dqv2.paper.wording import write_claims
from dqv2.runtime.job import run_job


def main(snakemake):
    params = snakemake.params
    tables = {name: read_csv(file) for name, file in zip(params.names, snakemake.input.tables, strict=True)}
    rows = judge(params.claims, tables, params.scale)
    write_claims(params.claims, rows, params.note, snakemake.output.csv, snakemake.output.md)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
