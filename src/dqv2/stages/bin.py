"""Mix originals and Tobias images into a pool, and divide it into bins."""

from dqv2.stages.base import Stage


class Bin(Stage):
    """The pool of originals and Tobias images, divided into bins: id, kind, class, bin and rank of each image."""

    title = "bins"
    version = 2
    account = "selection"
    cores = None
    holds = "scores, bins, coresets"
    writes = {"bins": "{dataset}/bins/{selection}/seed-{seed}/bins.csv"}

    def reads(self, plan, w):
        s = plan.selection(w)
        selector = plan.config.selectors[s.selector]
        return {
            "train": plan.file("pack", "train", w),
            **plan.passes(s, w),
            "scores": [plan.file("score", "scores", w, backbone=s.backbone)] if selector.reads_scores else [],
            "recipe": plan.recipes(s, w) if selector.reads_pixels else [],
        }

    def options(self, plan, w):
        s = plan.selection(w)
        mixture, selector = plan.config.mixtures[s.mixture], plan.config.selectors[s.selector]
        options = {"mixture": mixture.model_dump(include={"originals", "tobias"}), "selector": selector.used}
        if selector.declared.stops:  # a larger keep ratio makes it rank more, and changes no rank that it had given
            options["largest"] = {"keep": plan.largest_keeps[s], "of": mixture.budget}
        return options

    def detail(self, plan, w):
        s = plan.selection(w)
        mixture, selector = plan.config.mixtures[s.mixture], plan.config.selectors[s.selector]
        pool = [(mixture.originals, "originals"), (mixture.tobias, "Tobias images")]
        shares = [name if share == 1 else f"{100 * share:g} % {name}" for share, name in pool if share]
        n_bins = round(selector.used.get("n_bins", 0) * (mixture.originals + mixture.tobias))  # a bin keeps its size
        how = selector.title or selector.kind.removesuffix("_bins").replace("graphcut", "GraphCut").replace("_", " ")
        return f"{' + '.join(shares)}: {how}" + (f", {n_bins} bins" if n_bins else "")

    def work(self, reckoning, w):
        s = reckoning.plan.selection(w)
        selector, images, units = reckoning.config.selectors[s.selector], reckoning.pool(s), {}
        if selector.reads_features and "score" not in selector.used:
            n = reckoning.sizes(s.dataset)
            net = reckoning.net_of_pass(s.dataset, reckoning.config.backbones[s.backbone])
            gradient = n.classes if selector.features != "embedding" else 0
            numbers = reckoning.facts(net, n.classes).embedding + gradient
            units[f"select {selector.kind}"] = images**2 / n.classes * numbers
        return reckoning.work(units=units, spread=True, bytes=images * reckoning.ROW)

    def run(self, job):
        import numpy as np

        from dqv2.data import Pack
        from dqv2.runtime.logging import logger
        from dqv2.select.coreset import mix, write_pool
        from dqv2.select.selectors import bins_of_pool, divide
        from dqv2.semantic.recipe import Recipe

        pack = Pack.open(job.input.train)
        if (asked := job.options["selector"].get("n_bins", 0)) > len(pack):
            raise ValueError(f"n_bins = {asked} is more than the {len(pack)} training images: lower it in selectors")
        with job.clock():
            pool = mix(len(pack), **job.options["mixture"], generator=job.generator("mix"))
            largest = None
            if asked := job.options.get("largest"):
                whole = len(pack) if asked["of"] == "originals" else len(pool)
                largest = max(1, round(asked["keep"] * whole))
            divided = divide(
                pool,
                pack,
                [np.load(file, mmap_mode="r") for file in job.input.features],
                [np.load(file, mmap_mode="r") for file in job.input.logits],
                scores=job.load("scores", np.load),
                recipe=job.load("recipe", Recipe.load),
                generator=job.generator("bins"),
                largest=largest,
                **job.options["selector"],
            )
            write_pool(job.output.bins, divided, pack)
        filled = len(np.unique(divided.bins[divided.bins >= 0]))
        asked = bins_of_pool(job.options["selector"].get("n_bins", 0), len(pool), len(pack))
        logger.info("%d images in %d bins", len(pool), filled)
        if filled < asked:
            logger.warning(
                "%s: %d of %d bins are empty, as DQ's bin sizes round to 0 in classes this small: lower n_bins",
                job.wildcards.selection,
                asked - filled,
                asked,
            )
