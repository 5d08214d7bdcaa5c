"""DQ's pixel step on a coreset: the least important patches are dropped and reconstructed, or CutMix is applied."""

from pathlib import Path

from dqv2.stages.base import Stage


class Pixels(Stage):
    """The coreset's images after the pixel step."""

    title = "pixel step"
    version = 2
    model = True
    account = "selection"
    cores = None
    holds = "pixels of coresets"
    writes = {"pixels": "{dataset}/pixels/{selection}/keep-{keep}/{pixels}/seed-{seed}/pixels.npz"}

    def reads(self, plan, w):
        return {
            "train": plan.file("pack", "train", w),
            "coreset": plan.file("sample", "coreset", w),
            "recipe": plan.recipes(plan.selection(w), w),
            **self.drawn_by(plan, w),
        }

    def drawn_by(self, plan, w):
        """The network that rates patches by importance, and the autoencoder that reconstructs the dropped ones."""
        block = plan.config.pixels[w.pixels]
        autoencoder = []
        if name := block.autoencoder:
            notes = [plan.file("weights", "json", block=kind, network=each) for kind, each in self.published(plan, w)]
            autoencoder = notes or [plan.file("autoencoder", "model", w, autoencoder=name)]
        important = [plan.of_backbone("early_train", "model", w, block.backbone)] if block.backbone else []
        return {"model": important, "autoencoder": autoencoder}

    def options(self, plan, w):
        # The names too, since another network's file may be older than the result
        block = plan.config.pixels[w.pixels]
        drawn_by = plan.config.autoencoders[block.autoencoder].weights if block.autoencoder else None
        autoencoder = drawn_by and {"name": block.autoencoder, "file": Path(drawn_by).name}
        options = {"step": block.step, "share": block.share, "backbone": block.backbone, "autoencoder": autoencoder}
        return options | ({"visible": block.visible} if block.visible != "kept" else {})

    def detail(self, plan, w):
        block = plan.config.pixels[w.pixels]
        if block.step == "cutmix":
            return f"CutMix: {100 * block.share:g} % of the area from another image"
        return f"the {100 * block.share:g} % least important patches (Grad-CAM++) drawn anew"

    def work(self, reckoning, w):
        block, kept = reckoning.config.pixels[w.pixels], reckoning.kept(w)
        networks = self.networks(reckoning, w, block, kept) if block.step == "mae" else []
        return reckoning.work(networks, bytes=kept * 3 * reckoning.config.datasets[w.dataset].size ** 2)

    @staticmethod
    def networks(reckoning, w, block, images):
        """The passes over the images. Grad-CAM++'s backward pass ends at the last feature map and is not counted."""
        important = reckoning.net_of_pass(w.dataset, reckoning.config.backbones[block.backbone])
        autoencoder = reckoning.autoencoder(w.dataset, block.autoencoder)
        return [(important, "forward", images), (autoencoder, "forward", images)]

    def published(self, plan, w):
        name = plan.config.pixels[w.pixels].autoencoder
        own = name is None or plan.config.autoencoders[name].weights == "self"
        return [] if own else [("autoencoders", name)]

    def maps(self, plan, w):
        backbone = plan.config.pixels[w.pixels].backbone
        return {plan.of_backbone("early_train", "model", w, backbone): "importance"} if backbone else {}

    def run(self, job):
        from dqv2.data import Pack
        from dqv2.pixel.importance import grad_cam_pp
        from dqv2.pixel.step import cutmix_step, mae_step
        from dqv2.runtime.logging import logger
        from dqv2.select.coreset import coreset_images, read_pool
        from dqv2.semantic.recipe import Recipe
        from dqv2.train.models import load_model

        options, pack = job.options, Pack.open(job.input.train)
        autoencoder, weights = None, ""
        if options["step"] == "mae":
            autoencoder, weights = self.autoencoder_of(Path(*job.input.autoencoder))
            autoencoder = autoencoder.to(job.device)
        with job.clock():
            coreset = read_pool(job.input.coreset, pack)
            images, _ = coreset_images(coreset, pack, job.load("recipe", Recipe.load), whole=True)
            if autoencoder is None:
                step = cutmix_step(images, options["share"], generator=job.generator("cutmix"))
            else:
                importance = grad_cam_pp(load_model(*job.input.model, job.device), images)
                how = {"resampled": options.get("visible") == "resampled", "weights": weights}
                step = mae_step(images, importance, options["share"], autoencoder, **how)
            step.save(job.output.pixels, coreset=job.input.coreset)
        logger.info("%d images, %.1f %% of each replaced", len(images), 100 * step.replaced)

    @staticmethod
    def autoencoder_of(file):
        """The autoencoder and its checksum, from its file or from the note that published weights were looked at."""
        from dqv2.pixel.autoencoder import load_autoencoder
        from dqv2.weights import checksum_of, noted

        path, found = (file, checksum_of(file)) if file.suffix != ".json" else noted(file)
        return load_autoencoder(path), found
