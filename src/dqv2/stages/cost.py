"""What each stage of an experiment's methods costs, and accuracy against all of it."""

from dqv2.stages.base import Stage


class Cost(Stage):
    """Seconds and memory by the records of the stages behind each run."""

    title = "cost of the methods"
    version = 4
    shows = ("pdf", "png")
    writes = {
        "csv": "experiments/costs/{experiment}.csv",
        "pdf": "{figures}/{experiment}.pdf",
        "png": "{figures}/{experiment}.png",
        "caption": "captions/{experiment}_cost.rst",
        "record": "figures/{experiment}/record.json",
    }

    def makes(self, plan, w):
        return plan.config.experiments[w.experiment].cost is not None

    def reads(self, plan, w):
        rows = plan.kind(w.experiment, "runs").rows_with_files()
        return {
            "runs": plan.table(w.experiment),
            "records": plan.present(file for row in rows for _, _, file in row["records"]),
        }

    def options(self, plan, w):
        rows = plan.kind(w.experiment, "runs").rows_with_files()
        return {"partial": plan.config.partial, "rows": rows} | plan.caption(w.experiment)

    def run(self, job):
        from dqv2.paper.captions import write_caption
        from dqv2.paper.collect import device_note, read_csv, write_csv
        from dqv2.paper.cost_figure import draw_costs
        from dqv2.paper.costs import job_costs
        from dqv2.paper.style import save

        options, out = job.options, job.output
        runs = read_csv(job.input.runs)
        costs = job_costs(options["rows"], partial=options["partial"])
        write_csv(costs, out.csv)
        note = device_note(options["note"], runs, options["planned"])
        save(draw_costs(costs, runs, note, options["label"]), out.pdf, out.png)
        write_caption(out.caption, options["about"], note, options["label"])
