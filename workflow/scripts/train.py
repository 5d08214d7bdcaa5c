"""Train on a coreset. Nothing but the training split is given; `evaluate` sees the others."""

from pathlib import Path

import torch

from dqv2 import paths
from dqv2.data import Pack
from dqv2.data.dataset import require_test
from dqv2.paths import axes_of
from dqv2.pixel.step import PixelStep
from dqv2.runtime.cost import write_cost
from dqv2.runtime.device import describe, devices_at_hand, use_device
from dqv2.runtime.files import atomic_path, sha256, write_json
from dqv2.runtime.job import resume_folder, run_job, seed_of
from dqv2.runtime.logging import say
from dqv2.runtime.resume import Resume
from dqv2.select.coreset import coreset_images, read_pool
from dqv2.semantic.recipe import Recipe as Tobias
from dqv2.train.backgrounds import FreshTobias
from dqv2.train.fit import fit
from dqv2.train.hyperparameters import Hyperparameters
from dqv2.train.models import Network, build_model, save_model


def main(snakemake):
    options, inputs = dict(snakemake.params.options), snakemake.input
    require_test(inputs.splits, axes_of(paths.MODEL, snakemake.output.models[0])["dataset"])
    device = use_device(snakemake.threads)
    pack = Pack.open(inputs.train)
    recipes = list(inputs.get("recipes", [])) or [None] * len(inputs.coresets)
    fresh_files = list(inputs.get("fresh", [])) or [None] * len(inputs.coresets)
    pixel_files = list(inputs.get("pixels", [])) or [None] * len(inputs.coresets)
    recipe, network = Hyperparameters.of(options), Network.of(options, len(pack.classes))
    outputs = zip(snakemake.output.models, snakemake.output.trainings, snakemake.output.costs, strict=True)
    files = zip(inputs.coresets, recipes, fresh_files, pixel_files, outputs, strict=True)
    for coreset_file, tobias_file, fresh_file, pixel_file, made in files:
        model_file, training_file, cost_file = map(Path, made)
        seed = seed_of(model_file)
        depends_on = {
            "options": options,
            "coreset": sha256(Path(coreset_file)),
            "images": [sha256(Path(file)) if file else None for file in (tobias_file, fresh_file, pixel_file)],
            "pack": pack.fingerprint,
            "seed": seed,
            "device": describe(device),
            "threads": snakemake.threads,
            "torch": torch.__version__,
        }
        resume = Resume(resume_folder(model_file), depends_on)
        axes = axes_of(paths.MODEL, model_file)
        what = f"{axes['step']}{axes['trainer']}".replace("/", " · ")
        where = f"{axes['dataset']} · {axes['selection']} · keep {axes['keep']} · {what} · seed {seed}"
        if resume.restore(model_file, training_file, cost_file):
            say(f"{where}: was finished before")
            continue
        coreset = read_pool(coreset_file, pack)
        pixels = PixelStep.load(pixel_file, coreset=coreset_file) if pixel_file else None
        images, labels = coreset_images(coreset, pack, Tobias.load(tobias_file) if tobias_file else None)
        mixed = None
        if pixels:
            images = torch.from_numpy(pixels.images)
            mixed = (labels[torch.from_numpy(pixels.partner)], pixels.share) if pixels.share < 1 else None
        model = build_model(network, seed=seed, purpose="train")
        fresh = None
        if fresh_file:
            masks = Tobias.load(fresh_file).masks[coreset.rows]
            fresh = FreshTobias(torch.from_numpy(masks), options["fresh_tobias"]["share"])
        history = fit(
            model,
            images,
            labels,
            recipe,
            seed=seed,
            purpose="train",
            device=device,
            resume=resume,
            fresh=fresh,
            mixed=mixed,
            devices=devices_at_hand(snakemake.resources.get("gpu", 1)),
        )
        with atomic_path(model_file) as temporary:
            save_model(temporary, model, network)
        facts = {
            "run": where,
            "dataset": axes["dataset"],
            "selection": axes["selection"],
            "keep_ratio": float(axes["keep"]),
            "trainer": axes["trainer"],
            "seed": seed,
            "train_loss": history.losses[-1],
            "micro_batch": history.part,
            "precision": recipe.precision,
            "coreset_size": len(coreset),
            "n_tobias": int(coreset.tobias.sum()),
            "n_originals": len(pack),
            "weights": pixels.weights if pixels else "",
            "device": describe(device),
            "threads": snakemake.threads,
            "torch": torch.__version__,
        }
        write_json(training_file, facts)
        write_cost(cost_file, history.seconds, device)
        resume.finish(model_file, training_file, cost_file)
        say(f"{where}: loss {history.losses[-1]:.3f} ({history.seconds:.0f} s)")


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
