"""The size of a coreset's images as encoded files: original, with patches dropped, reconstructed, and Tobias images."""

from dqv2.stages.base import Tidy


class Storage(Tidy):
    """Bytes of encoded images, instead of a table of runs."""

    title = "storage of images"

    def reads(self, plan, w):
        return plan.kind(w.experiment, "storage").files()

    def options(self, plan, w):
        block = plan.config.experiments[w.experiment].storage
        kind = plan.kind(w.experiment, "storage")
        return {"encoding": block.encoding, "quality": block.quality, "columns": kind.columns(), "files": kind.files()}

    def run(self, job):
        import torch

        from dqv2.data import Pack
        from dqv2.paper.collect import storage_frame, write_csv
        from dqv2.pixel.patches import GREY, paste
        from dqv2.pixel.step import PixelStep
        from dqv2.pixel.storage import encoded_bytes
        from dqv2.select.coreset import coreset_images, read_pool
        from dqv2.semantic.recipe import Recipe

        options, found = job.options, []
        files = (options["files"][name] for name in ("train", "coreset", "pixels", "tobias"))
        for train, coreset_file, pixels, recipe in zip(*files, strict=True):
            pack = Pack.open(train)
            coreset, step = read_pool(coreset_file, pack), PixelStep.load(pixels, coreset=coreset_file)
            images, _ = coreset_images(coreset, pack, None, whole=True)
            variants = {
                "original": images.numpy(),
                "dropped": paste(images, GREY, torch.from_numpy(step.mask)).numpy(),
                "reconstructed": step.images,
                "tobias": Recipe.load(recipe).images(pack.images, coreset.rows),
            }
            sizes = {
                name: encoded_bytes(batch, kind=options["encoding"], quality=options["quality"])
                for name, batch in variants.items()
            }
            found.append({name: (int(values.sum()), len(values)) for name, values in sizes.items()})
        write_csv(storage_frame(options["columns"], found), job.output.csv)
