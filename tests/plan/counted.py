"""What the tests of the plan ask of one again and again."""

from collections import Counter

from dqv2.plan import PlannedJob
from dqv2.plan.count import jobs_apart, jobs_behind
from dqv2.stages import stage


def counts(plan):
    """Stage -> its jobs behind the plan's experiments, and how many they were if nothing was shared."""
    shared, apart = jobs_behind(plan)[0], jobs_apart(plan).elements()
    return Counter(job.stage.name for job in shared), Counter(job.stage.name for job in apart)


def stages_behind(plan):
    """The stages of the jobs behind the plan's experiments."""
    return set(counts(plan)[0])


def job_of(stage_name, **axes):
    """A planned job."""
    return PlannedJob(stage(stage_name), tuple(sorted(axes.items())))


def options_of(plan, stage_name, **axes):
    """What a job's result depends on."""
    return plan.options(job_of(stage_name, **axes))


def run_of(plan, experiment, method):
    """The first run of an experiment's method."""
    return next(run for run, _, name in plan.rows[experiment] if name == method)


def chain_of(plan, run):
    """The jobs behind a run, each with those that it reads."""
    return plan.jobs([plan.metrics_of(run)])
