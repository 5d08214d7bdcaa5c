"""Evaluate trained weights, once, on the held-out splits; no other stage is given these."""

import json
from pathlib import Path

from dqv2.data import Pack
from dqv2.runtime.device import use_device
from dqv2.runtime.files import write_json
from dqv2.runtime.job import run_job
from dqv2.runtime.logging import say
from dqv2.train.evaluation import accuracy
from dqv2.train.models import load_model


def main(snakemake):
    inputs = snakemake.input
    device = use_device(snakemake.threads)
    splits = {split: Pack.open(inputs[split]) for split in ("validation", "test")}
    for model_file, training, output in zip(inputs.models, inputs.trainings, snakemake.output.metrics, strict=True):
        model, facts = load_model(model_file, device), json.loads(Path(training).read_text())
        how = {"device": device, "precision": facts.get("precision", "float32")}
        scores = {
            f"{split}_accuracy": accuracy(model, pack.images, pack.labels, **how) if len(pack) else None
            for split, pack in splits.items()
        }
        write_json(Path(output), facts | scores)
        say(f"{facts['run']}: {scores['test_accuracy']:.1f} % on test")


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
