"""A figure from an experiment's table."""

from dqv2.stages.base import DRAWN, Stage


class Figure(Stage):
    """An experiment's figure, drawn from its table alone, so that a change of style retrains nothing."""

    title = "figure"
    version = 8
    shows = ("pdf", "png")
    writes = DRAWN | {"caption": "captions/{experiment}_figure.rst"}

    def makes(self, plan, w):
        return plan.config.experiments[w.experiment].figure is not None

    def reads(self, plan, w):
        return {"csv": plan.table(w.experiment)}

    def options(self, plan, w):
        return {"spec": plan.spec("figure", w.experiment)} | plan.caption(w.experiment)

    def run(self, job):
        from dqv2.paper.captions import write_caption
        from dqv2.paper.collect import device_note, read_csv
        from dqv2.paper.figures import draw
        from dqv2.paper.style import save

        options, frame = job.options, read_csv(job.input.csv)
        note = device_note(options["note"], frame, options["planned"])
        save(draw(frame, options["spec"] | {"label": options["label"]}, note), job.output.pdf, job.output.png)
        write_caption(job.output.caption, options["about"], note, options["label"])
