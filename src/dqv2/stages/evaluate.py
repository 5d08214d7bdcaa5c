"""Evaluate a training's final weights, once, on the held-out splits. No other stage is given these."""

from dqv2.stages.base import Stage


class Evaluate(Stage):
    """Accuracy of a training's final weights on the held-out splits."""

    title = "evaluation"
    version = 3
    model = True
    cores = None
    writes = {
        "metrics": "{dataset}/train/{selection}/keep-{keep}/{step}{draw}{trainer}/seed-{seed}/metrics.json",
        "record": "{dataset}/evaluate/{selection}/keep-{keep}/{step}{draw}{trainer}/seed-{seed}/record.json",
    }

    def reads(self, plan, w):
        held_out = {split: plan.file("pack", split, w) for split in ("validation", "test")}
        return {name: plan.file("train", name, w) for name in ("model", "training")} | held_out

    def options(self, plan, w):
        crop = plan.config.trainers[w.trainer].evaluation_crop
        return {"crop": crop} if crop < 1 else {}

    def detail(self, plan, w):
        crop = self.options(plan, w).get("crop")
        return "the last weights, once, on the test split" + (f", central crop of {crop:g}" if crop else "")

    def work(self, reckoning, w):
        n = reckoning.sizes(w.dataset)
        net = reckoning.net_of_evaluation(w.dataset, reckoning.config.trainers[w.trainer])
        return reckoning.work([(net, "forward", n.validation + n.test)])

    def run(self, job):
        from dqv2.data import Pack
        from dqv2.runtime.files import load_json, write_json
        from dqv2.runtime.logging import say
        from dqv2.train.evaluation import accuracy
        from dqv2.train.models import load_model

        facts = load_json(job.input.training)
        how = {
            "device": job.device,
            "precision": facts.get("precision", "float32"),
            "crop": job.options.get("crop", 1.0),
        }
        scores, sizes = {}, {}
        with job.clock():
            model = load_model(job.input.model, job.device)
            for split in ("validation", "test"):
                pack = Pack.open(job.inputs[split])
                sizes[split] = len(pack)
                found = accuracy(model, pack.images, pack.labels, **how) if len(pack) else None
                scores[f"{split}_accuracy"] = found
        write_json(job.output.metrics, facts | scores | {"n_test": sizes["test"]})
        say(f"{facts['run']}: {scores['test_accuracy']:.1f} % on test")
