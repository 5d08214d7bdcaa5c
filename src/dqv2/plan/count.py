"""The jobs behind experiments: how many there are, and how many there would be if nothing were shared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dqv2.plan.plan import Plan
from dqv2.plan.walk import PlannedJob

Reads = dict[PlannedJob, list[PlannedJob]]


def chains(plan: Plan, experiment: str) -> Iterator[Reads]:
    """For each run, or exported coreset, of an experiment the jobs behind it, each with the jobs whose outputs it
    reads.

    Fetching of datasets and lists is left out, as are drawing and collecting.
    """
    for files in dict.fromkeys(tuple(plan.asked_of(experiment, run)) for run, *_ in plan.rows[experiment]):
        found = plan.jobs(files)
        yield {
            job: [read for read in reads if not read.stage.name.startswith("fetch")]
            for job, reads in found.items()
            if not job.stage.name.startswith("fetch")
        }


def jobs_behind(plan: Plan) -> tuple[Reads, dict[str, set[PlannedJob]]]:
    """Every job behind the plan's experiments once, in an order in which they can run, with the jobs whose outputs it
    reads; and the jobs behind each experiment."""
    reads: Reads = {}
    needs: dict[str, set[PlannedJob]] = {}
    for experiment in plan.rows:
        needs[experiment] = set()
        for chain in chains(plan, experiment):
            reads |= chain
            needs[experiment] |= chain.keys()
    return reads, needs


def jobs_apart(plan: Plan) -> Counter[PlannedJob]:
    """How often each job would run if no experiments and no runs shared it."""
    return Counter(job for experiment in plan.rows for chain in chains(plan, experiment) for job in chain)
