"""Example images of the pixel step: the original, without its least important patches, and with them drawn anew."""

import torch

from dqv2.data import Pack
from dqv2.paper.pictures import one_a_class, picture_grid
from dqv2.paper.style import save
from dqv2.pixel.patches import GREY, paste
from dqv2.pixel.step import PixelStep
from dqv2.runtime.job import run_job
from dqv2.runtime.seeding import generator
from dqv2.select.coreset import coreset_images, read_pool


def main(snakemake):
    params, options, inputs = snakemake.params, snakemake.params.options, snakemake.input
    pack = Pack.open(inputs.train)
    coreset, step = read_pool(inputs.coreset, pack), PixelStep.load(inputs.pixels, coreset=inputs.coreset)
    images, labels = coreset_images(coreset, pack, None, whole=True)
    rows = one_a_class(labels.numpy(), options["images"], generator=generator(options["seed"], "pictures"))
    dropped = paste(images[rows], GREY, torch.from_numpy(step.mask)[rows])
    columns = {"original": images[rows], "patches dropped": dropped, "reconstructed": step.images[rows]}
    figure = picture_grid(columns, params.note, params.label, [pack.classes[labels[row]] for row in rows])
    save(figure, snakemake.output.pdf, snakemake.output.png)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
