"""Seconds and bytes of a plan's jobs on given devices, with and without sharing, and how long they take in all."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dqv2.plan.batches import of_several_arms
from dqv2.plan.cost.rates import Device, Facts, Net, Rates
from dqv2.plan.cost.sizes import Sizes, sizes_of
from dqv2.plan.cost.work import DISK, MODEL_STAGES, Works
from dqv2.plan.graph import OUTPUTS, Chunk, Job, chain, inputs_of, job_of, jobs_of, wanted
from dqv2.plan.needs import threads
from dqv2.plan.plan import Plan

ONE_CORE = ("augment", "sample", "weights")  # their rules ask for no more

__all__ = ["Estimate", "Price", "all_jobs", "estimate", "makespan"]


class Unit(NamedTuple):
    """What a job does for one arm: a chunk of seeds of one stage; all seeds where the chunk is None."""

    job: Job
    chunk: Chunk | None


class Price(NamedTuple):
    """Seconds of a unit: its share of its job's `start` (imports), `network` on the device, `host` on the CPU."""

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
        gpus, cores: how many.
        threads: stage -> cores of a job.
        prices: each unit of the plan, once.
        jobs: stage -> how many jobs do them.
        apart: stage -> seconds if no experiment and no run shared a job; and the number of jobs.
        needs: experiment -> the units behind it.
        disk: what -> bytes that stay when the run has ended.
        state: bytes of checkpoints beside them, while jobs run.
        wall: seconds from the first job's start to the last one's end.
        sizes: the datasets' sizes that all this stands on.
        trained: "NETWORK on DATASET" -> seconds of its trainings and passes.
    """

    device: Device
    gpus: int
    cores: int
    threads: dict[str, int]
    prices: dict[Unit, Price]
    jobs: Counter[str]
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

    def core_hours(self, stages: Mapping[str, float]) -> float:
        """Core-hours of seconds by stage, of those that run a network."""
        return sum(s * self.threads[stage] for stage, s in stages.items() if stage in MODEL_STAGES) / 3600

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

    def by_keep(self) -> Counter[str]:
        """Keep ratio -> seconds of trainings on coresets of that size."""
        found: Counter[str] = Counter()
        for unit, price in self.prices.items():
            if unit.job.stage == "train":
                found[job_of(unit.job.path)[1]["keep"]] += price.seconds
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
    made = {job: works.of(job) for job in all_jobs(plan)}
    seen: dict[tuple[Net, str], tuple[float, bool]] = {}

    def rate(net: Net, kind: str) -> tuple[float, bool]:
        if (net, kind) not in seen:
            seen[net, kind] = found.rate(net, kind, lambda n: facts(n, 10), rates.nets)
        return seen[net, kind]

    def speed(unit: Unit, net: Net, kind: str) -> tuple[float, bool]:
        """Images a second with the threads of a stage, which share an operation well enough; whether measured."""
        images, measured = rate(net, kind)
        return images * (threads(plan.config, unit.job.stage) / found.threads if found.threads else 1), measured

    def price(unit: Unit, sharers: int) -> Price:
        work, seeds = made[unit.job], len(unit.chunk or [0])
        network = guessed = 0.0
        for net, kind, number in work.networks:
            images_a_second, measured = speed(unit, net, kind)
            seconds = number / images_a_second
            network += seconds
            guessed += 0 if measured else seconds
        units = Counter(work.units) + Counter(work.drawn if found.threads else {})
        host = sum(number / _host_rate(rates, name) for name, number in units.items())
        if unit.job.stage in ("pack", "bin"):  # these spread over their cores
            host /= threads(plan.config, unit.job.stage)
        return Price(rates.host.start_up / sharers, network * seeds, host * seeds, guessed * seeds)

    reads, needs, apart = _units(plan)
    job = _together(plan, reads)
    sharers = Counter(job.values())
    prices = {unit: price(unit, sharers[job[unit]]) for unit in reads}
    alone: Counter[str] = Counter()
    jobs_apart: Counter[str] = Counter()
    for unit, times in apart.items():
        alone[unit.job.stage] += times * price(unit, 1).seconds
        jobs_apart[unit.job.stage] += times
    disk: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for unit in prices:
        work, seeds = made[unit.job], len(unit.chunk or [0])
        disk[DISK.get(unit.job.stage, "other")] += work.bytes * seeds
        for net, kind, number in work.networks:
            dataset = job_of(unit.job.path)[1]["dataset"]
            trained[f"{net.text} on {dataset} ({kind})"] += seeds * number / speed(unit, net, kind)[0]
    cores_of = {stage: 1 if stage in ONE_CORE else threads(plan.config, stage) for stage in OUTPUTS}
    slots = max(1, cores // cores_of["train"]) if found.threads else gpus
    running = sorted((made[unit.job].state for unit in prices), reverse=True)[:slots]
    wall = makespan(*_joined(reads, prices, job), gpus=0 if found.threads else gpus, cores=cores, share=cores_of)
    stage_of = {name: unit.job.stage for unit, name in job.items()}
    return Estimate(
        found,
        gpus,
        cores,
        cores_of,
        prices,
        Counter(stage_of.values()),
        alone,
        jobs_apart,
        needs,
        +disk,
        sum(running),
        wall,
        sizes,
        trained,
    )


def _joined(
    reads: dict[Unit, list[Unit]], prices: dict[Unit, Price], job: dict[Unit, str]
) -> tuple[dict[str, list[str]], dict[str, float], dict[str, str]]:
    """Jobs in place of units: what each reads, its seconds, its stage; a job waits for the inputs of all its arms."""
    joined: dict[str, list[str]] = defaultdict(list)
    seconds: Counter[str] = Counter()
    for unit, inputs in reads.items():
        joined[job[unit]] += [job[read] for read in inputs]
        seconds[job[unit]] += prices[unit].seconds
    stage = {name: unit.job.stage for unit, name in job.items()}
    # An arm that comes later may bring a job that none of those before it read
    order = {name: i for i, name in enumerate(OUTPUTS)}
    ordered = sorted(joined, key=lambda name: order[stage[name]])
    return {name: joined[name] for name in ordered}, dict(seconds), stage


def _host_rate(rates: Rates, name: str) -> float:
    if name.startswith("select "):
        kind = name.removeprefix("select ")
        return rates.host.select.get(kind) or rates.host.select["graphcut_bins"]
    return getattr(rates.host, name)


def all_jobs(plan: Plan) -> list[Job]:
    """What each stage makes, once, all seeds together, in an order in which it can be made."""
    files = [file for name in plan.rows for files in wanted(plan, name) for file in files]
    return list(chain(plan, files))


def _units(plan: Plan) -> tuple[dict[Unit, list[Unit]], dict[str, set[Unit]], Counter[Unit]]:
    """Each unit with what it reads; those behind each experiment; how often each stands if nothing is shared."""
    reads: dict[Unit, list[Unit]] = {}
    needs: dict[str, set[Unit]] = defaultdict(set)
    apart: Counter[Unit] = Counter()
    for experiment in plan.rows:
        for needed in jobs_of(plan, experiment):
            units = {job: Unit(job, chunk) for job, chunk in needed.items()}
            for job, unit in units.items():
                if unit not in reads:
                    _, place = job_of(job.path)
                    inputs = (job_of(path)[0] for path in inputs_of(plan, job.stage, place))
                    reads[unit] = [units[read] for read in dict.fromkeys(inputs)]
            needs[experiment].update(units.values())
            apart.update(units.values())
    return reads, dict(needs), apart


def _together(plan: Plan, units: Iterable[Unit]) -> dict[Unit, str]:
    """The job that does each unit: several arms may share one."""
    found = {unit: f"{unit.job.path} {unit.chunk}" for unit in units}
    for batch in of_several_arms(plan):
        for arm in batch.arms:
            path = OUTPUTS[batch.stage][0]
            for name, value in arm.items():
                path = path.replace(f"{{{name}}}", value)
            found[Unit(Job(batch.stage, path), batch.seeds)] = batch.name
    return found


def makespan(
    reads: Mapping[str, list[str]],
    seconds: Mapping[str, float],
    stage: Mapping[str, str],
    *,
    gpus: int,
    cores: int,
    share: Mapping[str, int],
) -> float:
    """Seconds that jobs take side by side: each starts as soon as what it reads is there and there is room for it.

    Args:
        reads: each job, in an order in which they can run, with the jobs before it.
        seconds: of each job.
        stage: of each job.
        gpus: jobs that run a network hold one each; 0: there are none, and they hold cores alone.
        cores: how many there are. Beside a GPU, those of its jobs are taken to be there.
        share: stage -> cores that a job holds.
    """
    ahead = dict.fromkeys(reads, 0.0)  # seconds from a job's start to the end of all, had everything room
    after: dict[str, list[str]] = defaultdict(list)
    for name in reversed(list(reads)):
        ahead[name] += seconds[name]
        for before in dict.fromkeys(reads[name]):
            ahead[before] = max(ahead[before], ahead[name])
            after[before].append(name)
    waits = {name: len(dict.fromkeys(inputs)) for name, inputs in reads.items()}
    free = {"gpu": gpus, "core": cores}

    def room(name: str) -> tuple[str, int]:
        if gpus and stage[name] in MODEL_STAGES:
            return "gpu", 1
        return "core", min(share[stage[name]], cores)

    queues: dict[tuple[str, int], list[tuple[float, str]]] = defaultdict(list)  # the longest way to go first
    for name, missing in waits.items():
        if not missing:
            heapq.heappush(queues[room(name)], (-ahead[name], name))
    now, running = 0.0, []
    while running or any(queues.values()):
        for (kind, held), queue in sorted(queues.items(), key=lambda item: item[1][:1]):
            while queue and free[kind] >= held:
                name = heapq.heappop(queue)[1]
                free[kind] -= held
                heapq.heappush(running, (now + seconds[name], name))
        now, done = heapq.heappop(running)
        kind, held = room(done)
        free[kind] += held
        for name in after[done]:
            waits[name] -= 1
            if not waits[name]:
                heapq.heappush(queues[room(name)], (-ahead[name], name))
    return now
