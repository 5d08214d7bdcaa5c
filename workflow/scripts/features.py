"""Embedding of every Tobias image, composed batch by batch and never written out."""

import numpy as np
import torch

from dqv2.data import Pack
from dqv2.runtime.cost import measured
from dqv2.runtime.device import use_device
from dqv2.runtime.files import atomic_path
from dqv2.runtime.job import run_job
from dqv2.semantic.recipe import Recipe
from dqv2.semantic.saliency import forward_pass
from dqv2.train.models import load_model

BATCH = 1024


def main(snakemake):
    device = use_device(snakemake.threads)
    pack = Pack.open(snakemake.input.train)
    inputs = snakemake.input
    outputs = snakemake.output
    files = zip(outputs.embedding, outputs.logits, outputs.costs, strict=True)
    for model_file, recipe_file, (embedding, logits, cost) in zip(inputs.models, inputs.recipes, files, strict=True):
        with measured(cost, device):
            model, recipe = load_model(model_file, device), Recipe.load(recipe_file)
            rows = [np.arange(i, min(i + BATCH, len(pack))) for i in range(0, len(pack), BATCH)]
            found = [forward_pass(model, recipe.images(pack.images, part)) for part in rows]
            for path, parts in ((embedding, [f.embedding for f in found]), (logits, [f.logits for f in found])):
                with atomic_path(path) as temporary, temporary.open("wb") as file:
                    np.save(file, torch.cat(parts).numpy())


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
