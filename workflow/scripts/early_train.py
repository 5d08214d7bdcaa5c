"""Train a backbone for a few epochs on the full training set, or leave it random."""

from pathlib import Path

import torch

from dqv2.data import Pack
from dqv2.runtime.device import describe, use_device
from dqv2.runtime.files import atomic_path
from dqv2.runtime.job import resume_folder, run_job, seed_of
from dqv2.runtime.logging import say
from dqv2.runtime.resume import Resume
from dqv2.train.loop import Recipe, fit
from dqv2.train.models import build_model, save_model


def main(snakemake):
    options = dict(snakemake.params.options)
    wildcards = snakemake.wildcards
    device = use_device(snakemake.threads)
    pack = Pack.open(snakemake.input.train)
    for output in snakemake.output.models:
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
        if resume.restore(Path(output)):
            say(f"{line}: was finished before")
            continue
        name, stem = options["model"], options["stem"]
        model = build_model(name, len(pack.classes), stem=stem, seed=seed, purpose="backbone")
        if options["epochs"]:
            keys = ("batch_size", "learning_rate", "momentum", "weight_decay", "augment", "epochs")
            recipe = Recipe(**{key: options[key] for key in keys})
            images, labels = pack.images, torch.from_numpy(pack.labels)
            history = fit(model, images, labels, recipe, seed=seed, purpose="backbone", device=device, resume=resume)
            say(f"{line}: loss {history.losses[-1]:.3f} after {options['epochs']} epochs ({history.seconds:.0f} s)")
        else:
            say(f"{line}: random weights")
        with atomic_path(output) as temporary:
            save_model(temporary, model, name=name, n_classes=len(pack.classes), stem=stem)
        resume.finish(Path(output))


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
