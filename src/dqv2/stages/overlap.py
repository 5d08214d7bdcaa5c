"""How much of the known objects the masks cover: one tidy row a mask, size and seed. No training is needed for it."""

from dqv2.stages.base import Stage


class Overlap(Stage):
    """IoU of masks and known objects, in the place of a table of runs."""

    title = "overlap of masks and objects"
    version = 2
    writes = {"csv": "experiments/{experiment}.csv", "record": "experiments/{experiment}/record.json"}

    def makes(self, plan, w):
        return plan.tabled(w.experiment) == self.name

    def reads(self, plan, w):
        cells = plan.kind(w.experiment, "overlap").cells()
        return {"train": list(dict.fromkeys(cell.pack for cell in cells)), "recipes": [cell.recipe for cell in cells]}

    def options(self, plan, w):
        cells = plan.kind(w.experiment, "overlap").cells()
        return {"rows": [{"columns": cell.columns, "pack": cell.pack, "recipe": cell.recipe} for cell in cells]}

    def run(self, job):
        import pandas as pd

        from dqv2.data import Pack
        from dqv2.paper.collect import write_csv
        from dqv2.runtime.logging import say
        from dqv2.runtime.seeding import generator
        from dqv2.semantic.overlap import mean_overlap
        from dqv2.semantic.recipe import Recipe

        rows, packs = [], {path: Pack.open(path) for path in job.input.train}
        for row in job.options["rows"]:
            pack, columns = packs[row["pack"]], row["columns"]
            if pack.objects is None:
                raise ValueError(f"{row['pack']} knows no objects: an overlap needs a set with boxes or true masks")
            draws = generator(columns["seed"], "overlap", "others")
            found = mean_overlap(Recipe.load(row["recipe"]).masks, pack.objects, generator=draws)
            rows.append(columns | found | {"n_images": len(pack)})
            say("{dataset} · {mask_title} · size {tobias_size} · seed {seed}: IoU {iou:.3f}".format(**rows[-1]))
        write_csv(pd.DataFrame(rows), job.output.csv)
