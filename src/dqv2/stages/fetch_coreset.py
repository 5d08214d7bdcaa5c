"""Fetch a published list of ids and check it."""

from dqv2.stages.base import Stage


class FetchCoreset(Stage):
    """A published list of coreset ids, used instead of bins. Local, as compute nodes often have no internet."""

    title = "published coreset"
    writes = {"ids": "published/{selector}.csv", "record": "published/{selector}/record.json"}

    def options(self, plan, w):
        block = plan.config.selectors[w.selector]
        return {"manifest": block.manifest, "sha256": block.sha256}

    def run(self, job):
        from dqv2.select.published import fetch_ids

        fetch_ids(job.options["manifest"], job.options["sha256"], job.output.ids)
