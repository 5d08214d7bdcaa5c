# The plan, and what the other rule files share.
from pathlib import Path

from snakemake.exceptions import WorkflowError

from dqv2 import plan as paths
from dqv2.config import ConfigError, load_config
from dqv2.plan import Plan, chunk_name
from dqv2.stages import read_versions

try:
    PLAN = Plan(load_config(config), read_versions(Path(workflow.basedir) / "workflow/stages.yaml"))
except ConfigError as error:
    raise WorkflowError(str(error)) from None


def check_folders():
    try:
        PLAN.check_folders()
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


wildcard_constraints:
    dataset="[A-Za-z]\\w*",
    backbone="[A-Za-z]\\w*",
    mask="[A-Za-z]\\w*",
    trainer="[A-Za-z]\\w*",
    experiment="[A-Za-z]\\w*",
    size="\\d+",
    keep="[0-9.e-]+",
    selection="[^.]+",


def pack(split):
    """The pack of a split: a folder with images and manifest."""
    return PLAN.under(paths.PACK).replace("{split}", split)


def each(patterns, seeds):
    """A path for each seed of a job."""
    patterns = [patterns] if isinstance(patterns, str) else patterns
    return [pattern.replace("{seed}", str(seed)) for pattern in patterns for seed in seeds]


def log_of(pattern, seeds):
    """The log of a job: its first output's place below logs/, with all its seeds."""
    return f"{PLAN.logs}/" + str(Path(pattern).parent).replace("{seed}", chunk_name(seeds)) + ".log"


def benchmark_of(pattern, seeds):
    """Seconds and memory of a job, as Snakemake measures them."""
    return PLAN.under("benchmarks/") + str(Path(pattern).parent).replace("{seed}", chunk_name(seeds)) + ".tsv"


def selection_of(wildcards):
    return PLAN.selections[wildcards.dataset, wildcards.selection]
