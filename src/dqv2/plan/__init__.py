"""From the configuration to the unique runs and the jobs behind them. Imports neither torch nor pandas."""

from dqv2.plan.plan import Plan
from dqv2.plan.runs import Row, Run, Selection
from dqv2.plan.walk import PlannedJob

__all__ = ["Plan", "PlannedJob", "Row", "Run", "Selection"]
