"""What the jobs of a run share: the modules that the warm server has imported before it forks, and the commit."""

from __future__ import annotations

import os

from dqv2.runtime.record import commit

MODULES = (
    "numpy",
    "torch",
    "torchvision",
    "timm",
    "pandas",
    "dqv2.runtime.job",
    "dqv2.runtime.device",
    "dqv2.runtime.resume",
    "dqv2.data",
    "dqv2.select.selectors",
    "dqv2.semantic.saliency",
    "dqv2.semantic.recipe",
    "dqv2.train.loop",
    "dqv2.train.models",
    "dqv2.train.evaluation",
)


def note_commit() -> None:
    """Ask git once a run, not once a job."""
    os.environ["DQV2_COMMIT"] = commit() or ""
