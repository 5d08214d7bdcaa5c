"""DQ's pixel step on a coreset: what matters least is dropped and drawn anew, or CutMix in its place."""

import json
from pathlib import Path

from dqv2.data import Pack
from dqv2.pixel.autoencoder import WeightsError, load_autoencoder, weights_sha256
from dqv2.pixel.importance import grad_cam_pp
from dqv2.pixel.step import cutmix_step, mae_step
from dqv2.runtime.cost import measured
from dqv2.runtime.device import use_device
from dqv2.runtime.job import run_job, seed_of
from dqv2.runtime.logging import logger
from dqv2.runtime.seeding import generator
from dqv2.select.coreset import coreset_images, read_pool
from dqv2.semantic.recipe import Recipe
from dqv2.train.models import load_model


def _autoencoder(file):
    """The autoencoder and its checksum, from its own file or from the note that published weights were looked at."""
    if file.suffix != ".json":
        return load_autoencoder(file), weights_sha256(file)
    seen = json.loads(file.read_text())
    if (found := weights_sha256(seen["path"])) != seen["sha256"]:
        raise WeightsError(
            f"{seen['path']} has changed since it was looked at: remove {file} to have it looked at anew."
        )
    return load_autoencoder(seen["path"]), found


def main(snakemake):
    options, inputs, outputs = snakemake.params.options, snakemake.input, snakemake.output
    device = use_device(snakemake.threads)
    pack = Pack.open(inputs.train)
    recipes = list(inputs.get("recipes", [])) or [None] * len(inputs.coresets)
    networks = list(inputs.get("models", [])) or [None] * len(inputs.coresets)
    autoencoder, weights = None, ""
    if options["step"] == "mae":
        autoencoder, weights = _autoencoder(Path(*inputs.autoencoder))
        autoencoder = autoencoder.to(device)
    rows = zip(inputs.coresets, recipes, networks, outputs.pixels, outputs.costs, strict=True)
    for coreset_file, recipe, network, output, cost in rows:
        seed = seed_of(output)
        with measured(cost, device):
            coreset = read_pool(coreset_file, pack)
            images, _ = coreset_images(coreset, pack, Recipe.load(recipe) if recipe else None, whole=True)
            if autoencoder is None:
                step = cutmix_step(images, options["share"], generator=generator(seed, "cutmix"))
            else:
                importance = grad_cam_pp(load_model(network, device), images)
                step = mae_step(images, importance, options["share"], autoencoder, weights=weights)
            step.save(output, coreset=coreset_file)
        logger.info("seed %d: %d images, %.1f %% of each replaced", seed, len(images), 100 * step.replaced)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
