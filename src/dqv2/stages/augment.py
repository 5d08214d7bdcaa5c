"""Draw a mask and a donor for every training image: the recipe from which its Tobias image is composed."""

from dqv2.stages.base import Stage


class Augment(Stage):
    """The recipe of each Tobias image: its mask, its donor, and the donor's cells that replace its background."""

    title = "Tobias images"
    version = 2
    account = "selection"
    holds = "recipes"
    writes = {"recipe": "{dataset}/tobias/mask-{mask}/size-{size}/seed-{seed}/recipe.npz"}

    def reads(self, plan, w):
        backbone = plan.config.masks[w.mask].backbone
        maps = [plan.of_backbone("saliency", "saliency", w, backbone)] if backbone else []
        return {"train": plan.file("pack", "train", w), "saliency": maps}

    def options(self, plan, w):
        block = plan.config.masks[w.mask]
        options = {"source": block.source, "backbone": block.backbone, "fraction": block.fraction}
        return options | ({"donors": block.donors} if block.donors > 1 else {})

    def detail(self, plan, w):
        donors = plan.config.masks[w.mask].donors
        background = "another image's background" if donors == 1 else f"the backgrounds of {donors} others"
        return f"{plan.title('masks', w.mask)}, {w.size} × {w.size} cells, {background}"

    def work(self, reckoning, w):
        n, cells = reckoning.sizes(w.dataset).train, int(w.size) ** 2
        return reckoning.work(units={"masks": n * cells, "recipes": n * cells}, bytes=n * (8 + 4 * cells))

    def maps(self, plan, w):
        backbone = plan.config.masks[w.mask].backbone
        return {plan.of_backbone("early_train", "model", w, backbone): "masks"} if backbone else {}

    def run(self, job):
        import numpy as np
        import torch

        from dqv2.data import Pack
        from dqv2.runtime.logging import logger
        from dqv2.semantic.masks import foreground
        from dqv2.semantic.overlap import iou_of_images
        from dqv2.semantic.recipe import make_recipe
        from dqv2.semantic.sources import mask_saliency
        from dqv2.semantic.table import MASK_SOURCES

        options, size = job.options, int(job.wildcards.size)
        pack = Pack.open(job.input.train)
        known = pack.objects is not None
        reads = MASK_SOURCES[options["source"]].reads
        objects = torch.from_numpy(np.array(pack.objects)) if known and reads == "objects" else None
        with job.clock():
            maps = mask_saliency(
                options["source"],
                n=len(pack),
                size=size,
                network=job.load("saliency", lambda file: torch.from_numpy(np.load(file))),
                objects=objects,
                generator=job.generator("mask", options["source"]),
            )
            masks = foreground(maps, size, fraction=options["fraction"])
            donors = options.get("donors", 1)
            make_recipe(masks, donors=donors, generator=job.generator("tobias")).save(job.output.recipe)
        if known:
            overlap = iou_of_images(masks.numpy(), pack.objects)
            logger.info("IoU with the objects %.3f (mean of %d images)", overlap.mean(), len(pack))
