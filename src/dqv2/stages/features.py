"""Embed every Tobias image, composed batch by batch and never written to disk."""

from dqv2.stages.base import Stage


class Features(Stage):
    """Embeddings and logits of the Tobias images, as `saliency` computes them for the originals."""

    title = "features of the Tobias images"
    version = 3
    model = True
    account = "selection"
    cores = None
    holds = "features"
    writes = {
        "embedding": "{dataset}/features/mask-{mask}/size-{size}/backbone-{backbone}/seed-{seed}/embedding.npy",
        "logits": "{dataset}/features/mask-{mask}/size-{size}/backbone-{backbone}/seed-{seed}/logits.npy",
    }

    def reads(self, plan, w):
        return {
            "train": plan.file("pack", "train", w),
            "recipe": plan.file("augment", "recipe", w),
            "model": plan.of_backbone("early_train", "model", w),
        }

    def detail(self, plan, w):
        return f"by the {plan.title('backbones', w.backbone)}"

    def work(self, reckoning, w):
        found = reckoning.one_pass(w, maps=False)
        found.units["compose"] = reckoning.sizes(w.dataset).train * reckoning.config.datasets[w.dataset].size ** 2
        return found

    def run(self, job):
        from dqv2.data import Pack
        from dqv2.data.lazy import LazyImages
        from dqv2.semantic.recipe import Recipe
        from dqv2.semantic.saliency import write_pass
        from dqv2.train.models import load_model

        pack = Pack.open(job.input.train)
        files = {name: job.outputs[name] for name in ("embedding", "logits")}
        with job.clock():
            model, recipe = load_model(job.input.model, job.device), Recipe.load(job.input.recipe)
            images = LazyImages(pack.images, lambda rows: recipe.images(pack.images, rows))
            write_pass(model, images, files)
