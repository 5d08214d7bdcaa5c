"""What is made of several experiments together: claims, numbers, costs, masks against the true ones, the page."""

from __future__ import annotations

from typing import Any

from dqv2 import paths
from dqv2.paper.reported import read_claims, reported_text, reported_values
from dqv2.plan.graph import Job, chain_of
from dqv2.plan.plan import Plan
from dqv2.plan.runs import Run, title_of

MASK_IOU = "mask_iou"  # the table of masks against the true ones, where a set knows its objects


def tables_of(plan: Plan) -> dict[str, str]:
    """Experiment -> its tidy table of runs (or of masks), for those that make one."""
    made = [n for n in plan.config.targets if plan.makes_runs(n) or plan.config.experiments[n].overlap]
    return {name: plan.under(f"experiments/{name}.csv") for name in made}


def claimed(plan: Plan) -> bool:
    """Whether an experiment that a claim is tested on is among the targets: then there are verdicts, numbers and a
    page."""
    wanted = {test["experiment"] for claim in read_claims() for test in claim["tests"]}
    return bool(wanted & set(tables_of(plan)))


def report_targets(plan: Plan) -> list[str]:
    """The files that are made of several experiments."""
    if not claimed(plan):
        return []
    return [
        plan.under("claims.csv"),
        plan.under("claims.md"),
        f"{plan.figures}/numbers.tex",
        plan.under("report/index.html"),
    ]


def costed(plan: Plan) -> list[str]:
    """The experiments that show their cost."""
    return [name for name in plan.config.targets if plan.config.experiments[name].cost]


def diagrams(plan: Plan) -> list[str]:
    """The experiments that show their pipelines."""
    return [name for name in plan.config.targets if plan.config.experiments[name].diagram]


def jobs_table(plan: Plan, experiment: str) -> str:
    """Where the cost of each stage of an experiment's methods stands."""
    return plan.under(f"experiments/costs/{experiment}.csv")


def claim_tables(plan: Plan) -> dict[str, str]:
    """The tables that the claims read, by the name that they call them."""
    tables = tables_of(plan)
    wanted = [test["experiment"] for claim in read_claims() for test in claim["tests"]]
    wanted += [entry["experiment"] for entry in reported_text()]
    found = {name: tables[name] for name in dict.fromkeys(wanted) if name in tables}
    if "cost" in costed(plan):
        found["cost_jobs"] = jobs_table(plan, "cost")
    if mask_recipes(plan):
        found[MASK_IOU] = plan.under(f"experiments/masks/{MASK_IOU}.csv")
    return found


def mask_recipes(plan: Plan) -> list[dict[str, Any]]:
    """The recipes of the plan that can be held against the true mask: its dataset, size and seed has one too.

    Returns one entry a recipe: ``dataset``, ``dataset_title``, ``mask``, ``label``, ``source``, ``tobias_size``,
    ``seed``, ``file`` and ``truth``
    (the file of the true one).
    """
    config = plan.config
    found: dict[tuple, str] = {}
    for run in plan.runs:
        s, fresh = run.selection, config.trainers[run.trainer].fresh_tobias
        for mask, size in [(s.mask, s.tobias_size), *([(fresh.mask, fresh.size)] if fresh else [])]:
            if mask:
                file = plan.under(paths.RECIPE).format(dataset=s.dataset, mask=mask, size=size, seed=run.seed)
                found[s.dataset, mask, size, run.seed] = file
    truths = {
        (d, size, seed): file for (d, mask, size, seed), file in found.items() if config.masks[mask].source == "object"
    }
    sizes = {size for _, size, _ in truths}
    size_shown = config.defaults.tobias_size if config.defaults.tobias_size in sizes else max(sizes, default=None)
    return [
        {
            "dataset": dataset,
            "dataset_title": config.datasets[dataset].title,
            "mask": mask,
            "label": title_of(config.masks, mask),
            "source": config.masks[mask].source,
            "tobias_size": size,
            "seed": seed,
            "file": file,
            "truth": truths[dataset, size, seed],
        }
        for (dataset, mask, size, seed), file in found.items()
        if size == size_shown and (dataset, size, seed) in truths
    ]


def stage_jobs(plan: Plan, experiment: str) -> list[dict[str, Any]]:
    """Every job that an experiment's methods need, one entry a method and job, as ``dqv2.paper.costs.job_costs`` takes
    them.

    The packs are left out: every method needs them, for all seeds at once.
    """
    chunk_of = {seed: chunk for chunk in plan.chunks for seed in chunk}
    arms: dict[tuple, list[Run]] = {}
    about: dict[tuple, tuple] = {}
    for run, title, method in plan.rows[experiment]:
        key = (run.selection, run.keep_ratio, run.pixels, run.trainer, chunk_of[run.seed])
        arms.setdefault(key, []).append(run)
        about[key] = (run.selection.dataset, method, title)
    found = []
    for key, runs in arms.items():
        dataset, method, title = about[key]
        for job in chain_of(plan, runs[0]):
            if job.stage in ("pack", "evaluate", "weights"):
                continue
            found.append(
                {
                    "dataset": dataset,
                    "dataset_title": plan.config.datasets[dataset].title,
                    "method": method or title,
                    "label": title,
                    "stage": job.stage,
                    "seeds": [run.seed for run in runs],
                    "selects": job.stage != "train",
                    "costs": _costs_of(plan, job, runs),
                }
            )
    return found


def _costs_of(plan: Plan, job: Job, runs: list[Run]) -> list[str]:
    """The cost files of a job, one a seed, or one where the job is for all seeds."""
    file = paths.cost(plan.under(job.path))
    return list(dict.fromkeys(file.replace("{seed}", str(run.seed)) for run in runs))


def sections(plan: Plan) -> list[dict[str, Any]]:
    """What the page shows, in the order of the targets: one entry an experiment, with its files."""
    tables = tables_of(plan)
    found = []
    for name in plan.config.targets:
        block = plan.config.experiments[name]
        files = {}
        drawn = bool(block.figure or block.pictures or block.cost or block.diagram)
        if drawn:
            files |= {"PDF": f"{plan.figures}/{name}.pdf", "PNG": f"{plan.figures}/{name}.png"}
        if block.table:
            files |= {
                f"table ({kind})": f"{plan.figures}/{name}_table.{end}"
                for kind, end in (("CSV", "csv"), ("Markdown", "md"), ("LaTeX", "tex"))
            }
        if name in tables or block.storage:
            files["runs (CSV)"] = plan.under(f"experiments/{name}.csv")
        if block.cost:
            files["stages (CSV)"] = jobs_table(plan, name)
        found.append(
            {
                "name": name,
                "about": block.about,
                "note": plan.note(name),
                "planned": plan.planned(name),
                "files": files,
                "pictures": [f"{plan.figures}/{name}.png"] if drawn else [],
                "table": tables.get(name),
                "printed": f"{plan.figures}/{name}_table.md" if block.table and not drawn else None,
                "reported": reported_values(name),
            }
        )
    return found
