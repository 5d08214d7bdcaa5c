"""The pipelines of an experiment's methods, from the stages that the plan runs."""

from dqv2.stages.base import DRAWN, Stage


class Diagram(Stage):
    """Figure 1: the pipelines as a diagram, without any training."""

    title = "diagram"
    version = 3
    shows = ("pdf", "png")
    writes = DRAWN

    def makes(self, plan, w):
        return plan.kind(w.experiment, "diagram") is not None

    def options(self, plan, w):
        kind = plan.kind(w.experiment, "diagram")
        return {"lanes": kind.lanes(), "label": plan.config.label, "note": kind.note()}

    def run(self, job):
        from dqv2.paper.diagram import draw_pipelines
        from dqv2.paper.style import save

        options = job.options
        save(draw_pipelines(options["lanes"], options["note"], options["label"]), job.output.pdf, job.output.png)
