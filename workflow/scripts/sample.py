"""Draw the coreset from the bins: exactly the images that the keep ratio asks for."""

from dqv2 import paths
from dqv2.data import Pack
from dqv2.paths import axes_of
from dqv2.runtime.cost import measured
from dqv2.runtime.job import run_job, seed_of
from dqv2.runtime.logging import logger
from dqv2.runtime.seeding import generator
from dqv2.select.coreset import draw, read_pool, write_pool


def main(snakemake):
    options = snakemake.params.options
    pack = Pack.open(snakemake.input.train)
    outputs = zip(snakemake.output.coresets, snakemake.output.costs, strict=True)
    for bins, (output, cost) in zip(snakemake.input.bins, outputs, strict=True):
        seed = seed_of(output)
        with measured(cost):
            pool = read_pool(bins, pack)
            whole = len(pack) if options["budget"] == "originals" else len(pool)
            count = max(1, round(float(axes_of(paths.CORESET, output)["keep"]) * whole))
            draws = generator(seed, "sample")
            coreset = draw(pool, pack.labels, count, sampler=options["sampler"], generator=draws)
            write_pool(output, coreset, pack)
        logger.info("seed %d: %d of %d images, %d of them Tobias", seed, count, len(pool), coreset.tobias.sum())


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
