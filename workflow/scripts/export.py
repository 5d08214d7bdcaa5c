"""Coresets as folders to give away: ids with checksums, where they come from, images if asked."""

from dqv2.data import Pack
from dqv2.pixel.step import PixelStep
from dqv2.runtime.job import run_job, seed_of
from dqv2.runtime.logging import say
from dqv2.select.coreset import read_pool
from dqv2.select.export import export_coreset
from dqv2.semantic.recipe import Recipe


def main(snakemake):
    options, inputs = dict(snakemake.params.options), snakemake.input
    pack = Pack.open(inputs.train)
    recipes = list(inputs.get("recipes", [])) or [None] * len(inputs.coresets)
    steps = list(inputs.get("pixels", [])) or [None] * len(inputs.coresets)
    files = zip(inputs.coresets, recipes, steps, snakemake.output.folders, strict=True)
    for coreset_file, recipe_file, step_file, folder in files:
        pixels = PixelStep.load(step_file, coreset=coreset_file) if step_file else None
        weights = {"autoencoder_sha256": pixels.weights} if pixels else {}
        coreset = read_pool(coreset_file, pack)
        export_coreset(
            folder,
            coreset,
            pack,
            Recipe.load(recipe_file) if recipe_file else None,
            source=options["folder"],
            redrawn=pixels.images if pixels else None,
            images=options["images"],
            generated=options["generated"],
            provenance={**options["provenance"], **weights, "seed": seed_of(folder)},
        )
        made = len(coreset) if pixels else int(coreset.tobias.sum())
        say(f"coreset of {len(coreset):,} images ({made:,} generated): {folder}")


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
