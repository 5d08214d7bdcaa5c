"""Decode a dataset once: a pack of uint8 images and a manifest for each split."""

from pathlib import Path

from dqv2.data import Pack
from dqv2.data.dataset import pack_dataset
from dqv2.runtime.files import write_json
from dqv2.runtime.job import run_job
from dqv2.runtime.logging import logger, say


def main(snakemake):
    options = dict(snakemake.params.options)
    options.pop("version")
    if options["kind"] != "digits":
        options["workers"] = snakemake.threads
    out = Path(snakemake.output.train).parent
    name = snakemake.wildcards.dataset
    counts = pack_dataset(name, out, **options)
    for split in counts:
        report(name, split, Pack.open(out / split).meta)
    write_json(Path(snakemake.output.splits), counts)
    write_json(Path(snakemake.output.options), dict(snakemake.params.options))
    say(f"pack {name}: " + ", ".join(f"{n:,} {split}" for split, n in counts.items()))


def report(name, split, meta):
    """Say what was left out, and where it is listed by name."""
    kinds = {"left_out": "were left out", "duplicates": "are copies of others", "ignored": "are no images by name"}
    for key, what in kinds.items():
        if found := meta.get(key):
            logger.warning("pack %s %s: %d files %s (%s in meta.json)", name, split, len(found), what, key)
            for entry in found:
                logger.info("%s: %s", what, entry)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
