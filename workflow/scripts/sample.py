"""Draw the coreset from the bins: exactly the images that the keep ratio asks for."""

from dqv2.data import Pack
from dqv2.runtime.job import run_job, seed_of
from dqv2.runtime.logging import logger
from dqv2.runtime.seeding import generator
from dqv2.select.coreset import draw, read_pool, write_pool


def main(snakemake):
    options = snakemake.params.options
    pack = Pack.open(snakemake.input.train)
    for bins, output in zip(snakemake.input.bins, snakemake.output.coresets, strict=True):
        seed = seed_of(output)
        pool = read_pool(bins, pack)
        whole = len(pack) if options["budget"] == "originals" else len(pool)
        count = max(1, round(options["keep_ratio"] * whole))
        coreset = draw(pool, pack.labels, count, generator=generator(seed, "sample"))
        logger.info("seed %d: %d of %d images, %d of them Tobias", seed, count, len(pool), coreset.tobias.sum())
        write_pool(output, coreset, pack)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
