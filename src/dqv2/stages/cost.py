"""The cost of each stage of an experiment's methods, and accuracy against total cost."""

from dqv2.stages.base import DRAWN, Stage


class Cost(Stage):
    """Seconds and memory of the stages behind each run, from their records."""

    title = "cost of the methods"
    version = 5
    shows = ("pdf", "png")
    writes = {"csv": "experiments/costs/{experiment}.csv"} | DRAWN | {"caption": "captions/{experiment}_cost.rst"}

    def makes(self, plan, w):
        return plan.config.experiments[w.experiment].cost is not None

    def reads(self, plan, w):
        rows = plan.kind(w.experiment, "runs").rows_with_files
        return {
            "runs": plan.table(w.experiment),
            "records": plan.present(file for row in rows for _, _, file in row["records"]),
        }

    def options(self, plan, w):
        from dqv2.cost.flop import networks_behind
        from dqv2.stages import stage

        rows = plan.kind(w.experiment, "runs").rows_with_files
        networks = networks_behind(plan, [file for row in rows for _, _, file in row["records"]])
        titles = {name: stage(name).title for row in rows for name, *_ in row["records"]}
        about = {"partial": plan.config.partial, "rows": rows, "networks": networks, "titles": titles}
        return about | plan.caption(w.experiment)

    def run(self, job):
        from dqv2.cost.flop import tera_flop
        from dqv2.paper.captions import write_caption
        from dqv2.paper.collect import device_note, read_csv, write_csv
        from dqv2.paper.cost_figure import draw_costs
        from dqv2.paper.costs import job_costs
        from dqv2.paper.style import save

        options, out = job.options, job.output
        runs = read_csv(job.input.runs)
        costs = job_costs(options["rows"], tera_flop(options["networks"]), partial=options["partial"])
        write_csv(costs, out.csv)
        note = device_note(options["note"], runs, options["planned"])
        save(draw_costs(costs, runs, options["titles"], note, options["label"]), out.pdf, out.png)
        write_caption(out.caption, options["about"], note, options["label"])
