"""Train on a coreset and evaluate the last weights, once, on the test split."""

from pathlib import Path

import torch

from dqv2.data import Pack
from dqv2.data.dataset import require_test
from dqv2.runtime.device import describe, use_device
from dqv2.runtime.files import sha256, write_json
from dqv2.runtime.job import resume_folder, run_job, seed_of
from dqv2.runtime.logging import say
from dqv2.runtime.resume import Resume
from dqv2.select.coreset import coreset_images, read_pool
from dqv2.semantic.recipe import Recipe as Tobias
from dqv2.train.loop import FreshTobias, Recipe, accuracy, fit
from dqv2.train.models import build_model


def main(snakemake):
    options, wildcards, inputs = dict(snakemake.params.options), snakemake.wildcards, snakemake.input
    require_test(inputs.splits, wildcards.dataset)
    device = use_device(snakemake.threads)
    pack = Pack.open(inputs.train)
    recipes = list(inputs.get("recipes", [])) or [None] * len(inputs.coresets)
    fresh_files = list(inputs.get("fresh", [])) or [None] * len(inputs.coresets)
    apart = ("version", "model", "stem", "fresh_tobias")
    recipe = Recipe(**{key: value for key, value in options.items() if key not in apart})
    outputs = snakemake.output.metrics
    for coreset_file, tobias_file, fresh_file, output in zip(
        inputs.coresets, recipes, fresh_files, outputs, strict=True
    ):
        seed = seed_of(output)
        depends_on = {
            "options": options,
            "coreset": sha256(Path(coreset_file)),
            "tobias": [sha256(Path(file)) if file else None for file in (tobias_file, fresh_file)],
            "packs": [Pack.open(inputs[split]).fingerprint for split in ("train", "validation", "test")],
            "seed": seed,
            "device": describe(device),
            "threads": snakemake.threads,
            "torch": torch.__version__,
        }
        resume = Resume(resume_folder(output), depends_on)
        where = (
            f"{wildcards.dataset} · {wildcards.selection} · keep {wildcards.keep} · {wildcards.trainer} · seed {seed}"
        )
        if resume.restore(Path(output)):
            say(f"{where}: was finished before")
            continue
        coreset = read_pool(coreset_file, pack)
        images, labels = coreset_images(coreset, pack, Tobias.load(tobias_file) if tobias_file else None)
        model = build_model(options["model"], len(pack.classes), stem=options["stem"], seed=seed, purpose="train")
        fresh = None
        if fresh_file:
            masks = Tobias.load(fresh_file).masks[coreset.rows]
            fresh = FreshTobias(torch.from_numpy(masks), options["fresh_tobias"]["share"])
        history = fit(
            model, images, labels, recipe, seed=seed, purpose="train", device=device, resume=resume, fresh=fresh
        )
        scores = {}
        for split in ("validation", "test"):
            held_out = Pack.open(inputs[split])
            scores[split] = accuracy(model, held_out.images, held_out.labels, device=device) if len(held_out) else None
        write_json(
            Path(output),
            {
                "dataset": wildcards.dataset,
                "selection": wildcards.selection,
                "keep_ratio": float(wildcards.keep),
                "trainer": wildcards.trainer,
                "seed": seed,
                "test_accuracy": scores["test"],
                "validation_accuracy": scores["validation"],
                "train_loss": history.losses[-1],
                "coreset_size": len(coreset),
                "n_tobias": int(coreset.tobias.sum()),
                "n_originals": len(pack),
                "device": describe(device),
                "threads": snakemake.threads,
                "torch": torch.__version__,
            },
        )
        resume.finish(Path(output))
        say(f"{where}: {scores['test']:.1f} % on test ({history.seconds:.0f} s)")


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
