"""How many jobs a configuration needs, what they will cost, and what an experiment consists of.

dqv2 plan                                            config.yaml, the paper
dqv2 plan config/demo.yaml                           with overlays, as for snakemake --configfile
dqv2 plan config/demo.yaml --config 'seeds=[0, 1]'   with values, as for snakemake --config
dqv2 plan show fig5b config/demo.yaml                an experiment's arms, runs, paths and jobs
dqv2 plan --cost --device h100 --gpus 4 --cores 32   hours, disk and wall time to expect

Without `show`, downloads and the jobs that collect and draw results are not counted.
"""

import argparse
import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from dqv2.cli.configured import add_values, base_elsewhere, values_of
from dqv2.config import ConfigError, load_config
from dqv2.config.base import as_list
from dqv2.plan import Plan
from dqv2.plan.count import jobs_apart, jobs_behind
from dqv2.plan.runs import Row, Run
from dqv2.plan.walk import PlannedJob
from dqv2.runtime.memory import cores
from dqv2.runtime.sentences import counted
from dqv2.stages import all_stages


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    about = "count jobs, estimate their cost, show an experiment"
    parser = commands.add_parser("plan", help=about, description=__doc__)
    parser.add_argument(
        "words", nargs="*", metavar="[show EXPERIMENT] CONFIGFILE", help="files merged over config.yaml"
    )
    add_values(parser)
    parser.add_argument("--cost", action="store_true", help="estimate device-hours, disk and wall time")
    parser.add_argument(
        "--device", default="h100", help="device for the networks: cpu, h100 (default), h200, or one from --rates"
    )
    parser.add_argument("--gpus", type=_positive, default=1, help="number of GPUs (default: 1)")
    about = "number of CPU cores (default: those available, as for snakemake --cores all)"
    parser.add_argument("--cores", type=_positive, default=cores(), help=about)
    parser.add_argument("--rates", help="your own rates, a file written by benchmarks/rates.py")
    about = "share of the peak FLOP/s to assume for networks that were not measured, in (0, 1]"
    parser.add_argument("--utilisation", type=_share, help=about)
    about = "number of training images of a dataset that is not packed yet"
    parser.add_argument("--images", action="append", default=[], metavar="DATASET=N", help=about)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    words, shown = args.words, None
    if not args.cost and (args.images or args.rates or args.utilisation):
        raise ConfigError("--images, --rates and --utilisation matter only for the cost: add --cost")
    if words[:1] == ["show"]:
        if len(words) < 2:
            raise ConfigError("name an experiment: dqv2 plan show fig5b")
        shown, words = words[1], words[2:]
    values = values_of(words, args.config)
    config = load_config(values)
    if shown is not None and shown not in config.experiments:
        raise ConfigError(f"{shown!r} is not a block under experiments; there are: {', '.join(config.experiments)}")
    if shown is not None and shown not in config.targets:  # an experiment can be shown without being a target
        config = load_config(values | {"targets": [shown]})
    plan = Plan(config)
    if shown:
        _show(plan, shown)
        _show_a_job(plan, shown, _how_to_say(words, args.config, values, shown))
        return 0
    print(_asked(plan))
    (_cost if args.cost else _count)(plan, args)
    return 0


def _asked(plan: Plan) -> str:
    trained = [[run for run, *_ in rows] for name, rows in plan.rows.items() if plan.kind(name, "runs")]
    asked, different = sum(map(len, trained)), len({run for runs in trained for run in runs})
    rest = len(plan.rows) - len(trained)
    nothing = f"{rest} of {len(plan.rows)} experiments train nothing (pictures, coresets, masks, diagrams, storage)"
    found = [f"{len(trained)} experiments ask for {asked} trainings, {different} of them different"] if trained else []
    return "; ".join([*found, nothing] if rest else found)


def _count(plan: Plan, args: argparse.Namespace) -> None:
    shared = Counter(job.stage.name for job in jobs_behind(plan)[0])
    apart = Counter(job.stage.name for job in jobs_apart(plan).elements())
    print(f"{'stage':<14}{'jobs':>8}{'without sharing':>18}")
    for stage in shared:
        print(f"{stage:<14}{shared[stage]:>8,}{apart[stage]:>18,}")
    print(f"{'all':<14}{shared.total():>8,}{apart.total():>18,}")


def _show(plan: Plan, name: str) -> None:
    """Print an experiment's arms, where their results are, and the jobs behind them."""
    block = plan.config.experiments[name]
    print(f"{name}: {block.about}" if block.about else name)
    print(f"makes {', '.join(plan.targets([name])) or 'nothing by itself'}")
    if table := plan.tabled(name):
        print(f"from {plan.table(name)} (rule {table})")
    arms: dict[tuple, list[Run]] = {}
    for run, title, method in plan.rows[name]:
        arms.setdefault((title, method, run.selection, run.keep_ratio, run.pixels, run.trainer), []).append(run)
    told: set[PlannedJob] = set()
    for (title, method, s, keep, pixels, trainer), runs in arms.items():
        print(f"\n{title}" + (f" (method {method})" if method else ""))
        asked = {run: files for run in runs if (files := plan.asked_of(name, run))}
        chain = plan.jobs(next(iter(asked.values()), []))
        told.update(*(plan.jobs(files) for files in asked.values()))
        stages = {job.stage.name for job in chain} if chain else set(all_stages())  # a diagram shows all of it
        facts = {"dataset": s.dataset, "selection": s.path, "keep ratio": f"{keep:g}" if "sample" in stages else None}
        facts |= {"pixels": pixels if "pixels" in stages else None, "trainer": trainer if "train" in stages else None}
        facts |= {"mask": s.mask, "Tobias size": s.tobias_size}
        facts |= {"backbone": s.backbone and "bin" in stages and _network(plan, s.backbone)}
        importance = plan.config.pixels[pixels].backbone if pixels and "pixels" in stages else None
        facts |= {"importance by": importance and _network(plan, importance)}
        print("  " + ", ".join(f"{key} {value}" for key, value in facts.items() if value))
        for said in _in_the_paper(plan, name, Row(runs[0], title, method)):
            print(f"  the paper: {said}")
        if not asked:
            print("  no job is run for it")
            continue
        print(f"  seeds {', '.join(str(run.seed) for run in asked)}: {', '.join(next(iter(asked.values())))}")
        _show_jobs(plan, chain)
    every = plan.jobs(plan.targets([name]))
    if together := {job: reads for job, reads in every.items() if job not in told}:
        print("\nfrom all of these")
        _show_jobs(plan, together)
    stages = Counter(job.stage.name for job in every)
    print(f"\n{counted(len(every), 'job')}: " + ", ".join(f"{count} {stage}" for stage, count in stages.items()))


def _show_jobs(plan: Plan, jobs: dict[PlannedJob, list[PlannedJob]]) -> None:
    for job, reads in jobs.items():
        before = dict.fromkeys(read.stage.name for read in reads)
        told = f"{job.stage.name:<12}{job.stage.detail(plan, job.w)}".rstrip()
        print(f"    {told}" + (f"   <- {', '.join(before)}" if before else ""))


def _network(plan: Plan, name: str) -> str:
    """A backbone's title, and the file of its published weights if it has any."""
    weights = plan.config.backbones[name].weights
    return plan.title("backbones", name) + (f" ({weights.rpartition('/')[2]})" if weights else "")


def _in_the_paper(plan: Plan, experiment: str, row: Row) -> Iterator[str]:
    """The values that the paper reports for an arm, each with its place in the paper and, if copied, its source."""
    from dqv2.paper.reported import arm_of, as_printed, reported_values

    columns = plan.columns(experiment, row)
    for entry in [] if columns.get("replaces") else reported_values(experiment):
        if all(columns.get(name) == value for name, value in arm_of(entry).items()):
            value = as_printed(entry["mean"]) if "mean" in entry else f"variance {as_printed(entry['variance'])}"
            spread = f" ± {as_printed(entry['plus_minus'])}" if "plus_minus" in entry else ""
            source = f", which has it from {entry['source']}" if "source" in entry else ""
            yield f"{value}{spread} ({entry['place']}{source})"


def _how_to_say(overlays: list[str], entries: list[str], values: dict, experiment: str) -> str:
    """The Snakemake arguments that give the same configuration."""
    base = base_elsewhere()
    found = f" -s {shlex.quote(str(base.with_name('Snakefile')))}" if base else ""
    found += f" --configfile {shlex.join(overlays)}" if overlays else ""
    targets = [] if experiment in as_list(values.get("targets") or []) else [f"targets=[{experiment}]"]
    return found + (f" --config {shlex.join([*entries, *targets])}" if entries or targets else "")


def _show_a_job(plan: Plan, name: str, configuration: str) -> None:
    """Print how to run the first of an experiment's jobs alone."""
    if first := next((files[-1] for run, *_ in plan.rows[name] if (files := plan.asked_of(name, run))), None):
        job = plan.job_making(first)
        print(f"one of them: snakemake --cores 1 {first}{configuration}")
        print("it reads " + ", ".join(plan.files_read(job)))


def _cost(plan: Plan, args: argparse.Namespace) -> None:
    from dqv2.cost.estimate import estimate
    from dqv2.cost.rates import read_rates
    from dqv2.cost.table import lines

    rates = read_rates(args.rates)
    device = rates.device(args.device)  # before torch is imported for the FLOPs
    if args.utilisation:
        rates.devices[args.device] = replace(device, utilisation=args.utilisation)
    from dqv2.cost.networks import count

    images = dict(_images(text) for text in args.images)
    if strangers := sorted(set(images) - set(plan.config.datasets)):
        known = ", ".join(plan.config.datasets)
        raise ConfigError(f"--images {strangers[0]}: there is no such dataset; there are: {known}")
    found = estimate(plan, rates, args.device, gpus=args.gpus, cores=args.cores, images=images, facts=count)
    for line in lines(plan, rates, found):
        print(line)


def _images(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdigit() or not int(number):
        raise ConfigError(f"--images {text}: say it as DATASET=NUMBER, such as own=5000")
    return name, int(number)


def _share(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) <= 1:
            return value
    raise argparse.ArgumentTypeError(f"{text} is not a share in (0, 1]")


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)
