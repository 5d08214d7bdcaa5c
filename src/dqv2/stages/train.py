"""Train a network on a coreset. It is given the training split alone; `evaluate` reads the others."""

from dqv2.runtime.sentences import counted
from dqv2.stages.base import Stage


class Train(Stage):
    """The final weights of a training, and a summary of it."""

    title = "training"
    version = 3
    model = True
    account = "training"
    resumes = True
    cores = None
    holds = "weights"
    writes = {
        "model": "{dataset}/train/{selection}/keep-{keep}/{step}{draw}{trainer}/seed-{seed}/model.pt",
        "training": "{dataset}/train/{selection}/keep-{keep}/{step}{draw}{trainer}/seed-{seed}/training.json",
    }

    def reads(self, plan, w):
        block = plan.config.trainers[w.trainer]
        fresh, start = block.fresh_tobias, block.start
        pixels = w.step.removeprefix("pixels-").rstrip("/")
        of = w | {"seed": w.draw.removeprefix("coreset-seed-").rstrip("/") or w.seed}  # the coreset's seed
        return {
            "train": plan.file("pack", "train", w),
            "splits": plan.file("pack", "splits", w),
            "coreset": plan.file("sample", "coreset", of),
            "recipe": plan.recipes(plan.selection(w), of),
            "pixels": [plan.file("pixels", "pixels", of, pixels=pixels)] if pixels else [],
            "fresh": [plan.file("augment", "recipe", of, mask=fresh.mask, size=fresh.size)] if fresh else [],
            "start": [plan.of_backbone("early_train", "model", w, start)] if start else [],
        }

    def options(self, plan, w):
        block = plan.config.trainers[w.trainer]
        return plan.hyperparameters(block, "devices", "evaluation_crop") | plan.network_options(w.dataset, block)

    def detail(self, plan, w):
        block = plan.config.trainers[w.trainer]
        length = counted(block.epochs, "epoch") if block.epochs else f"{block.iterations} iterations"
        anew = ", backgrounds drawn anew" if block.fresh_tobias else ""
        begins = f", from the {plan.title('backbones', block.start)}" if block.start else ""
        return f"{block.title or w.trainer}{begins}, {length}, batch {block.batch_size}{anew}"

    def work(self, reckoning, w):
        dataset, block, kept = w.dataset, reckoning.config.trainers[w.trainer], reckoning.kept(w)
        net = reckoning.net(dataset, block)
        weights = reckoning.facts(net, reckoning.sizes(dataset).classes).weights
        shown = block.epochs * kept if block.epochs else block.iterations * min(block.batch_size, kept)
        size = reckoning.config.datasets[dataset].size
        mixture = reckoning.config.mixtures[reckoning.plan.selection(w).mixture]
        units = {"compose": kept * mixture.tobias / (mixture.originals + mixture.tobias) * size**2}
        drawn = {}
        if fresh := block.fresh_tobias:
            units["recipes"], drawn["compose"] = shown * fresh.size**2, shown * size**2
        state = reckoning.state(weights, block)
        return reckoning.work([(net, "train", shown)], units, drawn=drawn, bytes=weights, state=state)

    def builds(self, plan, w):
        return {f"trainers.{w.trainer} on datasets.{w.dataset}": self.options(plan, w)}

    def run(self, job):
        import torch

        from dqv2.data import Pack
        from dqv2.data.dataset import require_test
        from dqv2.pixel.step import PixelStep
        from dqv2.runtime.device import describe, devices_at_hand
        from dqv2.runtime.files import write_json
        from dqv2.runtime.logging import say
        from dqv2.select.coreset import coreset_images, read_pool
        from dqv2.semantic.recipe import Recipe
        from dqv2.train.backgrounds import FreshTobias
        from dqv2.train.fit import fit
        from dqv2.train.hyperparameters import Hyperparameters
        from dqv2.train.models import Network, build_model, load_network, save_model
        from dqv2.train.pretrained import put_fresh_head

        options, w = job.options, job.wildcards
        require_test(job.input.splits, w.dataset)
        pack = Pack.open(job.input.train)
        how, network = Hyperparameters.of(options), Network.of(options, len(pack.classes))
        coreset = read_pool(job.input.coreset, pack)
        pixels = job.load("pixels", lambda file: PixelStep.load(file, coreset=job.input.coreset))
        images, labels = coreset_images(coreset, pack, job.load("recipe", Recipe.load))
        mixed = None
        if pixels:
            images = torch.from_numpy(pixels.images)
            mixed = (labels[torch.from_numpy(pixels.partner)], pixels.share) if pixels.share < 1 else None
        if job.input.start:
            model, network = load_network(*job.input.start)
            network = put_fresh_head(model, network, len(pack.classes), seed=job.seed, purpose="train")
        else:
            model = build_model(network, seed=job.seed, purpose="train")
        fresh = None
        if job.input.fresh:
            masks = Recipe.load(*job.input.fresh).masks[coreset.rows]
            fresh = FreshTobias(torch.from_numpy(masks), options["fresh_tobias"]["share"])
        history = fit(
            model,
            images,
            labels,
            how,
            seed=job.seed,
            purpose="train",
            device=job.device,
            resume=job.resume,
            fresh=fresh,
            mixed=mixed,
            weights=None if coreset.weight is None else torch.from_numpy(coreset.weight),
            devices=devices_at_hand(job.resources.get("gpu", 1)),
        )
        save_model(job.output.model, model, network)
        what = f"{w.step}{w.draw}{w.trainer}".replace("/", " · ")
        where = f"{w.dataset} · {w.selection} · keep {w.keep} · {what} · seed {job.seed}"
        facts = {
            "run": where,
            "dataset": w.dataset,
            "selection": w.selection,
            "keep_ratio": float(w.keep),
            "trainer": w.trainer,
            "seed": job.seed,
            "train_loss": history.losses[-1],
            "micro_batch": history.part,
            "precision": history.precision,
            "coreset_size": len(coreset),
            "n_tobias": int(coreset.tobias.sum()),
            "n_originals": len(pack),
            "weights": pixels.weights if pixels else "",
            "device": describe(job.device),
            "threads": job.threads,
            "torch": torch.__version__,
        }
        write_json(job.output.training, facts)
        job.seconds = history.seconds
        say(f"{where}: loss {history.losses[-1]:.3f} ({history.seconds:.0f} s)")
