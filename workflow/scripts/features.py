"""Embedding of every Tobias image, composed batch by batch and never written out."""

from dqv2.data import Pack
from dqv2.runtime.cost import measured
from dqv2.runtime.device import use_device
from dqv2.runtime.job import run_job
from dqv2.semantic.recipe import Recipe
from dqv2.semantic.saliency import write_pass
from dqv2.train.models import load_model


def main(snakemake):
    device = use_device(snakemake.threads)
    pack = Pack.open(snakemake.input.train)
    inputs = snakemake.input
    outputs = snakemake.output
    files = zip(outputs.embedding, outputs.logits, outputs.costs, strict=True)
    for model_file, recipe_file, (embedding, logits, cost) in zip(inputs.models, inputs.recipes, files, strict=True):
        with measured(cost, device):
            model, recipe = load_model(model_file, device), Recipe.load(recipe_file)
            write_pass(model, recipe.lazily(pack.images), {"embedding": embedding, "logits": logits})


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
