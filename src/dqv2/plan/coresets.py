"""Which coresets are exported and in which form, and which come from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dqv2 import paths
from dqv2.config.experiments import Export
from dqv2.plan import data

if TYPE_CHECKING:
    from dqv2.plan.plan import Plan
    from dqv2.plan.runs import Selection


def exports(plan: Plan, names: Iterable[str], *, asked: bool = False) -> list[str]:
    """The folders of the coresets of these experiments; with `asked`, of those that have a block export."""
    found = []
    for name in names:
        rows = plan.rows[name]
        block = plan.config.experiments[name].export
        if block is None and asked:
            continue
        for run, *_ in rows:
            place = {"dataset": run.selection.dataset, "selection": run.selection.path, "seed": run.seed}
            place |= {"keep": paths.ratio(run.keep_ratio), "form": form_of(block or Export())}
            # Ids say which images were chosen, whatever is done to their pixels
            step = f"pixels-{run.pixels}/" if run.pixels and block and block.images != "none" else ""
            found.append(plan.under(paths.EXPORT).format(step=step, **place))
    return list(dict.fromkeys(found))


def files_of(plan: Plan, experiment: str) -> list[list[str]]:
    """What the exported coresets of an experiment are made of: each coreset and, for its images, recipe and pixels."""
    block = plan.config.experiments[experiment].export
    if block is None:
        return []
    found = []
    for run, *_ in plan.rows[experiment]:
        files = [plan.at(paths.CORESET, run)]
        if block.images != "none":
            files += [plan.at(recipe, run) for recipe in plan.recipes_of(run.selection)]
            files += [plan.at(paths.PIXELS, run)] if run.pixels else []
        found.append(files)
    return found


def form_of(block: Export) -> str:
    """A block export as it stands in a path."""
    return "ids" if block.images == "none" else f"{block.images}-{block.generated}"


def export_options(plan: Plan, selection: Selection, keep: float, form: str, step: str = "") -> dict[str, Any]:
    """What an exported coreset depends on besides the coreset: its form, and the making that its manifest tells.

    `step` is the part of its path that names a pixel step, empty for none.
    """
    images, _, generated = form.partition("-")
    making = {
        "bin": plan.bin_options(selection),
        "keep_ratio": keep,
        "pack": plan.pack_options(selection.dataset),
        "sample": plan.sample_options(selection),
        "selection": selection.path,
    }
    if plan.config.selectors[selection.selector].reads_scores:
        making["scores"] = plan.score_options(selection.dataset, selection.backbone)
    elif selection.backbone:
        making["features"] = plan.early_train_options(selection.dataset, selection.backbone)
    if selection.mask:
        making["mask"] = plan.augment_options(selection.mask) | {"size": selection.tobias_size}
        if backbone := plan.config.masks[selection.mask].backbone:
            making["mask_network"] = plan.early_train_options(selection.dataset, backbone)
    if pixels := step.removeprefix("pixels-").rstrip("/"):
        making["pixels"] = plan.pixels_options(pixels)
    return plan.options(
        "export",
        images="none" if images == "ids" else images,
        generated=generated or "png",
        folder=data.folder_of(plan.config, selection.dataset),
        provenance=making,
    )


def published(plan: Plan) -> list[str]:
    """The selectors of active experiments that are lists published elsewhere."""
    used = sorted({selection.selector for selection in plan.selections.values()})
    return [name for name in used if plan.config.selectors[name].kind == "published"]
