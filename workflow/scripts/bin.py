"""Mix originals and Tobias images into the pool, and divide it into bins."""

import numpy as np
import torch

from dqv2.data import Pack
from dqv2.runtime.job import run_job, seed_of
from dqv2.runtime.logging import logger
from dqv2.runtime.seeding import generator
from dqv2.select.coreset import mix, write_pool
from dqv2.select.selectors import divide


def main(snakemake):
    options, outputs = snakemake.params.options, snakemake.output.bins
    pack = Pack.open(snakemake.input.train)
    inputs = snakemake.input
    # sources (originals, Tobias images) x seeds
    embeddings, logits = (
        np.array(inputs.get(name, []), object).reshape(-1, len(outputs)) for name in ("features", "logits")
    )
    for i, output in enumerate(outputs):
        seed = seed_of(output)
        pool = mix(len(pack), **options["mixture"], generator=generator(seed, "mix"))
        divided = divide(
            pool,
            pack.labels,
            *([torch.from_numpy(np.load(path)) for path in files[:, i]] for files in (embeddings, logits)),
            n_originals=len(pack),
            generator=generator(seed, "bins"),
            **options["selector"],
        )
        filled = len(np.unique(divided.bins))
        logger.info("seed %d: %d images in %d bins", seed, len(pool), filled)
        if filled <= divided.bins.max():
            logger.warning(
                "%s: %d of %d bins are empty, as DQ's bin sizes round to 0 in classes this small: lower n_bins",
                snakemake.wildcards.selection,
                divided.bins.max() + 1 - filled,
                divided.bins.max() + 1,
            )
        write_pool(output, divided, pack)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
