"""Decode a dataset once: a pack of uint8 images and a manifest for each split."""

from pathlib import Path

from dqv2.stages.base import Stage


class Pack(Stage):
    """Memory-mapped images with a manifest of sample ids; `splits.json` says how many each split has.

    `files.csv` has sizes and times of the files that were read, so that a change can be told.
    """

    title = "images"
    version = 3
    cores = 8
    holds = "packs"
    writes = {
        "train": "{dataset}/data/train",
        "validation": "{dataset}/data/validation",
        "test": "{dataset}/data/test",
        "options": "{dataset}/data/options.json",
        "splits": "{dataset}/data/splits.json",
        "files": "{dataset}/data/files.csv",
    }

    def reads(self, plan, w):
        from dqv2.data.places import fetched_of

        return {"fetched": fetched_of(plan.config, w.dataset)}

    def options(self, plan, w):
        from dqv2.data.places import pack_block

        return pack_block(plan.config, w.dataset)

    def detail(self, plan, w):
        block = plan.config.datasets[w.dataset]
        return f"{block.title}, {block.size} px"

    def work(self, reckoning, w):
        from dqv2.data.published import KNOWN_SETS

        block, n = reckoning.config.datasets[w.dataset], reckoning.sizes(w.dataset)
        images = n.train + n.validation + n.test
        streamed = getattr(block, "storage", "packed") == "streamed"
        known = KNOWN_SETS.get(block.kind)
        decoded = 0 if block.kind == "digits" or (known and not known.streams) else images
        pixels = 0 if streamed else 3 * block.size**2
        return reckoning.work(units={"decode": decoded}, spread=True, bytes=images * (pixels + reckoning.ROW))

    def run(self, job):
        from dqv2.data import Pack
        from dqv2.data.dataset import pack_dataset
        from dqv2.runtime.files import write_json
        from dqv2.runtime.logging import say

        options = dict(job.options)
        options.pop("version")
        if options["kind"] != "digits":
            options["workers"] = job.threads
        out = Path(job.output.train).parent
        name = job.wildcards.dataset
        counts = pack_dataset(name, out, **options)
        for split in counts:
            self._report(name, split, Pack.open(out / split).meta)
        write_json(job.output.splits, counts)
        write_json(job.output.options, job.options)
        say(f"pack {name}: " + ", ".join(f"{n:,} {split}" for split, n in counts.items()))

    @staticmethod
    def _report(name, split, meta):
        """Say what was left out, and where it is listed by name."""
        from dqv2.runtime.logging import logger
        from dqv2.runtime.sentences import counted

        kinds = {
            "left_out": "were left out",
            "duplicates": "are copies of others",
            "ignored": "are not images by name",
            "aside": "or folders were left aside",
            "mended": "have damaged metadata, their pixels are kept",
        }
        if dark := meta.get("dark"):
            most = max(entry["largest"] for entry in dark)
            logger.warning(
                "pack %s %s: %s of 16-bit grey %s no value above %s, of 65,535 for white, and %s nearly black (such as "
                "%s; dark in meta.json): where another value is white, set white_level",
                *(name, split, counted(len(dark), "image"), "hold" if len(dark) > 1 else "holds", f"{most:,}"),
                *("are" if len(dark) > 1 else "is", dark[0]["name"]),
            )
        for key, what in kinds.items():
            if found := meta.get(key):
                logger.warning("pack %s %s: %d files %s (%s in meta.json)", name, split, len(found), what, key)
                for entry in found:
                    logger.info("%s: %s", what, entry)
