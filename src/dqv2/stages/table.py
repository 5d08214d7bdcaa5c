"""A table from an experiment's table of runs, as CSV, Markdown and LaTeX."""

from dqv2.stages.base import Stage


class Table(Stage):
    """An experiment's table, made from its table of runs alone."""

    title = "table"
    version = 8
    shows = ("csv", "md", "tex")
    writes = {
        "csv": "{figures}/{experiment}_table.csv",
        "md": "{figures}/{experiment}_table.md",
        "tex": "{figures}/{experiment}_table.tex",
        "caption": "captions/{experiment}_table.rst",
        "record": "tables/{experiment}/record.json",
    }

    def makes(self, plan, w):
        return plan.config.experiments[w.experiment].table is not None

    def reads(self, plan, w):
        return {"runs": plan.table(w.experiment)}

    def options(self, plan, w):
        return {"spec": plan.spec("table", w.experiment)} | plan.caption(w.experiment)

    def run(self, job):
        from dqv2.paper.captions import write_caption
        from dqv2.paper.collect import device_note, read_csv
        from dqv2.paper.tables import write_table

        options, out = job.options, job.output
        frame = read_csv(job.input.runs)
        note = device_note(options["note"], frame, options["planned"])
        write_table(frame, options["spec"] | {"label": options["label"]}, note, out.csv, out.md, out.tex)
        write_caption(out.caption, options["about"], note, options["label"])
