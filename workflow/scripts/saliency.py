"""One pass of a backbone over the training images: the saliency for masks, the embedding for bins."""

from dqv2.data import Pack
from dqv2.runtime.cost import measured
from dqv2.runtime.device import use_device
from dqv2.runtime.job import run_job
from dqv2.semantic.saliency import write_pass
from dqv2.train.models import load_model


def main(snakemake):
    device = use_device(snakemake.threads)
    pack = Pack.open(snakemake.input.train)
    outputs = snakemake.output
    paths = zip(outputs.saliency, outputs.embedding, outputs.logits, outputs.costs, strict=True)
    for model, (saliency, embedding, logits, cost) in zip(snakemake.input.models, paths, strict=True):
        with measured(cost, device):
            files = {"saliency": saliency, "embedding": embedding, "logits": logits}
            write_pass(load_model(model, device), pack.images, files)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
