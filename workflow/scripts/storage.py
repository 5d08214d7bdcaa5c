"""What a coreset's images take as encoded files: as they are, dropped, drawn anew, and as Tobias images."""

import torch

from dqv2.data import Pack
from dqv2.paper.collect import storage_frame, write_csv
from dqv2.pixel.patches import GREY, paste
from dqv2.pixel.step import PixelStep
from dqv2.pixel.storage import encoded_bytes
from dqv2.runtime.job import run_job
from dqv2.select.coreset import coreset_images, read_pool
from dqv2.semantic.recipe import Recipe


def main(snakemake):
    options, inputs = snakemake.params.options, snakemake.input
    files = zip(inputs.train, inputs.coresets, inputs.pixels, inputs.tobias, strict=True)
    found = []
    for train, coreset_file, pixels, recipe in files:
        pack = Pack.open(train)
        coreset, step = read_pool(coreset_file, pack), PixelStep.load(pixels, coreset=coreset_file)
        images, _ = coreset_images(coreset, pack, None, whole=True)
        variants = {
            "original": images.numpy(),
            "dropped": paste(images, GREY, torch.from_numpy(step.mask)).numpy(),
            "reconstructed": step.images,
            "tobias": Recipe.load(recipe).images(pack.images, coreset.rows),
        }
        sizes = {
            name: encoded_bytes(batch, kind=options["encoding"], quality=options["quality"])
            for name, batch in variants.items()
        }
        found.append({name: (int(values.sum()), len(values)) for name, values in sizes.items()})
    write_csv(storage_frame(snakemake.params.columns, found), snakemake.output.csv)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
