"""A published list of ids as the coreset of every seed."""

from dqv2.data import DataError, Pack
from dqv2.runtime.cost import measured
from dqv2.runtime.job import run_job
from dqv2.runtime.logging import logger
from dqv2.select.coreset import write_pool
from dqv2.select.published import published_coreset


def main(snakemake):
    pack = Pack.open(snakemake.input.train)
    coreset = published_coreset(snakemake.input.ids, pack)
    keep = snakemake.params.options["keep_ratio"]
    if abs(len(coreset) - keep * len(pack)) > 0.02 * keep * len(pack) + 1:
        raise DataError(
            f"the published coreset has {len(coreset)} of {len(pack)} images, which is no keep ratio of {keep:g}: set "
            f"keep_ratio: {len(coreset) / len(pack):.4g}"
        )
    if len(coreset) != round(keep * len(pack)):
        logger.warning(
            "the published coreset has %d images, a keep ratio of %g would have %d",
            len(coreset),
            keep,
            round(keep * len(pack)),
        )
    for output, cost in zip(snakemake.output.coresets, snakemake.output.costs, strict=True):
        with measured(cost):
            write_pool(output, coreset, pack)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
