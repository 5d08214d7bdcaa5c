"""Decode a dataset once: a pack of uint8 images and a manifest for each split."""

from pathlib import Path

from dqv2.stages.base import Stage


class Pack(Stage):
    """Memory-mapped images with a manifest of sample ids; `splits.json` says how many each split has.

    `files.csv` has sizes and times of the files that were read and of their folders, so that a change can be told.
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
            self._report(name, split, Pack.open(out / split).meta, out / split / "meta.json")
        write_json(job.output.splits, counts)
        write_json(job.output.options, job.options)
        say(f"pack {name}: " + ", ".join(f"{n:,} {split}" for split, n in counts.items()))

    @staticmethod
    def _report(name, split, meta, file):
        """Say what was left out or found odd, with an example, and where it is listed by name."""
        from dqv2.runtime.logging import logger

        for key, what in noted(meta).items():
            logger.warning("pack %s %s: %s: %s in %s%s", name, split, what, key, file, ADVICE.get(key, ""))
            for entry in meta[key]:
                logger.info("%s: %s", key, entry)


NOTED = {
    "left_out": ("file was left out", "files were left out"),
    "duplicates": ("file is a copy of another", "files are copies of others"),
    "ignored": ("file is not an image by its name", "files are not images by their names"),
    "aside": ("file or folder was set aside", "files or folders were set aside"),
    "mended": ("file has damaged metadata, its pixels are kept", "files have damaged metadata, their pixels are kept"),
    "dark": ("image of 16-bit grey holds", "images of 16-bit grey hold"),
}
ADVICE = {"dark": "; where another value is white, set white_level"}


def noted(meta):
    """Key of a pack's `meta.json` -> what its entries are, as a clause with their number and an example."""
    found = {}
    for key, (one, many) in NOTED.items():
        if not (entries := meta.get(key)):
            continue
        if key == "ignored" and "table" in meta:  # most of them may be the images that the tables name
            one, many = "file is not a table", "files are not tables"
        what, example = f"{len(entries):,} {one if len(entries) == 1 else many}", entries[0]
        if key == "dark":
            most = max(entry["largest"] for entry in entries)
            verb = "comes" if len(entries) == 1 else "come"
            what += f" no value above {most:,}, of 65,535 for white, and {verb} out nearly black"
        if conflicts := [entry for entry in entries if key == "duplicates" and "classes" in entry]:
            what += f", {len(conflicts):,} of them in another class, so that labels conflict"
            example = conflicts[0]
        found[key] = f"{what}, such as {_shown(example)}"
    return found


def _shown(entry):
    """An entry of `meta.json` in one line: its name and, where there is one, the reason."""
    if isinstance(entry, str):
        entry = {"name": entry}
    why = entry.get("reason") or (f"the same file as {entry['same_as']}" if "same_as" in entry else "")
    why += "; {} here, {} there".format(*entry["classes"]) if "classes" in entry else ""
    text = f"{entry['name']} ({why})" if why else entry["name"]
    return text if text.isprintable() else ascii(text)
