"""How much of the objects the masks cover: one tidy row a mask, size and seed."""

import pandas as pd

from dqv2.data import Pack
from dqv2.paper.collect import write_csv
from dqv2.runtime.job import run_job
from dqv2.runtime.logging import say
from dqv2.runtime.seeding import generator
from dqv2.semantic.overlap import mean_overlap
from dqv2.semantic.recipe import Recipe


def main(snakemake):
    rows, packs = [], {path: Pack.open(path) for path in set(snakemake.input.train)}
    for columns, path, recipe in zip(
        snakemake.params.columns, snakemake.params.packs, snakemake.input.recipes, strict=True
    ):
        pack = packs[path]
        if pack.objects is None:
            raise ValueError(f"{path} knows no objects: an overlap needs a set with boxes or true masks")
        found = mean_overlap(
            Recipe.load(recipe).masks, pack.objects, generator=generator(columns["seed"], "overlap", "others")
        )
        rows.append(columns | found | {"n_images": len(pack)})
        say("{dataset} · {mask_title} · size {tobias_size} · seed {seed}: IoU {iou:.3f}".format(**rows[-1]))
    write_csv(pd.DataFrame(rows), snakemake.output.csv)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
