"""Which masks an experiment holds against the objects that a set knows: no training is needed for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dqv2 import paths

if TYPE_CHECKING:
    from dqv2.plan.plan import Plan


class Cell(NamedTuple):
    """A mask, a size and a seed: what is known of them, and the files."""

    columns: dict[str, Any]
    pack: str
    recipe: str


def cells(plan: Plan, experiment: str) -> list[Cell]:
    """Each mask, size and seed of an experiment once."""
    found: dict[str, Cell] = {}
    keys = ("experiment", "dataset", "dataset_title", "mask", "mask_title", "tobias_size", "seed")
    for row, columns in zip(plan.rows[experiment], plan.columns_of(experiment), strict=True):
        selection = row.run.selection
        if selection.mask is None:
            continue
        recipe = plan.recipes_of(selection)[0].format(dataset=selection.dataset, seed=row.run.seed)
        pack = plan.under(paths.PACK).format(dataset=selection.dataset, split="train")
        kept = {key: columns[key] for key in keys} | {"mask": selection.mask, "tobias_size": selection.tobias_size}
        found.setdefault(recipe, Cell(kept, pack, recipe))
    return list(found.values())
