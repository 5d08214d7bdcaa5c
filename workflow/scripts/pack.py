"""Decode a dataset once: a pack of uint8 images and a manifest for each split."""

from pathlib import Path

from dqv2.data.dataset import pack_dataset
from dqv2.runtime.files import write_json
from dqv2.runtime.job import run_job
from dqv2.runtime.logging import say


def main(snakemake):
    options = dict(snakemake.params.options)
    options.pop("version")
    counts = pack_dataset(snakemake.wildcards.dataset, Path(snakemake.output.train).parent, **options)
    write_json(Path(snakemake.output.options), dict(snakemake.params.options))
    say(f"pack {snakemake.wildcards.dataset}: " + ", ".join(f"{n:,} {split}" for split, n in counts.items()))


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
