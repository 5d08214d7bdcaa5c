"""Example images: the original, then its Tobias image at each size."""

from dqv2.stages.base import DRAWN, Stage


class Pictures(Stage):
    """A few training images and their Tobias images at each size."""

    title = "pictures of Tobias images"
    shows = ("pdf", "png")
    shows_images = True
    writes = DRAWN

    def makes(self, plan, w):
        return plan.kind(w.experiment, self.name) is not None

    def reads(self, plan, w):
        return plan.kind(w.experiment, self.name).files()

    def options(self, plan, w):
        kind = plan.kind(w.experiment, self.name)
        titles = {"titles": kind.titles()} if self.name == "pictures" else {}
        facts = {"images": kind.block.pictures.images, "seed": kind.shown.seed} | titles
        return facts | {"label": plan.config.label, "note": kind.note()}

    def run(self, job):
        from dqv2.data import Pack
        from dqv2.paper.pictures import one_a_class, picture_grid
        from dqv2.paper.style import save
        from dqv2.runtime.seeding import generator
        from dqv2.semantic.recipe import Recipe

        options, pack = job.options, Pack.open(job.input.train)
        rows = one_a_class(pack.labels, options["images"], generator=generator(options["seed"], "pictures"))
        columns = {"original": pack.images[rows]}
        for title, path in zip(options["titles"], job.input.recipes, strict=True):
            columns[title] = Recipe.load(path).images(pack.images, rows)
        titles = [pack.classes[pack.labels[row]] for row in rows]
        save(picture_grid(columns, options["note"], options["label"], titles), job.output.pdf, job.output.png)
