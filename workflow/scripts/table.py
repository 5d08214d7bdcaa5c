"""A table from an experiment's table of runs, as CSV, Markdown and LaTeX."""

from dqv2.paper.collect import device_note, read_csv
from dqv2.paper.tables import write_table
from dqv2.runtime.job import run_job


def main(snakemake):
    params, output = snakemake.params, snakemake.output
    frame = read_csv(snakemake.input.csv)
    spec = {**params.options, "label": params.label}
    write_table(frame, spec, device_note(params.note, frame), output.csv, output.md, output.tex)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
