"""One LaTeX macro a number, and the numbers of the paper's text beside ours."""

import pandas as pd

from dqv2.paper.collect import read_csv, write_csv
from dqv2.paper.numbers import all_numbers, numbers_tex, text_numbers
from dqv2.runtime.files import atomic_path
from dqv2.runtime.job import run_job


def main(snakemake):
    params, output = snakemake.params, snakemake.output
    tables = {name: read_csv(file) for name, file in zip(params.names, snakemake.input.tables, strict=True)}
    text = text_numbers(params.text, tables)
    write_csv(text, output.csv)
    verdicts = pd.read_csv(snakemake.input.claims, keep_default_na=False, na_values=[""])
    numbers = all_numbers(tables, params.reported, text, params.claims, verdicts)
    with atomic_path(output.tex) as draft:
        draft.write_text(numbers_tex(numbers, params.note), encoding="utf-8", newline="\n")


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
