"""Scores of every training image, means over several early trainings: GraNd, EL2N, forgetting, uncertainty."""

import torch

from dqv2.data import Pack
from dqv2.runtime.cost import write_cost
from dqv2.runtime.device import describe, use_device
from dqv2.runtime.job import resume_folder, run_job, seed_of
from dqv2.runtime.logging import say
from dqv2.runtime.resume import Resume
from dqv2.select.scores import Scores
from dqv2.train.hyperparameters import Hyperparameters
from dqv2.train.models import Network, build_model
from dqv2.train.scoring import score_by_training


def main(snakemake):
    options = dict(snakemake.params.options)
    device = use_device(snakemake.threads)
    pack = Pack.open(snakemake.input.train)
    images, labels = pack.images, torch.from_numpy(pack.labels)
    recipe = Hyperparameters.of(options)
    network = Network.of(options, len(pack.classes))
    for output, cost in zip(snakemake.output.scores, snakemake.output.costs, strict=True):
        seed = seed_of(output)
        members = []
        for member in range(options["initialisations"]):
            depends_on = {
                "options": {key: value for key, value in options.items() if key != "initialisations"},
                "pack": pack.fingerprint,
                "seed": seed,
                "member": member,
                "device": describe(device),
                "threads": snakemake.threads,
                "torch": torch.__version__,
            }
            resume = Resume(resume_folder(output) / f"member-{member}", depends_on)
            kept = resume.folder / "scores.npz"
            if not resume.restore(kept):
                purpose = f"score-{member}"
                model = build_model(network, seed=seed, purpose=purpose)
                found = score_by_training(
                    model, images, labels, recipe, seed=seed, purpose=purpose, device=device, resume=resume
                )
                found.save(kept)
                resume.finish(kept)
            members.append(Scores.load(kept))
        scores = Scores.mean(members)
        scores.save(output)
        write_cost(cost, scores.seconds, device, initialisations=len(members))
        say(
            f"scores of {snakemake.wildcards.dataset} · {snakemake.wildcards.backbone} · seed {seed}: "
            f"{len(members)} trainings ({scores.seconds:.0f} s)"
        )


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
