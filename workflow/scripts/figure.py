"""A figure from an experiment's table."""

from dqv2.paper.captions import write_caption
from dqv2.paper.collect import device_note, read_csv
from dqv2.paper.figures import draw
from dqv2.paper.style import save
from dqv2.runtime.job import run_job


def main(snakemake):
    params = snakemake.params
    frame = read_csv(snakemake.input.csv)
    spec = {key: value for key, value in params.options.items() if key != "version"} | {"label": params.label}
    note = device_note(params.note, frame, params.planned)
    save(draw(frame, spec, note), snakemake.output.pdf, snakemake.output.png)
    write_caption(snakemake.output.caption, params.about, note, params.label)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
