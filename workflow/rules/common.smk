# The plan, and the functions through which the other rule files use it. src/dqv2/stages/ declares what stages read, write
# and depend on.
import functools
import getpass
import inspect
import os
import re
import resource
import sys
from pathlib import Path

from snakemake.logging import logger


def encodable(text):
    """Text for Snakemake's log, which is written in UTF-8: a file's name may have other bytes."""
    return str(text).encode(errors="backslashreplace").decode()


def give_up(error):
    """Say what is wrong and exit. If the error were raised, Snakemake would add lines of this file to it."""
    logger.error(encodable(error))
    sys.exit(1)


# With less, Snakemake fails anywhere in building the graph of jobs, and Python may print that without end. So this comes
# before the imports.
LEAST_MEMORY = 2**30
if 0 <= (allowed := resource.getrlimit(resource.RLIMIT_AS)[0]) < LEAST_MEMORY:  # unlimited is -1, or above
    give_up(
        f"this process may have {allowed >> 20} MB of memory, and building the graph of jobs alone may need {LEAST_MEMORY >> 20} MB: "
        "raise the limit (ulimit -v, the memory of a container or of a cluster's job)"
    )

# Where Snakemake or a library ends with a traceback, soon after this file is read: a user without a name, as in a container,
# and a folder in which Snakemake cannot keep its notes
try:
    getpass.getuser()
except (KeyError, OSError):
    os.environ.update(LOGNAME=str(os.getuid()))
notes = Path(".snakemake").resolve()
if workflow.is_main_process and not os.access(notes if notes.exists() else notes.parent, os.W_OK | os.X_OK):
    give_up(
        f"Snakemake keeps its notes in {notes}, which you cannot write: run in a folder of your own (--directory FOLDER), or get "
        "the right to write to it and all that is in it (chmod -R g+rwX, then umask 002, for a group)."
    )

from dqv2.runtime.sentences import counted, require_writable, sentence, with_place

try:
    import dqv2
    from dqv2 import paths
    from dqv2.config import load_config, read_file
    from dqv2.data.places import fetch_options
    from dqv2.plan import Plan, PlannedJob
    from dqv2.plan.before import changed_folders, check_jobs, require_fresh, set_clocks
    from dqv2.plan.rules import require_lines
    from dqv2.plan.verify import unnoticed
    from dqv2.runtime import warm
    from dqv2.runtime.files import clear_temporaries, write_json
    from dqv2.runtime.interpreter import require_no_braces, unquoted
    from dqv2.runtime.record import note_commit
    from dqv2.stages import Wildcards, all_stages, stage
except Exception as error:  # an entry that somebody adds to a table of the library
    give_up(with_place(error))

try:
    if workflow.is_main_process:
        for file in workflow.configfiles:  # Snakemake's reader drops all but the last of equal keys
            read_file(file)
    PLAN = Plan(load_config(config))
except ValueError as error:  # of the configuration, or of what a stage declares
    give_up(error)

try:
    require_no_braces(HERE)
    sys.executable = unquoted(sys.executable)
except ValueError as error:
    give_up(error)

for place in (PLAN.root, PLAN.logs, PLAN.figures):
    if workflow.modifier.path_modifier.replace_prefix(f"{place}/") != f"{place}/":
        give_up(
            f"prefix and replace_prefix of a module cannot move {place}, as what its jobs read stands in their params too: name "
            "another folder by the key `run` of its configuration, or take --directory."
        )
if provider := workflow.storage_settings.default_storage_provider:  # likewise
    give_up(
        f"--default-storage-provider {provider} cannot move {PLAN.root}, as what its jobs read stands in their params "
        "too: leave it out, and run in a folder that all machines share (--directory)."
    )

if workflow.storage_settings.all_temp:
    give_up(
        "--all-temp would remove the records, with which each job checks what it reads: leave it out, and remove results/ at the end"
    )

# Snakemake's cache finds results by inputs and params. The seed is in neither: it is a wildcard
ours = {workflow.modifier.modify_rulename(name) for name in all_stages()}
if cached := sorted(ours.intersection(workflow.workflow_settings.cache or [])):
    give_up(f"--cache {' '.join(cached)} would take one seed's results for those of another: leave it out")

CLONE = Path(HERE).resolve()  # HERE may lead through links, and through the .. of a module's path
os.environ.update(DQV2_CLONE=str(CLONE))  # for envs/dqv2.post-deploy.sh

WARM = warm.Server()  # not started until the first job


def before_the_first_job():
    """Checks that need the disk or a large import, and the server that forks this run's jobs: not in a dry run."""
    global WARM
    if workflow.local_exec and workflow.cores < 1:  # Snakemake would wait for a core forever
        give_up(f"--cores {workflow.cores} runs nothing: give 1 or more, or all.")
    # Snakemake has no public way to get the jobs to be run. By their files, as a module's rules may have other names
    making = [(job, PLAN.job_making(str(job.output[0]))) for job in workflow.dag.needrun_jobs() if job.output]
    needed = [job for _, job in making if job]
    try:
        for job, planned_job in {job.rule.name: (job, made) for job, made in making if made}.values():
            require_lines(PLAN, planned_job, job.rule.name, job.input.keys(), job.output.keys())
        for place in (PLAN.root, PLAN.logs, PLAN.figures):
            require_writable(place)
        write_json(PLAN.configuration, config)  # first, because `dqv2 verify` finds stale results with it
        if not workflow.touch:  # which runs no job and opens no input
            PLAN.require_shown(needed)
            # Not if Snakemake was told to accept results made with other options
            if "params" in map(str, workflow.rerun_triggers):
                require_fresh(PLAN, needed)
            check_jobs(PLAN, needed, here=workflow.local_exec)
        if ahead := set_clocks(PLAN, needed):
            logger.warning(
                f"{counted(len(ahead), 'result')} dated in the future: set to now, as Snakemake refuses files that are older than their inputs. "
                f"The first is {ahead[0]}"
            )
    except ValueError as error:
        give_up(error)
    except (OSError, MemoryError, ImportError, RuntimeError) as error:  # for example, a library that runs out of memory
        give_up(sentence(error, [PLAN.root]))
    if workflow.touch and (stale := unnoticed(PLAN, notes=os.devnull)):
        logger.warning(
            f"--touch accepts {counted(len(stale), 'possibly stale result')} as up to date, the first is {stale[0]}: dqv2 verify {PLAN.root}"
        )
    threads = PLAN.config.threads
    if workflow.local_exec and threads > workflow.cores and any(job.stage.model for job in needed):
        logger.warning(
            f"threads: {threads} in the configuration is more than --cores {workflow.cores}: networks still use {threads} threads, "
            "as weights made on a CPU depend on their number, and take longer than with fewer."
        )
    lift_the_limit_of_jobs_a_second()
    clear_temporaries(PLAN.root, PLAN.figures, older_than=3600)
    note_commit()
    # On a cluster, jobs share start-up through Snakemake's groups
    if workflow.local_exec and not workflow.touch and len(needed) > 2:
        WARM = warm.start(["dqv2.runtime.warmed"], "dqv2.runtime.script:do")


def lift_the_limit_of_jobs_a_second():
    """Snakemake 9.27 enforces its default limit, 100 jobs a second, with timers: each job that ends leaves one more, which
    wakes the scheduler once a second while jobs wait, until it uses half a core. A limit set by the user stays.
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


if workflow.is_main_process:  # here, because `onstart` is skipped if there is nothing to do
    if CLONE.is_dir() and not Path(dqv2.__file__).resolve().is_relative_to(CLONE):  # a module's may be an address
        logger.warning(
            f"the library dqv2 is that of {Path(dqv2.__file__).parent}, not of {CLONE}: its records name the commit there"
        )
    try:
        changed = changed_folders(PLAN)
        # Snakemake's metadata can also be in a database, which is opened only after this file was read
        in_files = str(getattr(workflow.workflow_settings, "persistence_backend", "file")) == "file"
        stale = unnoticed(PLAN) if in_files else []
    except (OSError, ValueError) as error:
        give_up(sentence(error))
    for said in changed:
        logger.warning(encodable(said))
    if stale:
        logger.warning(
            f"{counted(len(stale), 'possibly stale result')} below {PLAN.root}, which Snakemake takes as up to date, as it has no "
            f"metadata of them: they were copied here, or .snakemake was removed. The first is {stale[0]}. To list all: "
            f"dqv2 verify {PLAN.root}; to make them again: dqv2 verify {PLAN.root} --remove, then run again"
        )

    # Jobs read and write file names and text as UTF-8 in any locale
    os.environ.setdefault("PYTHONUTF8", "1")
else:  # a cluster job may inherit environment variables from the submitting machine
    os.environ.pop("DQV2_WARM", None)


wildcard_constraints:
    **paths.constraints(file for each in all_stages().values() for file in each.writes.values()),


def told(function):
    """The function, whose ValueErrors end Snakemake with a sentence: it would print them as a traceback."""

    @functools.wraps(function)
    def call(*args, **named):
        try:
            return function(*args, **named)
        except ValueError as error:
            give_up(error)

    return call


def planned(name, wildcards):
    """The plan's job for a Snakemake job."""
    return PlannedJob(stage(name), tuple(sorted(wildcards.items())))


def signed(function):
    """The function as by `told`, with its signature cached: Snakemake asks for it at every job, and computing it takes
    a tenth of a dry run."""
    call = told(function)
    call.__signature__ = inspect.signature(function)
    return call


def reads(name, file):
    """What a stage reads under this name: a function of a job's wildcards.

    For a path that names something missing from the configuration, it returns a sentence, which Snakemake prints as the
    missing file; it would print an exception as a traceback."""

    def found(wildcards):
        job = planned(name, wildcards)
        if unknown := PLAN.unknown(job):
            return unknown
        if file not in (there := PLAN.reads(job)):
            raise ValueError(f"rule {name} asks for {file!r}, and its stage reads {', '.join(there)}")
        return there[file]

    return signed(found)


writes = told(PLAN.pattern)  # the pattern of what a stage writes under a name


def options(name):
    """What a stage's results depend on: a function of a job's wildcards."""
    return signed(lambda wildcards: PLAN.options(planned(name, wildcards)))


@told
def log_of(name):
    """The log of a stage's jobs."""
    return f"{PLAN.logs}/{stage(name).log}"


@told
def cores(name):
    """The cores of a stage's jobs."""
    return stage(name).cores or PLAN.config.threads


def require_rules():
    """Give up where a stage has no rule of its name, or options set threads or resources of a rule that there is not.
    For the end of the Snakefile; as a module, its rules may be left out or have other names."""
    if not workflow.modifier.is_main_snakefile():
        return
    rules = {rule.name for rule in workflow.rules}
    if lacking := sorted(all_stages().keys() - rules):
        give_up(f"the stage {lacking[0]} has no rule of its name; add one to workflow/rules/, as docs/stage.md says")
    settings = workflow.resource_settings
    for key, named in (("set-threads", settings.overwrite_threads), ("set-resources", settings.overwrite_resources)):
        if strange := sorted((named or {}).keys() - rules):
            give_up(f"{key} names {strange[0]}, and there is no such rule: there are {', '.join(sorted(rules))}")


def grows(amount):
    """The amount times the attempt: a job that ran out of memory or time is tried again with more."""
    return signed(lambda wildcards, attempt: amount * attempt)


def experiments_of(name):
    """The active experiments for which a stage makes files, as a wildcard constraint; without any it matches nothing."""
    return "|".join(each for each in PLAN.rows if stage(name).makes(PLAN, Wildcards(experiment=each))) or "(?!)"


def fetched(axis):
    """The values of a wildcard of the notes of fetched sets, as a wildcard constraint; without any it matches nothing."""
    values = {paths.axes_of(stage("fetch").writes["fetched"], note)[axis] for note in fetch_options(PLAN.config)}
    return "|".join(map(re.escape, sorted(values))) or "(?!)"
