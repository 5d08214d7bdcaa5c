"""How much of the known objects the masks cover, and what the masks cost: one tidy row per mask, size and seed.
Nothing is trained for it."""

from dqv2.stages.base import Tidy


class Overlap(Tidy):
    """IoU of masks and known objects, instead of a table of runs."""

    title = "overlap of masks and objects"
    version = 3

    def reads(self, plan, w):
        rows = plan.kind(w.experiment, "overlap").rows_with_files
        packs, recipes = list(dict.fromkeys(row["pack"] for row in rows)), [row["recipe"] for row in rows]
        records = [file for row in rows for _, _, file in row["records"]]
        return {"train": packs, "recipes": recipes, "records": records}

    def options(self, plan, w):
        return {"rows": plan.kind(w.experiment, "overlap").rows_with_files}

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
