"""Each recipe's masks against the true ones."""

import pandas as pd

from dqv2.paper.collect import write_csv
from dqv2.paper.mask_iou import mean_iou
from dqv2.runtime.job import run_job
from dqv2.semantic.recipe import Recipe


def main(snakemake):
    rows = []
    for entry in snakemake.params.recipes:
        iou = mean_iou(Recipe.load(entry["file"]).masks, Recipe.load(entry["truth"]).masks)
        rows.append({key: value for key, value in entry.items() if key not in ("file", "truth")} | {"iou": iou})
    write_csv(pd.DataFrame(rows), snakemake.output.csv)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
