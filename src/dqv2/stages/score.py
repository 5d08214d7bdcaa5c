"""Scores of every training image, means over several early trainings: GraNd, EL2N, forgetting, uncertainty."""

from dqv2.runtime.sentences import counted
from dqv2.stages.base import Stage


class Score(Stage):
    """How hard each original is, as a mean over several early trainings."""

    title = "scores of early trainings"
    version = 3
    model = True
    account = "early"
    resumes = True
    cores = None
    holds = "scores, bins, coresets"
    writes = {"scores": "{dataset}/scores/{backbone}/seed-{seed}/scores.npz"}

    def reads(self, plan, w):
        return {"train": plan.file("pack", "train", w)}

    def options(self, plan, w):
        block = plan.config.backbones[w.backbone]
        return plan.hyperparameters(block) | plan.network_options(w.dataset, block)

    def detail(self, plan, w):
        block = plan.config.backbones[w.backbone]
        times = f"{block.initialisations} times " if block.initialisations > 1 else ""
        return f"{block.model}, {times}{counted(block.epochs, 'epoch')} on the full set"

    def work(self, reckoning, w):
        block, n = reckoning.config.backbones[w.backbone], reckoning.sizes(w.dataset)
        net, times = reckoning.net(w.dataset, block), block.initialisations
        trained = (net, "train", times * block.epochs * n.train)
        state = reckoning.state(reckoning.facts(net, n.classes).weights, block)
        read = (reckoning.net_of_pass(w.dataset, block), "forward", times * n.train)
        return reckoning.work([trained, read], bytes=8 * 6 * n.train, state=state)

    def builds(self, plan, w):
        return {f"backbones.{w.backbone} on datasets.{w.dataset}": self.options(plan, w)}

    def run(self, job):
        import numpy as np
        import torch

        from dqv2.data import Pack
        from dqv2.runtime.files import load_json, write_json, write_npz
        from dqv2.runtime.logging import say
        from dqv2.train.hyperparameters import Hyperparameters
        from dqv2.train.models import Network, build_model
        from dqv2.train.scoring import score_by_training

        pack = Pack.open(job.input.train)
        images, labels = pack.images, torch.from_numpy(pack.labels)
        how, network = Hyperparameters.of(job.options), Network.of(job.options, len(pack.classes))
        members, seconds = [], 0.0
        for member in range(job.options["initialisations"]):
            # More initialisations are no other training: those that are there are found again
            resume = job.resume.part(f"member-{member}", leave_out="initialisations")
            kept = resume.folder / "scores.npz", resume.folder / "seconds.json"
            if not resume.restore(*kept):
                drawn = {"seed": job.seed, "purpose": f"score-{member}"}
                model = build_model(network, **drawn)
                found, took = score_by_training(model, images, labels, how, **drawn, device=job.device, resume=resume)
                write_npz(kept[0], **found)
                write_json(kept[1], took)
                resume.finish(*kept)
            members.append(np.load(kept[0]))
            seconds += load_json(kept[1])
        means = {name: np.mean([member[name] for member in members], axis=0) for name in members[0]}
        write_npz(job.output.scores, **means)
        job.seconds = seconds
        what = f"{job.wildcards.dataset} · {job.wildcards.backbone} · seed {job.seed}"
        say(f"scores of {what}: {len(members)} trainings ({seconds:.0f} s)")
