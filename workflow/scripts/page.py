"""One static page of all figures, tables, claims and runs."""

from pathlib import Path

import pandas as pd

from dqv2.paper.collect import device_note, read_csv
from dqv2.paper.page import build_page
from dqv2.runtime.files import atomic_path
from dqv2.runtime.job import run_job


def main(snakemake):
    params, inputs = snakemake.params, snakemake.input
    experiments = []
    for section in params.sections:
        frame = read_csv(section["table"]) if section["table"] else None
        note = section["note"] if frame is None else device_note(section["note"], frame, section["planned"])
        experiments.append({**section, "frame": frame, "note": note})
    html = build_page(
        Path(snakemake.output.html),
        head=params.head,
        experiments=experiments,
        claims=params.claims,
        verdicts=pd.read_csv(inputs.claims, keep_default_na=False, na_values=[""]),
        text=pd.read_csv(inputs.text, keep_default_na=False, na_values=[""]),
    )
    with atomic_path(snakemake.output.html) as draft:
        draft.write_text(html, encoding="utf-8", newline="\n")


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
