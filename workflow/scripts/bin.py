"""Mix originals and Tobias images into the pool, and divide it into bins."""

import numpy as np
import torch

from dqv2 import paths
from dqv2.data import Pack
from dqv2.paths import axes_of
from dqv2.runtime.cost import measured
from dqv2.runtime.job import run_job, seed_of
from dqv2.runtime.logging import logger
from dqv2.runtime.seeding import generator
from dqv2.select.coreset import mix, write_pool
from dqv2.select.scores import Scores
from dqv2.select.selectors import divide
from dqv2.semantic.recipe import Recipe


def main(snakemake):
    options, outputs = snakemake.params.options, snakemake.output.bins
    torch.set_num_threads(snakemake.threads)
    pack = Pack.open(snakemake.input.train)
    inputs = snakemake.input
    # sources (originals, Tobias images) x seeds
    embeddings, logits = (
        np.array(inputs.get(name, []), object).reshape(-1, len(outputs)) for name in ("features", "logits")
    )
    scores, recipes = (list(inputs.get(name, [])) or [None] * len(outputs) for name in ("scores", "recipes"))
    for i, (output, cost) in enumerate(zip(outputs, snakemake.output.costs, strict=True)):
        seed = seed_of(output)
        with measured(cost):
            pool = mix(len(pack), **options["mixture"], generator=generator(seed, "mix"))
            divided = divide(
                pool,
                pack,
                *([np.load(path, mmap_mode="r") for path in files[:, i]] for files in (embeddings, logits)),
                scores=Scores.load(scores[i]) if scores[i] else None,
                recipe=Recipe.load(recipes[i]) if recipes[i] else None,
                generator=generator(seed, "bins"),
                **options["selector"],
            )
            write_pool(output, divided, pack)
        filled = len(np.unique(divided.bins[divided.bins >= 0]))
        logger.info("seed %d: %d images in %d bins", seed, len(pool), filled)
        if options["selector"]["kind"].endswith("_bins") and filled <= divided.bins.max():
            logger.warning(
                "%s: %d of %d bins are empty, as DQ's bin sizes round to 0 in classes this small: lower n_bins",
                axes_of(paths.BINS, output)["selection"],
                divided.bins.max() + 1 - filled,
                divided.bins.max() + 1,
            )


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
