"""How many jobs a configuration is, what sharing saves, and what it will cost.

python -m dqv2.plan                                          # config.yaml, the paper
python -m dqv2.plan config/demo.yaml                         # with overlays, as for snakemake --configfile
python -m dqv2.plan --cost --device h100 --gpus 4 --cores 32
python -m dqv2.plan --cost config/demo.yaml --device cpu --cores 2
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from dqv2.config import ConfigError, load_config
from dqv2.plan import Plan
from dqv2.plan.batches import count_jobs
from dqv2.plan.graph import OUTPUTS
from dqv2.stages import read_versions


def merged(files: list[str]) -> dict[str, Any]:
    """config.yaml with overlays on top, as Snakemake merges them."""

    def update(into: dict, new: dict) -> dict:
        for key, value in new.items():
            into[key] = update(into.get(key) or {}, value) if isinstance(value, dict) else value
        return into

    values: dict[str, Any] = {}
    for file in ["config.yaml", *files]:
        try:
            new = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise ConfigError(f"{file} is no YAML: {error}") from None
        if not isinstance(new, dict):
            raise ConfigError(f"{file} holds a {type(new).__name__}: a configuration is keys and values")
        update(values, new)
    return values


def main(arguments: list[str]) -> int:
    """Print the table; 1 where the configuration cannot be read, or nothing is known of the device."""
    args = _parser().parse_args(arguments)
    try:
        plan = Plan(load_config(merged(args.configfile)), read_versions(Path("workflow/stages.yaml")))
        print(_asked(plan))
        if args.cost:
            _cost(plan, args)
        else:
            _count(plan)
    except (ValueError, OSError) as error:  # a ConfigError, or a network that cannot be built
        print(error, file=sys.stderr)
        return 1
    return 0


def _asked(plan: Plan) -> str:
    trained = [[run for run, *_ in rows] for name, rows in plan.rows.items() if plan.makes_runs(name)]
    asked, different = sum(map(len, trained)), len({run for runs in trained for run in runs})
    rest = len(plan.rows) - len(trained)
    nothing = f"{rest} of {len(plan.rows)} experiments train nothing (pictures, coresets, masks, diagrams, storage)"
    found = [f"{len(trained)} experiments ask for {asked} trainings, {different} of them different"] if trained else []
    return "; ".join([*found, nothing] if rest else found)


def _count(plan: Plan) -> None:
    shared, apart = count_jobs(plan)
    print(f"{'stage':<14}{'jobs':>8}{'without sharing':>18}")
    for stage in OUTPUTS:
        if apart[stage]:
            print(f"{stage:<14}{shared[stage]:>8,}{apart[stage]:>18,}")
    print(f"{'all':<14}{shared.total():>8,}{apart.total():>18,}")


def _cost(plan: Plan, args: argparse.Namespace) -> None:
    from dqv2.plan.cost.estimate import estimate
    from dqv2.plan.cost.rates import read_rates
    from dqv2.plan.cost.table import lines

    rates = read_rates(args.rates)
    device = rates.device(args.device)  # before torch is imported for the FLOPs
    if args.utilisation:
        rates.devices[args.device] = replace(device, utilisation=args.utilisation)
    from dqv2.plan.cost.networks import count

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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dqv2.plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configfile", nargs="*", help="overlays on config.yaml")
    parser.add_argument("--cost", action="store_true", help="hours, disk and wall time to expect")
    parser.add_argument("--device", default="h100", help="what runs the networks: cpu, h100, or one of --rates")
    parser.add_argument("--gpus", type=_positive, default=1, help="how many of it (default: 1)")
    parser.add_argument("--cores", type=_positive, default=os.cpu_count() or 1, help="default: this machine's")
    parser.add_argument("--rates", help="a file that benchmarks/rates.py wrote, on top of the project's own")
    parser.add_argument(
        "--utilisation", type=_share, help="assumed share of the peak, in (0, 1], where no network was measured"
    )
    parser.add_argument(
        "--images", action="append", default=[], metavar="DATASET=N", help="training images of a set not packed yet"
    )
    return parser


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share in (0, 1]")
    return value


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
