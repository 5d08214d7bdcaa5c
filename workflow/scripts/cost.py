"""What each stage of an experiment's methods costs, and accuracy against all of it."""

from pathlib import Path

from dqv2.paper.captions import write_caption
from dqv2.paper.collect import device_note, read_csv, write_csv
from dqv2.paper.cost_figure import draw_costs
from dqv2.paper.costs import job_costs
from dqv2.paper.style import save
from dqv2.runtime.job import run_job


def main(snakemake):
    params, output = snakemake.params, snakemake.output
    runs = read_csv(snakemake.input.csv)
    jobs = params.jobs
    if params.options["partial"]:
        jobs = [job for job in jobs if all(Path(file).exists() for file in job["costs"])]
    costs = job_costs(jobs)
    write_csv(costs, output.csv)
    note = device_note(params.note, runs, params.planned)
    save(draw_costs(costs, runs, note, params.label), output.pdf, output.png)
    write_caption(output.caption, params.about, note, params.label)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
