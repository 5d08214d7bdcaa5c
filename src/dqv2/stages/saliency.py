"""One pass of a backbone over the training images: the saliency for masks, the embedding for bins."""

from dqv2.stages.base import Stage


class Saliency(Stage):
    """Saliency maps for masks and embeddings for bins, from one pass over the originals."""

    title = "saliency and features"
    version = 3
    model = True
    account = "selection"
    cores = None
    holds = "features"
    writes = {
        "saliency": "{dataset}/saliency/{backbone}/seed-{seed}/saliency.npy",
        "embedding": "{dataset}/saliency/{backbone}/seed-{seed}/embedding.npy",
        "logits": "{dataset}/saliency/{backbone}/seed-{seed}/logits.npy",
    }

    def reads(self, plan, w):
        return {"train": plan.file("pack", "train", w), "model": plan.of_backbone("early_train", "model", w)}

    def detail(self, plan, w):
        return "last feature map and embedding of every image"

    def work(self, reckoning, w):
        return reckoning.one_pass(w, maps=True)

    def run(self, job):
        from dqv2.data import Pack
        from dqv2.semantic.saliency import write_pass
        from dqv2.train.models import load_model

        pack = Pack.open(job.input.train)
        files = {name: job.outputs[name] for name in ("saliency", "embedding", "logits")}
        with job.clock():
            write_pass(load_model(job.input.model, job.device), pack.images, files)
