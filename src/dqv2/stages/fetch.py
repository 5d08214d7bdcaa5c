"""Put a published dataset on the disk: used as it is, extracted from its archive, or downloaded from its site."""

from dqv2.stages.base import Stage


class Fetch(Stage):
    """A note that a published dataset is on the disk. Its rule is local, as compute nodes often have no internet.

    The archive and the folder are nobody's output, so Snakemake never removes them.
    """

    title = "published set"
    writes = {"fetched": "{root}/.{archive}.fetched", "record": ""}
    log = "fetch/{root}/{archive}.log"

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
