"""The functions that entries of the library's tables name, imported before the first job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dqv2.data.published import KNOWN_SETS
from dqv2.declared import load
from dqv2.paper.kinds import FIGURES
from dqv2.plan.plan import Plan
from dqv2.plan.walk import PlannedJob
from dqv2.runtime.sentences import sentence
from dqv2.semantic.table import MASK_SOURCES


def faults_of_functions(plan: Plan, jobs: Iterable[PlannedJob]) -> list[str]:
    """One sentence for each function that these jobs will call and that cannot be imported."""
    found = []
    for entry, place in sorted({each for job in jobs for each in _called(plan, job) if each[1]}):
        try:
            load(place)
        except Exception as error:  # a module that is imported may raise any
            found.append(f"{entry}: {sentence(error)}")
    return found


def _called(plan: Plan, job: PlannedJob) -> Iterator[tuple[str, str | None]]:
    """(the entry of a table, `module:function` or None) for each function that a job calls."""
    config, w, name = plan.config, job.w, job.stage.name
    if name in ("bin", "sample"):
        selector = config.selectors[plan.selection(w).selector]
        kind, entry = selector.declared, f"selector kind {selector.kind}"
        yield entry, kind.function
        yield entry, kind.importance
        yield entry, kind.weights if selector.weighted else None
    elif name == "augment":
        source = MASK_SOURCES[config.masks[w.mask].source]
        yield f"mask source {source.name}", source.function
    elif name == "figure":
        figure = FIGURES[plan.spec("figure", w.experiment)["kind"]]
        yield f"figure kind {figure.name}", figure.paint
        yield f"figure kind {figure.name}", figure.arrange
    elif name == "pack" and (known := KNOWN_SETS.get(config.datasets[w.dataset].kind)):
        yield f"published set {known.name}", known.reader
