"""Embedding of every Tobias image, composed batch by batch and never written out."""

import numpy as np
import torch

from dqv2.data import Pack
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
    for model_file, recipe_file, output in zip(inputs.models, inputs.recipes, snakemake.output.embedding, strict=True):
        model, recipe = load_model(model_file, device), Recipe.load(recipe_file)
        found = [
            forward_pass(model, recipe.images(pack.images, np.arange(i, min(i + BATCH, len(pack))))).embedding
            for i in range(0, len(pack), BATCH)
        ]
        with atomic_path(output) as temporary, temporary.open("wb") as file:
            np.save(file, torch.cat(found).numpy())


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
