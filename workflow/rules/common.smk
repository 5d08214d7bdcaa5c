# The plan, and what the other rule files share.
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from dqv2.config import ConfigError, load_config
from dqv2 import paths
from dqv2.plan import Plan
from dqv2.plan.batches import keep_batches, kept_batches, of_any_arm, of_several_arms
from dqv2.plan.drawings import TABLED, drawn_options, faults_of_drawings
from dqv2.plan.needs import needs as needs_of, threads as threads_of
from dqv2.runtime.files import clear_temporaries
from dqv2.stages import read_versions
from dqv2.train.small import SMALL

try:
    PLAN = Plan(load_config(config), read_versions(Path(workflow.basedir) / "workflow/stages.yaml"))
except ConfigError as error:
    raise WorkflowError(str(error)) from None


def lift_the_limit_of_jobs_a_second():
    """Snakemake 9.27 keeps its default limit, 100 jobs a second, by timers: each job that ends leaves one more that wakes
    the scheduler once a second while jobs wait, until it takes half a core. Another limit is somebody's wish and stays.
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def check_before_the_first_job():
    """What takes a look at the disk or a large import: not for a dry run."""
    try:
        needed = list(workflow.dag.needrun_jobs())
        PLAN.check_files(
            packed={job.wildcards.dataset for job in needed if job.rule.name == "pack"},
            trained={
                paths.axes_of(paths.MODEL, job.output[0])["dataset"]
                for job in needed
                if job.rule.name.startswith("train_")
            },
            pixels={job.wildcards.pixels for job in needed if job.rule.name.startswith("pixels_")},
        )
        found = PLAN.networks_of(file for job in needed for file in job.output)
        if networks := {place: options for place, options in found.items() if options["model"] not in SMALL}:
            from dqv2.train.models import check_networks

            check_networks(networks)
        tables = {job.wildcards.experiment for job in needed if job.rule.name in TABLED}
        drawings = {(job.rule.name, job.wildcards.experiment) for job in needed if job.rule.name in ("figure", "table")}
        if faults := faults_of_drawings(PLAN, [drawing for drawing in drawings if drawing[1] in tables]):
            raise ConfigError("\n  ".join(["what is asked for cannot be drawn:", *faults]))
    except ValueError as error:
        raise WorkflowError(str(error)) from None
    lift_the_limit_of_jobs_a_second()
    clear_temporaries(PLAN.root, older_than=3600)
    keep_batches(BATCHES, BATCHES_FOLDER)


if workflow.is_main_process:  # here, as `onstart` is left out where nothing is to be done
    for sentence in PLAN.changed_folders():
        logger.warning(sentence)


# Which arms share a job is decided once, by what is there when Snakemake starts. The jobs of a cluster, which read these
# files again, are given the batches of their own names.
BATCHES_FOLDER = Path(".snakemake/dqv2_batches")
if workflow.is_main_process:
    BATCHES = of_several_arms(PLAN, there=lambda path: Path(path).exists())
else:
    names = [name for word in sys.argv for name in re.findall(r"\w+_batch_[0-9a-f]{6}", word)]
    BATCHES = kept_batches(PLAN, names, BATCHES_FOLDER)


def batches(stage):
    """What the rules of a stage do: one with wildcards for each chunk of seeds, then each batch of arms."""
    return of_any_arm(PLAN, stage) + [batch for batch in BATCHES if batch.stage == stage]


wildcard_constraints:
    dataset="[A-Za-z]\\w*",
    backbone="[A-Za-z]\\w*",
    mask="[A-Za-z]\\w*",
    trainer="[A-Za-z]\\w*",
    experiment="[A-Za-z]\\w*",
    size="\\d+",
    keep="[0-9.e-]+",
    selection="[^.]+",
    pixels="[A-Za-z]\\w*",
    autoencoder="[A-Za-z]\\w*",
    step="(pixels-[A-Za-z]\\w*/)?",


def pack(split, batch=None):
    """The pack of a split, of the set whose arms a batch does: a folder with images and manifest."""
    pattern = paths.PACK.replace("{split}", split)
    return batch.one(pattern) if batch else PLAN.under(pattern)


def needs(stage, batch=None, model=False):
    """The resources of a job. Only one that runs a model asks for a GPU; the others refuse what a profile has for those."""

    def growing(key):
        return lambda wildcards, attempt: needs_of(
            PLAN.config, stage, seeds=batch.size if batch else 1, attempt=attempt
        )[key]

    asked = {key: growing(key) for key in ("mem_mb", "runtime", "disk_mb")}
    if model:
        return asked | {"gpu": 1, "jobs_per_gpu": PLAN.config.jobs_per_gpu}
    return asked | {"gpu": 0, "gpu_model": "", "gres": ""}


def log_of(batch, pattern):
    """The log of a job."""
    return f"{PLAN.logs}/{batch.place(pattern)}.log"


def benchmark_of(batch, pattern):
    """Seconds and memory of a job, as Snakemake measures them."""
    return PLAN.under(f"benchmarks/{batch.place(pattern)}.tsv")


def threads(stage):
    """The cores of a job."""
    return threads_of(PLAN.config, stage)


def selection_of(wildcards):
    return PLAN.selections[wildcards.dataset, wildcards.selection]


def weights_if_there(autoencoder):
    """A file of weights that is replaced is looked at anew; one that is not there yet is fetched."""
    path = Path(PLAN.config.autoencoders[autoencoder].weights).expanduser()
    return [str(path)] if path.exists() else []


def present(files):
    """All files, or those that there are where a partial figure will do."""
    return [file for file in dict.fromkeys(files) if not PLAN.config.partial or Path(file).exists()]


def metrics_of_experiment(wildcards):
    return present(PLAN.metrics_of(run) for run, *_ in PLAN.rows[wildcards.experiment])


def costs_of_experiment(wildcards):
    costs = [PLAN.costs_of(run) for run, *_ in PLAN.rows[wildcards.experiment]]
    return present(file for stages in costs for files in stages.values() for file in files)


def constrained(names):
    """Names as a wildcard constraint; none matches nothing."""
    return "|".join(names) or "(?!)"


def with_output(kind):
    """The active experiments that make a figure or a table, as a wildcard constraint."""
    return constrained(name for name in PLAN.config.targets if getattr(PLAN.config.experiments[name], kind))


def with_pictures(steps):
    """The active experiments whose pictures show these steps, as a wildcard constraint."""
    shown = {name: PLAN.config.experiments[name].pictures for name in PLAN.config.targets}
    return constrained(name for name, pictures in shown.items() if pictures and pictures.steps == steps)
