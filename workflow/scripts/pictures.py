"""Example images: the original, then its Tobias image at each size."""

from dqv2.data import Pack
from dqv2.paper.pictures import one_a_class, picture_grid
from dqv2.paper.style import save
from dqv2.runtime.job import run_job
from dqv2.runtime.seeding import generator
from dqv2.semantic.recipe import Recipe


def main(snakemake):
    params, options = snakemake.params, snakemake.params.options
    pack = Pack.open(snakemake.input.train)
    rows = one_a_class(pack.labels, options["images"], generator=generator(options["seed"], "pictures"))
    columns = {"original": pack.images[rows]}
    for title, path in zip(options["titles"], snakemake.input.recipes, strict=True):
        columns[title] = Recipe.load(path).images(pack.images, rows)
    figure = picture_grid(columns, params.note, params.label, [pack.classes[pack.labels[row]] for row in rows])
    save(figure, snakemake.output.pdf, snakemake.output.png)


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
