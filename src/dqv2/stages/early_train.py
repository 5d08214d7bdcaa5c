"""Make a backbone: train it for a few epochs on the full training set, leave it random, or take it pre-trained."""

import time

from dqv2.runtime.sentences import counted
from dqv2.stages.base import Stage
from dqv2.weights import PRETRAINED


class EarlyTrain(Stage):
    """The network for masks and features: trained for a few epochs on the full set, random, or pre-trained."""

    title = "network"
    version = 4
    model = True
    account = "early"
    resumes = True
    cores = None
    holds = "weights"
    writes = {"model": "{dataset}/early/{backbone}/seed-{seed}/model.pt"}

    def reads(self, plan, w):
        notes = [plan.file("weights", "json", block=block, network=name) for block, name in self.published(plan, w)]
        return {"train": plan.file("pack", "train", w), "weights": notes}

    def options(self, plan, w):
        block = plan.config.backbones[w.backbone]
        recipe = plan.hyperparameters(block, "initialisations")
        if not block.epochs:  # random weights depend on nothing else
            only = ("model", "args", "input_size", "epochs", *(PRETRAINED if block.weights else ()))
            recipe = {key: value for key, value in recipe.items() if key in only}
        return recipe | plan.network_options(w.dataset, block, augment=block.epochs > 0)

    def detail(self, plan, w):
        block = plan.config.backbones[w.backbone]
        begins = "random weights"
        if block.weights:
            begins = "pre-trained elsewhere" + (f" ({block.place.hub})" if block.place.hub else "")
        trained = f"{counted(block.epochs, 'epoch')} on the full set"
        both = f"{begins}, then {trained}" if block.weights else trained
        return f"{block.model}, {both if block.epochs else begins}"

    def work(self, reckoning, w):
        block, n = reckoning.config.backbones[w.backbone], reckoning.sizes(w.dataset)
        net = reckoning.net(w.dataset, block)
        weights = reckoning.facts(net, n.classes).weights
        trained = [(net, "train", block.epochs * n.train)] if block.epochs else []
        return reckoning.work(trained, bytes=weights, state=reckoning.state(weights, block) if trained else 0)

    def published(self, plan, w):
        return [("backbones", w.backbone)] if plan.config.backbones[w.backbone].weights else []

    def builds(self, plan, w):
        return {f"backbones.{w.backbone} on datasets.{w.dataset}": self.options(plan, w)}

    def run(self, job):
        import torch

        from dqv2.data import Pack
        from dqv2.runtime.logging import say
        from dqv2.train.fit import fit
        from dqv2.train.hyperparameters import Hyperparameters
        from dqv2.train.models import Network, build_model, save_model

        pack = Pack.open(job.input.train)
        network = Network.of(job.options, len(pack.classes))
        began = time.monotonic()
        if job.input.weights:
            from dqv2.train.pretrained import load_pretrained
            from dqv2.weights import hub_name, noted

            path, _ = noted(*job.input.weights)
            how = {key: job.options[key] for key in ("layers", "mean", "std") if key in job.options}
            how["hub"] = hub_name(job.options["weights"])
            fresh = job.seed if job.options.get("head") == "fresh" else None
            model, network = load_pretrained(path, network, fresh_head=fresh, **how)
        else:
            model = build_model(network, seed=job.seed, purpose="backbone")
        job.seconds = time.monotonic() - began
        line = f"early-train {job.wildcards.backbone} · {job.wildcards.dataset} · seed {job.seed}"
        if job.options["epochs"]:
            how = {"seed": job.seed, "purpose": "backbone", "device": job.device, "resume": job.resume}
            labels = torch.from_numpy(pack.labels)
            history = fit(model, pack.images, labels, Hyperparameters.of(job.options), **how)
            job.seconds = history.seconds
            epochs = job.options["epochs"]
            say(f"{line}: loss {history.losses[-1]:.3f} after {epochs} epochs ({job.seconds:.0f} s)")
        else:
            say(f"{line}: {'pre-trained' if job.input.weights else 'random'} weights")
        save_model(job.output.model, model, network)
