"""The lines of the workflow's rules, compared with what their stages declare."""

from __future__ import annotations

from collections.abc import Iterable

from dqv2.plan.plan import Plan
from dqv2.plan.walk import PlannedJob


def require_lines(plan: Plan, job: PlannedJob, rule: str, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Raise ValueError where a rule lacks an input or output of its stage, or names another. inputs, outputs: the names
    in the rule."""
    for kind, verb, lines, there in (
        ("input", "reads", {*inputs}, plan.reads(job)),
        ("output", "writes", {*outputs}, job.stage.writes),
    ):
        for name in sorted(there.keys() ^ lines):
            if name in there:
                line = f'add the line {name}={verb}("{job.stage.name}", "{name}"), under {kind}'
                raise ValueError(f"rule {rule} has no {kind} {name}, which its stage {verb}: {line}")
            raise ValueError(
                f"rule {rule} has the {kind} {name}, and its stage {verb} {', '.join(there)}: rename the line, or "
                "remove it"
            )
