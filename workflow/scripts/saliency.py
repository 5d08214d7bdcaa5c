"""One pass of a backbone over the training images: the saliency for masks, the embedding for bins."""

import numpy as np

from dqv2.data import Pack
from dqv2.runtime.cost import measured
from dqv2.runtime.device import use_device
from dqv2.runtime.files import atomic_path
from dqv2.runtime.job import run_job
from dqv2.semantic.saliency import forward_pass
from dqv2.train.models import load_model


def main(snakemake):
    device = use_device(snakemake.threads)
    pack = Pack.open(snakemake.input.train)
    outputs = snakemake.output
    files = zip(outputs.saliency, outputs.embedding, outputs.logits, outputs.costs, strict=True)
    for model, (saliency, embedding, logits, cost) in zip(snakemake.input.models, files, strict=True):
        with measured(cost, device):
            found = forward_pass(load_model(model, device), pack.images)
            for path, values in ((saliency, found.saliency), (embedding, found.embedding), (logits, found.logits)):
                with atomic_path(path) as temporary, temporary.open("wb") as file:
                    np.save(file, values.numpy())


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
