"""One tidy row per run: what the plan says about it, its metrics, and its cost from the records of its stages."""

from dqv2.stages.base import Tidy


class Collect(Tidy):
    """The table of runs from which an experiment's figure and table are drawn."""

    title = "table of runs"
    version = 4

    def reads(self, plan, w):
        rows = plan.kind(w.experiment, "runs").rows_with_files
        records = [file for row in rows for _, _, file in row["records"]]
        return {"metrics": plan.present(row["metrics"] for row in rows), "records": plan.present(records)}

    def options(self, plan, w):
        return {"partial": plan.config.partial, "rows": plan.kind(w.experiment, "runs").rows_with_files}

    def run(self, job):
        from dqv2.paper.collect import collect, mixed_threads, write_csv
        from dqv2.runtime.logging import logger

        frame = collect(job.options["rows"], partial=job.options["partial"])
        write_csv(frame, job.output.csv)
        if mixed := mixed_threads(frame):
            logger.warning(
                "collect %s: %s, on which weights trained on a CPU depend: docs/debug.md says what to do",
                job.wildcards.experiment,
                mixed,
            )
