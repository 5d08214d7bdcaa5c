"""The pipelines of an experiment's methods, from the stages that the plan runs."""

from dqv2.paper.diagram import draw_pipelines
from dqv2.paper.style import save
from dqv2.runtime.job import run_job


def main(snakemake):
    params = snakemake.params
    save(draw_pipelines(params.lanes, params.note, params.label), snakemake.output.pdf, snakemake.output.png)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
