"""Embed every training image as a pixel step would leave it, composed batch by batch and never written to disk."""

from pathlib import Path

from dqv2.stages.pixels import Pixels


class Redrawn(Pixels):
    """Embeddings and logits of the training images after the pixel step, as `saliency` computes those of originals."""

    title = "features of the redrawn images"
    version = 1
    holds = "features"
    writes = {
        "embedding": "{dataset}/redrawn/{pixels}/backbone-{backbone}/seed-{seed}/embedding.npy",
        "logits": "{dataset}/redrawn/{pixels}/backbone-{backbone}/seed-{seed}/logits.npy",
    }

    def reads(self, plan, w):
        drawn = self.drawn_by(plan, w)
        return {
            "train": plan.file("pack", "train", w),
            "model": plan.of_backbone("early_train", "model", w),
            "importance": drawn["model"],
            "autoencoder": drawn["autoencoder"],
        }

    def detail(self, plan, w):
        return f"by the {plan.title('backbones', w.backbone)}; {super().detail(plan, w)}"

    def work(self, reckoning, w):
        found, block = reckoning.one_pass(w, maps=False), reckoning.config.pixels[w.pixels]
        found.networks += self.networks(reckoning, w, block, reckoning.sizes(w.dataset).train)
        return found

    def run(self, job):
        import numpy as np
        import torch

        from dqv2.data import Pack
        from dqv2.data.lazy import LazyImages
        from dqv2.pixel.importance import grad_cam_pp
        from dqv2.pixel.step import mae_step
        from dqv2.semantic.saliency import write_pass
        from dqv2.train.models import load_model

        pack, share = Pack.open(job.input.train), job.options["share"]
        autoencoder = self.autoencoder_of(Path(*job.input.autoencoder))[0].to(job.device)
        resampled = job.options.get("visible") == "resampled"
        files = {name: job.outputs[name] for name in ("embedding", "logits")}
        with job.clock():
            model, important = load_model(job.input.model, job.device), load_model(*job.input.importance, job.device)

            def redraw(rows):
                images = torch.from_numpy(np.array(pack.images[rows]))
                return mae_step(images, grad_cam_pp(important, images), share, autoencoder, resampled=resampled).images

            write_pass(model, LazyImages(pack.images, redraw), files)
