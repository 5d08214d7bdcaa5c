"""Seconds and bytes of a plan's jobs on given devices, with and without sharing, and how long they take in all."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dqv2.plan.cost.rates import Device, Facts, Net, Rates
from dqv2.plan.cost.sizes import Sizes, sizes_of
from dqv2.plan.cost.work import DISK, MODEL_STAGES, Works
from dqv2.plan.graph import SEED, Job, chain, job_of, wanted
from dqv2.plan.plan import Plan

__all__ = ["Estimate", "Price", "estimate", "jobs_of", "makespan"]


class Unit(NamedTuple):
    """A job as Snakemake runs it: a chunk of seeds of one stage; for all seeds where the chunk is None."""

    job: Job
    chunk: tuple[int, ...] | None


class Price(NamedTuple):
    """Seconds of a job: `start` of Python and its imports, `network` on the device, `host` on the CPU beside it."""

    start: float
    network: float
    host: float
    guessed: float
    """The part of `network` that no measured rate of this device stands behind."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.start + self.network + self.host


@dataclass
class Estimate:
    """What a plan costs on a device.

    Attributes:
        device: the device.
        prices: each job of the plan, once.
        apart: stage -> seconds if no experiment and no run shared a job; and the number of jobs.
        needs: experiment -> the jobs behind it.
        disk: what -> bytes that stay when the run has ended.
        state: bytes of checkpoints beside them, while jobs run.
        wall: seconds from the first job's start to the last one's end.
        sizes: the datasets' sizes that all this stands on.
        trained: "NETWORK on DATASET" -> seconds of its trainings and passes.
    """

    device: Device
    gpus: int
    cores: int
    prices: dict[Unit, Price]
    apart: Counter[str]
    jobs_apart: Counter[str]
    needs: dict[str, set[Unit]]
    disk: Counter[str]
    state: float
    wall: float
    sizes: dict[str, Sizes]
    trained: Counter[str] = field(default_factory=Counter)

    def on_device(self, units: set[Unit] | None = None) -> float:
        """Seconds of jobs that hold a device (of all jobs, or of these); on a CPU, seconds of the jobs that run a
        network."""
        return sum(self.prices[u].seconds for u in units or self.prices if u.job.stage in MODEL_STAGES)

    def beside(self) -> float:
        """Seconds of the jobs that hold no device."""
        return sum(price.seconds for unit, price in self.prices.items() if unit.job.stage not in MODEL_STAGES)

    def by_stage(self, what: Callable[[Price], float] = lambda price: price.seconds) -> Counter[str]:
        """Stage -> seconds."""
        found: Counter[str] = Counter()
        for unit, price in self.prices.items():
            found[unit.job.stage] += what(price)
        return found

    def by_dataset(self) -> Counter[str]:
        """Dataset -> seconds of jobs that hold a device."""
        found: Counter[str] = Counter()
        for unit, price in self.prices.items():
            if unit.job.stage in MODEL_STAGES:
                found[job_of(unit.job.path)[1]["dataset"]] += price.seconds
        return found

    def alone(self, experiment: str) -> float:
        """Seconds on the device that leaving this experiment out would save."""
        others = set().union(*(units for name, units in self.needs.items() if name != experiment))
        return self.on_device(self.needs[experiment] - others) if self.needs[experiment] - others else 0.0


def estimate(
    plan: Plan,
    rates: Rates,
    device: str,
    *,
    gpus: int = 1,
    cores: int = 1,
    images: Mapping[str, int] | None = None,
    facts: Callable[[Net, int], Facts],
) -> Estimate:
    """What a plan will cost.

    Args:
        plan: the plan.
        rates: of devices and of the CPU beside them.
        device: the name of one in `rates`.
        gpus: how many of it; a CPU counts its `cores` instead.
        cores: for jobs without a device.
        images: dataset -> training images, where nothing else says it.
        facts: FLOPs and shapes of a network with so many classes (`networks.count`).

    Raises:
        ConfigError: there are no rates for the device, or nobody knows how many images a dataset has.
    """
    found = rates.device(device)
    sizes: dict[str, Sizes] = {}

    def size(dataset: str) -> Sizes:
        return sizes.setdefault(dataset, sizes_of(plan, dataset, images))

    works = Works(plan, size, facts)
    made = {job: works.of(job) for job in jobs_of(plan)}
    seen: dict[tuple[Net, str], tuple[float, bool]] = {}
    threads = plan.config.threads

    def rate(net: Net, kind: str) -> tuple[float, bool]:
        if (net, kind) not in seen:
            seen[net, kind] = found.rate(net, kind, lambda n: facts(n, 10), rates.nets)
        return seen[net, kind]

    def price(unit: Unit) -> Price:
        work, seeds = made[unit.job], len(unit.chunk or [0])
        network = guessed = 0.0
        for net, kind, number in work.networks:
            speed, measured = rate(net, kind)
            # Threads share an operation well enough; a file of rates says how many its own were measured with
            seconds = number / (speed * (threads / found.threads if found.threads else 1))
            network += seconds
            guessed += 0 if measured else seconds
        units = Counter(work.units) + Counter(work.drawn if found.threads else {})
        host = sum(number / _host_rate(rates, name) for name, number in units.items())
        return Price(rates.host.start_up, network * seeds, host * seeds, guessed * seeds)

    reads, needs, apart, jobs_apart = _units(plan)
    prices = {unit: price(unit) for unit in reads}
    alone: Counter[str] = Counter()
    for unit, times in apart.items():
        alone[unit.job.stage] += times * prices[unit].seconds
    disk: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for unit in prices:
        work, seeds = made[unit.job], len(unit.chunk or [0])
        disk[DISK.get(unit.job.stage, "other")] += work.bytes * seeds
        for net, kind, number in work.networks:
            dataset = job_of(unit.job.path)[1]["dataset"]
            factor = threads / found.threads if found.threads else 1
            trained[f"{net.text} on {dataset} ({kind})"] += seeds * number / (rate(net, kind)[0] * factor)
    slots = max(1, cores // max(1, threads)) if found.threads else gpus
    running = sorted((made[unit.job].state for unit in prices), reverse=True)[:slots]
    wall = makespan(
        reads,
        {u: p.seconds for u, p in prices.items()},
        gpus=0 if found.threads else gpus,
        cores=cores,
        threads=threads,
    )
    return Estimate(found, gpus, cores, prices, alone, jobs_apart, needs, +disk, sum(running), wall, sizes, trained)


def _host_rate(rates: Rates, name: str) -> float:
    if name.startswith("select "):
        kind = name.removeprefix("select ")
        return rates.host.select.get(kind) or rates.host.select["graphcut_bins"]
    return getattr(rates.host, name)


def jobs_of(plan: Plan) -> list[Job]:
    """Every job of a plan once, all its seeds together, in an order in which they can run."""
    files = [file for name in plan.rows for files in wanted(plan, name) for file in files]
    return list(chain(plan, files))


def _units(plan: Plan) -> tuple[dict[Unit, list[Unit]], dict[str, set[Unit]], Counter[Unit], Counter[str]]:
    """Each job with what it reads; those behind each experiment; how often each stands if nothing is shared."""
    chunk_of = {seed: chunk for chunk in plan.chunks for seed in chunk}
    reads: dict[Unit, list[Unit]] = {}
    needs: dict[str, set[Unit]] = defaultdict(set)
    apart: Counter[Unit] = Counter()
    for experiment in plan.rows:
        asked = {}
        for files in wanted(plan, experiment):
            seed = next(int(match[1]) for file in files if (match := SEED.search(file)))
            asked[tuple(SEED.sub("/seed-{seed}/", file) for file in files), chunk_of[seed]] = None
        chains: dict[tuple[str, ...], dict[Job, list[Job]]] = {}
        for files, chunk in asked:
            jobs = chains[files] = chains.get(files) or chain(plan, files)
            unit = {job: Unit(job, chunk if "{seed}" in job.path else None) for job in jobs}
            for job, inputs in jobs.items():
                reads[unit[job]] = [unit[read] for read in inputs]
            needs[experiment].update(unit.values())
            apart.update(unit.values())
    jobs: Counter[str] = Counter()
    for unit, times in apart.items():
        jobs[unit.job.stage] += times
    return reads, dict(needs), apart, jobs


def makespan(
    reads: Mapping[Unit, list[Unit]], seconds: Mapping[Unit, float], *, gpus: int, cores: int, threads: int
) -> float:
    """Seconds that jobs take side by side: each starts as soon as what it reads is there and there is room for it.

    Args:
        reads: each job, in an order in which they can run, with the jobs before it.
        seconds: of each job.
        gpus: jobs that run a network hold one each; 0: they hold `threads` cores instead.
        cores: other jobs hold one each.
        threads: cores of a job that runs a network on the CPU.
    """
    # Longest remaining path first, among those that can start
    ahead: dict[Unit, float] = dict.fromkeys(reads, 0.0)
    after: dict[Unit, list[Unit]] = defaultdict(list)
    for unit in reversed(list(reads)):
        ahead[unit] += seconds[unit]
        for before in dict.fromkeys(reads[unit]):
            ahead[before] = max(ahead[before], ahead[unit])
            after[before].append(unit)
    waits = {unit: len(dict.fromkeys(inputs)) for unit, inputs in reads.items()}
    free = {"gpu": gpus, "core": cores}

    def room(unit: Unit) -> tuple[str, int]:
        if unit.job.stage not in MODEL_STAGES:
            return "core", 1
        return ("gpu", 1) if gpus else ("core", min(threads, cores))

    queues: dict[tuple[str, int], list[tuple[float, int, Unit]]] = defaultdict(list)
    order = {unit: i for i, unit in enumerate(reads)}
    for unit, missing in waits.items():
        if not missing:
            heapq.heappush(queues[room(unit)], (-ahead[unit], order[unit], unit))
    now, running = 0.0, []
    while running or any(queues.values()):
        for (kind, share), queue in sorted(queues.items(), key=lambda item: item[1][:1]):
            while queue and free[kind] >= share:
                unit = heapq.heappop(queue)[2]
                free[kind] -= share
                heapq.heappush(running, (now + seconds[unit], order[unit], unit))
        now, _, done = heapq.heappop(running)
        kind, share = room(done)
        free[kind] += share
        for unit in after[done]:
            waits[unit] -= 1
            if not waits[unit]:
                heapq.heappush(queues[room(unit)], (-ahead[unit], order[unit], unit))
    return now
