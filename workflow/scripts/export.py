"""Coresets as folders to give away: ids with checksums, where they come from, images if asked."""

from dqv2.data import Pack
from dqv2.runtime.job import run_job, seed_of
from dqv2.runtime.logging import say
from dqv2.select.coreset import read_pool
from dqv2.select.export import export_coreset
from dqv2.semantic.recipe import Recipe


def main(snakemake):
    options, inputs = dict(snakemake.params.options), snakemake.input
    pack = Pack.open(inputs.train)
    recipes = list(inputs.get("recipes", [])) or [None] * len(inputs.coresets)
    for coreset_file, recipe_file, folder in zip(inputs.coresets, recipes, snakemake.output.folders, strict=True):
        coreset = read_pool(coreset_file, pack)
        export_coreset(
            folder,
            coreset,
            pack,
            Recipe.load(recipe_file) if recipe_file else None,
            source=options["folder"],
            images=options["images"],
            generated=options["generated"],
            provenance={**options["provenance"], "seed": seed_of(folder)},
        )
        say(f"coreset of {len(coreset):,} images ({int(coreset.tobias.sum()):,} generated): {folder}")


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
