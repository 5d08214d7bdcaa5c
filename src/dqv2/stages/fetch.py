"""A published set onto the disk: used as it lies, else from its archive, else from its site."""

from dqv2.stages.base import Stage


class Fetch(Stage):
    """Local, as compute nodes have no internet. The output is a note that the set is there: the archive and the folder
    are nobody's output, so that Snakemake never removes them."""

    title = "published set"
    writes = {"fetched": "{root}/.{archive}.fetched", "record": ""}

    def options(self, plan, w):
        return {"name": w.archive}

    def run(self, job):
        from dqv2.config import load_config
        from dqv2.data.fetch import fetch_set
        from dqv2.data.places import fetch_options
        from dqv2.runtime.files import write_json
        from dqv2.runtime.logging import say

        # From the configuration, not from the options: another mirror is no reason to fetch, or pack, anything again.
        options = fetch_options(load_config(job.config))[job.output.fetched]
        folder = fetch_set(**options)
        write_json(job.output.fetched, {"set": options["name"], "folder": str(folder)})
        say(f"{options['name']} is in {folder}")
