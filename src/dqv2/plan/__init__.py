"""From the configuration to the unique runs, their paths and their parameters. Imports no torch and no pandas."""

from dqv2.plan.plan import Plan
from dqv2.plan.runs import Row, Run, Selection

__all__ = ["Plan", "Row", "Run", "Selection"]
