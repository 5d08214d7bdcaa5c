"""A figure from an experiment's table."""

from dqv2.paper.collect import device_note, read_csv
from dqv2.paper.figures import draw
from dqv2.paper.style import save
from dqv2.runtime.job import run_job


def main(snakemake):
    params = snakemake.params
    frame = read_csv(snakemake.input.csv)
    spec = {**params.options, "label": params.label}
    save(draw(frame, spec, device_note(params.note, frame)), snakemake.output.pdf, snakemake.output.png)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
