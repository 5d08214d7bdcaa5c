"""Example images of the pixel step: the original, without its least important patches, and with these reconstructed."""

from dqv2.stages.pictures import Pictures


class PixelPictures(Pictures):
    """A few images of a coreset before and after the pixel step."""

    title = "pictures of the pixel step"
    version = 1

    def run(self, job):
        import torch

        from dqv2.data import Pack
        from dqv2.paper.pictures import one_a_class, picture_grid
        from dqv2.paper.style import save
        from dqv2.pixel.patches import GREY, paste
        from dqv2.pixel.step import PixelStep
        from dqv2.runtime.seeding import generator
        from dqv2.select.coreset import coreset_images, read_pool

        options, pack = job.options, Pack.open(job.input.train)
        coreset = read_pool(job.input.coreset, pack)
        step = PixelStep.load(job.input.pixels, coreset=job.input.coreset)
        images, labels = coreset_images(coreset, pack, None, whole=True)
        rows = one_a_class(labels.numpy(), options["images"], generator=generator(options["seed"], "pictures"))
        dropped = paste(images[rows], GREY, torch.from_numpy(step.mask)[rows])
        columns = {"original": images[rows], "patches dropped": dropped, "reconstructed": step.images[rows]}
        titles = [pack.classes[labels[row]] for row in rows]
        save(picture_grid(columns, options["note"], options["label"], titles), job.output.pdf, job.output.png)
