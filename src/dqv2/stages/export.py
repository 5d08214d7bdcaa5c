"""Export coresets as folders: ids with checksums, provenance, and images if requested."""

from dqv2.runtime.sentences import counted
from dqv2.stages.base import Stage

IMAGES = {
    "ids": "a list of ids, without images",
    "links": "a list of ids, and a folder of links to the images",
    "copies": "a list of ids, and a folder of copies of the images",
    "packed": "a list of ids, and a folder of the images as they are packed",
}  # first part of {form} -> what is exported


class Export(Stage):
    """A coreset as a folder that any training code can read."""

    title = "exported coreset"
    version = 6
    writes = {
        "folder": "{dataset}/coreset/{selection}/keep-{keep}/{step}seed-{seed}/export-{form}",
        "record": "{dataset}/export/{selection}/keep-{keep}/{step}seed-{seed}/{form}/record.json",
    }

    def detail(self, plan, w):
        return IMAGES[w.form.split("-")[0]]

    def reads(self, plan, w):
        pixels = w.step.removeprefix("pixels-").rstrip("/")
        return {
            "train": plan.file("pack", "train", w),
            "coreset": plan.file("sample", "coreset", w),
            "recipe": plan.recipes(plan.selection(w), w) if w.form != "ids" else [],
            "pixels": [plan.file("pixels", "pixels", w, pixels=pixels)] if pixels else [],
        }

    def options(self, plan, w):
        from dqv2.data.places import folder_of

        images, generated, every = (*w.form.split("-"), "", "")[:3]
        return {
            "images": "none" if images == "ids" else images,
            "generated": generated or "png",
            **({"empty_classes": True} if every else {}),
            "folder": folder_of(plan.config, w.dataset),
        }

    def run(self, job):
        from dqv2.data import Pack
        from dqv2.pixel.step import PixelStep
        from dqv2.runtime.logging import logger, say
        from dqv2.runtime.record import behind
        from dqv2.select.coreset import read_pool
        from dqv2.select.export import export_coreset, without_images
        from dqv2.semantic.recipe import Recipe

        options, pack = job.options, Pack.open(job.input.train)
        pixels = job.load("pixels", lambda file: PixelStep.load(file, coreset=job.input.coreset))
        weights = {"autoencoder_sha256": pixels.weights} if pixels else {}
        coreset = read_pool(job.input.coreset, pack)
        made = {"selection": job.wildcards.selection, "keep_ratio": float(job.wildcards.keep), "seed": job.seed}
        export_coreset(
            job.output.folder,
            coreset,
            pack,
            job.load("recipe", Recipe.load),
            source=options["folder"],
            redrawn=pixels.images if pixels else None,
            images=options["images"],
            generated=options["generated"],
            empty_classes=options.get("empty_classes", False),
            provenance={**made, **weights, "stages": behind(job.inputs)},
        )
        if empty := without_images(coreset, pack):
            some = ", ".join(empty[:5]) + (", ..." if empty[5:] else "")
            logger.warning(
                "%d of %d classes have no image in this coreset (%s): a reader that numbers its folders gives the "
                "others another index than the whole set does; %s/classes.txt and class_to_idx.json have the set's, "
                "or raise keep_ratio",
                *(len(empty), len(pack.classes), some, job.output.folder),
            )
        kinds = f"{len(coreset):,} redrawn" if pixels else f"{int(coreset.tobias.sum()):,} Tobias"
        say(f"coreset of {counted(len(coreset), 'image')} ({kinds}): {job.output.folder}")
