"""A table from an experiment's table of runs, as CSV, Markdown and LaTeX."""

from dqv2.paper.captions import write_caption
from dqv2.paper.collect import device_note, read_csv
from dqv2.paper.tables import write_table
from dqv2.runtime.job import run_job


def main(snakemake):
    params, output = snakemake.params, snakemake.output
    frame = read_csv(snakemake.input.csv)
    spec = {key: value for key, value in params.options.items() if key != "version"} | {"label": params.label}
    note = device_note(params.note, frame, params.planned)
    write_table(frame, spec, note, output.csv, output.md, output.tex)
    write_caption(output.caption, params.about, note, params.label)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
