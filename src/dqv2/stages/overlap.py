"""How much of the known objects the masks cover, and what the masks cost: one tidy row per mask, size and seed.
Nothing is trained for it."""

from dqv2.stages.base import Tidy


class Overlap(Tidy):
    """IoU of masks and known objects, instead of a table of runs."""

    title = "overlap of masks and objects"
    version = 3

    def reads(self, plan, w):
        cells = plan.kind(w.experiment, "overlap").cells()
        packs, recipes = list(dict.fromkeys(cell.pack for cell in cells)), [cell.recipe for cell in cells]
        return {"train": packs, "recipes": recipes, "records": [file for cell in cells for _, _, file in cell.records]}

    def options(self, plan, w):
        cells = plan.kind(w.experiment, "overlap").cells()
        return {"rows": [cell._asdict() for cell in cells]}

    def run(self, job):
        import pandas as pd

        from dqv2.data import Pack
        from dqv2.paper.collect import seconds_behind, write_csv
        from dqv2.runtime.logging import say
        from dqv2.runtime.seeding import generator
        from dqv2.semantic.overlap import mean_overlap
        from dqv2.semantic.recipe import Recipe

        rows, packs = [], {path: Pack.open(path) for path in job.input.train}
        for row in job.options["rows"]:
            pack, columns = packs[row["pack"]], row["columns"]
            if pack.objects is None:
                raise ValueError(f"{row['pack']} has no known objects: an overlap needs a set with boxes or true masks")
            draws = generator(columns["seed"], "overlap", "others")
            found = mean_overlap(Recipe.load(row["recipe"]).masks, pack.objects, generator=draws)
            took = seconds_behind(row["records"])
            price = {"mask_seconds": took["selection_seconds"], "mask_device": took["selection_device"]}
            rows.append(columns | found | {"n_images": len(pack)} | price)
            say("{dataset} · {mask_title} · size {tobias_size} · seed {seed}: IoU {iou:.3f}".format(**rows[-1]))
        write_csv(pd.DataFrame(rows), job.output.csv)
