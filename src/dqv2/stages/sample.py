"""Draw the coreset from the bins, exactly as many images as the keep ratio asks for, or read a published list."""

from dqv2.stages.base import Stage


class Sample(Stage):
    """The coreset as a list of ids."""

    title = "coreset"
    version = 3
    account = "selection"
    holds = "scores, bins, coresets"
    writes = {"coreset": "{dataset}/coreset/{selection}/keep-{keep}/seed-{seed}/coreset.csv"}

    def reads(self, plan, w):
        s = plan.selection(w)
        selector = plan.config.selectors[s.selector]
        published = selector.declared.gives == "list"
        return {
            "train": plan.file("pack", "train", w),
            "bins": [] if published else [plan.file("bin", "bins", w)],
            "published": [plan.file("fetch_coreset", "ids", w, selector=s.selector)] if published else [],
            **(plan.passes(s, w) if selector.drawn_by_features else {"features": [], "logits": []}),
        }

    def options(self, plan, w):
        s = plan.selection(w)
        selector = plan.config.selectors[s.selector]
        weights = {"weights": selector.used} if selector.weighted else {}
        return {"budget": plan.config.mixtures[s.mixture].budget, "sampler": selector.sampler} | weights

    def detail(self, plan, w):
        s = plan.selection(w)
        of = "the pool" if plan.config.mixtures[s.mixture].budget == "pool" else "the originals' number"
        selector = plan.config.selectors[s.selector]
        weighted = ", with weights" if selector.weighted else ""
        return f"{self._drawn(selector)}: {100 * float(w.keep):g} % of {of}{weighted}"

    @staticmethod
    def _drawn(selector):
        """How a coreset is drawn from what the selector leaves."""
        from dqv2.select.table import SAMPLERS

        if selector.declared.gives == "list":
            return "the published list"
        if selector.kind == "random":  # all in one bin
            return "at random, the same share of every class"
        return SAMPLERS[selector.sampler].what

    def work(self, reckoning, w):
        return reckoning.work(bytes=reckoning.kept(w) * reckoning.ROW)

    def run(self, job):
        from dataclasses import replace

        import numpy as np

        from dqv2.data import Pack
        from dqv2.runtime.logging import logger
        from dqv2.select.coreset import draw_places, read_pool, write_pool
        from dqv2.select.published import published_coreset
        from dqv2.select.selectors import PoolRows, weigh

        pack, keep = Pack.open(job.input.train), float(job.wildcards.keep)
        if job.input.published:
            with job.clock():
                coreset = published_coreset(*job.input.published, pack, keep=keep)
                write_pool(job.output.coreset, coreset, pack)
            if (n := len(coreset)) != (asked := round(keep * len(pack))):
                logger.warning("the published coreset has %d images, a keep ratio of %g would have %d", n, keep, asked)
            return
        with job.clock():
            pool = read_pool(*job.input.bins, pack)
            whole = len(pack) if job.options["budget"] == "originals" else len(pool)
            count = max(1, round(keep * whole))
            draws = job.generator("sample")
            embeddings, logits = (
                [np.load(file, mmap_mode="r") for file in job.inputs[name]] for name in ("features", "logits")
            )
            how = {"sampler": job.options["sampler"], "generator": draws}
            if how["sampler"] == "classes":
                how["embedding"] = PoolRows(pool, embeddings)[:]
            places = draw_places(pool, pack.labels, count, **how)
            coreset = pool.take(places)
            if "weights" in job.options:
                weights = weigh(pool, places, pack, embeddings, logits, **job.options["weights"])
                coreset = replace(coreset, weight=weights)
            write_pool(job.output.coreset, coreset, pack)
        logger.info("%d of %d images, %d of them Tobias", count, len(pool), coreset.tobias.sum())
