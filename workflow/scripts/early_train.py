"""Train a backbone for a few epochs on the full training set, or leave it random."""

import time
from pathlib import Path

import torch

from dqv2.data import Pack
from dqv2.runtime.cost import write_cost
from dqv2.runtime.device import describe, use_device
from dqv2.runtime.files import atomic_path
from dqv2.runtime.job import resume_folder, run_job, seed_of
from dqv2.runtime.logging import say
from dqv2.runtime.resume import Resume
from dqv2.train.fit import fit
from dqv2.train.hyperparameters import Hyperparameters
from dqv2.train.models import Network, build_model, save_model


def main(snakemake):
    options = dict(snakemake.params.options)
    wildcards = snakemake.wildcards
    device = use_device(snakemake.threads)
    pack = Pack.open(snakemake.input.train)
    network = Network.of(options, len(pack.classes))
    for output, cost in zip(snakemake.output.models, snakemake.output.costs, strict=True):
        seed = seed_of(output)
        depends_on = {
            "options": options,
            "pack": pack.fingerprint,
            "seed": seed,
            "device": describe(device),
            "threads": snakemake.threads,
            "torch": torch.__version__,
        }
        resume = Resume(resume_folder(output), depends_on)
        line = f"early-train {wildcards.backbone} · {wildcards.dataset} · seed {seed}"
        if resume.restore(Path(output), Path(cost)):
            say(f"{line}: was finished before")
            continue
        began = time.monotonic()
        model = build_model(network, seed=seed, purpose="backbone")
        seconds = time.monotonic() - began
        if options["epochs"]:
            images, labels = pack.images, torch.from_numpy(pack.labels)
            recipe = Hyperparameters.of(options)
            history = fit(model, images, labels, recipe, seed=seed, purpose="backbone", device=device, resume=resume)
            seconds = history.seconds
            say(f"{line}: loss {history.losses[-1]:.3f} after {options['epochs']} epochs ({seconds:.0f} s)")
        else:
            say(f"{line}: random weights")
        with atomic_path(output) as temporary:
            save_model(temporary, model, network)
        write_cost(cost, seconds, device)
        resume.finish(Path(output), Path(cost))


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
