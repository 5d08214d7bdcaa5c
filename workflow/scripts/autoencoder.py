"""Pre-train a masked autoencoder on the training images, where no published weights are used."""

from pathlib import Path

import numpy as np
import torch

from dqv2.data import Pack
from dqv2.pixel.autoencoder import build_autoencoder, save_autoencoder
from dqv2.pixel.pretrain import Pretraining, pretrain
from dqv2.runtime.cost import write_cost
from dqv2.runtime.device import describe, use_device
from dqv2.runtime.files import atomic_path
from dqv2.runtime.job import resume_folder, run_job
from dqv2.runtime.logging import say
from dqv2.runtime.resume import Resume
from dqv2.runtime.seeding import seeded


def main(snakemake):
    options = dict(snakemake.params.options)
    device = use_device(snakemake.threads)
    pack = Pack.open(snakemake.input.train)
    output, cost_file = Path(snakemake.output.model), Path(snakemake.output.cost)
    depends_on = {
        "options": options,
        "pack": pack.fingerprint,
        "device": describe(device),
        "threads": snakemake.threads,
        "torch": torch.__version__,
    }
    resume = Resume(resume_folder(output), depends_on)
    line = f"autoencoder {snakemake.wildcards.autoencoder} · {snakemake.wildcards.dataset}"
    if resume.restore(output, cost_file):
        say(f"{line}: was finished before")
        return
    seed, keys = options["seed"], ("epochs", "batch_size", "learning_rate", "weight_decay", "mask_ratio", "flip")
    with seeded(seed, "autoencoder", "weights"):
        model = build_autoencoder(options["size"], image_size=pack.images.shape[2], grid=options["grid"])
    recipe = Pretraining(**{key: options[key] for key in keys})
    images = torch.from_numpy(np.array(pack.images))
    trained = pretrain(model, images, recipe, seed=seed, device=device, resume=resume)
    with atomic_path(output) as temporary:
        save_autoencoder(temporary, model)
    write_cost(cost_file, trained.seconds, device)
    resume.finish(output, cost_file)
    say(f"{line}: loss {trained.loss:.3f} after {recipe.epochs} epochs ({trained.seconds:.0f} s)")


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
