"""Masks and donors of every training image: the recipe from which its Tobias image is composed."""

import numpy as np
import torch

from dqv2 import paths
from dqv2.data import Pack
from dqv2.paths import axes_of
from dqv2.runtime.cost import measured
from dqv2.runtime.job import run_job, seed_of
from dqv2.runtime.logging import logger
from dqv2.runtime.seeding import generator
from dqv2.semantic.masks import foreground
from dqv2.semantic.overlap import iou_of_images
from dqv2.semantic.recipe import make_recipe
from dqv2.semantic.sources import mask_saliency


def main(snakemake):
    options = snakemake.params.options
    pack = Pack.open(snakemake.input.train)
    network_maps = list(snakemake.input.get("saliency", [])) or [None] * len(snakemake.output.recipes)
    known = pack.objects is not None
    objects = torch.from_numpy(np.array(pack.objects)) if known and options["source"] == "object" else None
    outputs = zip(snakemake.output.recipes, snakemake.output.costs, strict=True)
    for network_map, (output, cost) in zip(network_maps, outputs, strict=True):
        seed, size = seed_of(output), int(axes_of(paths.RECIPE, output)["size"])
        with measured(cost):
            maps = mask_saliency(
                options["source"],
                n=len(pack),
                size=size,
                network=None if network_map is None else torch.from_numpy(np.load(network_map)),
                objects=objects,
                generator=generator(seed, "mask", options["source"]),
            )
            masks = foreground(maps, size, fraction=options["fraction"])
            make_recipe(masks, generator=generator(seed, "tobias")).save(output)
        if known:
            overlap = iou_of_images(masks.numpy(), pack.objects)
            logger.info("seed %d: IoU with the objects %.3f (mean of %d images)", seed, overlap.mean(), len(pack))


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
