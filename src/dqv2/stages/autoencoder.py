"""Pre-train a masked autoencoder on the training images, for use without published weights."""

from dqv2.runtime.sentences import counted
from dqv2.stages.base import Stage


class Autoencoder(Stage):
    """A masked autoencoder (MAE) for DQ's pixel step, pre-trained on the dataset itself; one for all seeds."""

    title = "autoencoder"
    version = 2
    model = True
    account = "early"
    resumes = True
    cores = None
    holds = "weights"
    writes = {"model": "{dataset}/autoencoder/{autoencoder}/model.pt"}

    def reads(self, plan, w):
        return {"train": plan.file("pack", "train", w)}

    def options(self, plan, w):
        block = plan.config.autoencoders[w.autoencoder].model_dump(exclude={"title", "weights", "url", "sha256"})
        return {"flip": plan.config.datasets[w.dataset].augment.flip} | block

    def detail(self, plan, w):
        block = plan.config.autoencoders[w.autoencoder]
        return f"{block.title}: {counted(block.epochs, 'epoch')} on the full set"

    def work(self, reckoning, w):
        block, n = reckoning.config.autoencoders[w.autoencoder], reckoning.sizes(w.dataset)
        net = reckoning.autoencoder(w.dataset, w.autoencoder)
        weights = reckoning.facts(net, n.classes).weights
        return reckoning.work([(net, "train", block.epochs * n.train)], bytes=weights, state=3 * weights)

    def run(self, job):
        import numpy as np
        import torch

        from dqv2.data import Pack
        from dqv2.pixel.autoencoder import build_autoencoder, save_autoencoder
        from dqv2.pixel.pretrain import Pretraining, pretrain
        from dqv2.runtime.logging import say
        from dqv2.runtime.seeding import seeded

        options, pack = job.options, Pack.open(job.input.train)
        seed, keys = options["seed"], ("epochs", "batch_size", "learning_rate", "weight_decay", "mask_ratio", "flip")
        with seeded(seed, "autoencoder", "weights"):
            model = build_autoencoder(options["size"], image_size=pack.images.shape[2], grid=options["grid"])
        recipe = Pretraining(**{key: options[key] for key in keys})
        images = torch.from_numpy(np.array(pack.images))
        trained = pretrain(model, images, recipe, seed=seed, device=job.device, resume=job.resume)
        save_autoencoder(job.output.model, model)
        job.seconds = trained.seconds
        line = f"autoencoder {job.wildcards.autoencoder} · {job.wildcards.dataset}"
        say(f"{line}: loss {trained.loss:.3f} after {recipe.epochs} epochs ({trained.seconds:.0f} s)")
