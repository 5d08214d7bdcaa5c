"""Seconds and bytes of a plan's jobs on given devices, with and without sharing, and their total wall time."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

from dqv2.cost.rates import Device, Facts, Net, Rates
from dqv2.cost.sizes import Sizes, sizes_of
from dqv2.cost.work import Reckoning
from dqv2.plan import Plan, PlannedJob
from dqv2.plan.count import jobs_apart, jobs_behind


class Price(NamedTuple):
    """Seconds of a job: its `start`, `network` on the device, `host` on the CPU; `guessed` is the part of `network`
    that is not based on a measured rate of this device."""

    start: float
    network: float
    host: float
    guessed: float

    @property
    def seconds(self) -> float:
        """The total."""
        return self.start + self.network + self.host


@dataclass
class Estimate:
    """What a plan costs on a device."""

    device: Device
    gpus: int
    cores: int
    threads: dict[str, int]  # stage -> cores of a job
    prices: dict[PlannedJob, Price]  # each job of the plan, once
    apart: Counter[str]  # stage -> seconds of its jobs if no experiment and no run shared one
    jobs_apart: Counter[str]  # and their number
    needs: dict[str, set[PlannedJob]]  # experiment -> the jobs behind it
    disk: Counter[str]  # what -> bytes that remain when the run has ended
    state: float  # bytes of checkpoints in addition, while jobs run
    wall: float  # seconds from the first job's start to the last one's end
    sizes: dict[str, Sizes]  # of the datasets, which the estimate is based on
    trained: Counter[str]  # "NETWORK on DATASET" -> seconds of its trainings and passes

    @property
    def jobs(self) -> Counter[str]:
        """Stage -> number of jobs."""
        return Counter(job.stage.name for job in self.prices)

    def on_device(self, jobs: set[PlannedJob] | None = None) -> float:
        """Seconds of the jobs that hold a device (all, or among `jobs`); on a CPU, of the jobs that run a network."""
        return sum(self.prices[job].seconds for job in (self.prices if jobs is None else jobs) if job.stage.model)

    def beside(self) -> float:
        """Seconds of the jobs that hold no device."""
        return sum(price.seconds for job, price in self.prices.items() if not job.stage.model)

    def alone(self, experiment: str) -> float:
        """Seconds on the device that leaving this experiment out would save."""
        return self.on_device({job for job in self.needs[experiment] if self._uses[job] == 1})

    @cached_property
    def _uses(self) -> Counter[PlannedJob]:
        """How many experiments need each job."""
        return Counter(job for jobs in self.needs.values() for job in jobs)

    def by_stage(self, what: Callable[[Price], float] = lambda price: price.seconds) -> Counter[str]:
        """Stage -> seconds."""
        return self.by(lambda job: job.stage.name, what)

    def by(
        self, key: Callable[[PlannedJob], str | None], what: Callable[[Price], float] = lambda price: price.seconds
    ) -> Counter[str]:
        """Seconds of the jobs grouped by `key`; jobs for which it returns None are left out."""
        found: Counter[str] = Counter()
        for job, price in self.prices.items():
            found[key(job)] += what(price)
        del found[None]
        return found


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
    """Estimate what a plan will cost.

    device: the name of a device in `rates`. gpus: how many of it; ignored for a CPU, which has its `cores`. cores: for
    jobs without a device. images: dataset -> number of training images, as in `sizes_of`. facts: FLOPs and shapes of a
    network with a given number of classes (`networks.count`). Raises ConfigError where there are no rates for the
    device, or the number of images of a dataset is unknown.
    """
    found = rates.device(device)
    sizes: dict[str, Sizes] = {}

    def size(dataset: str) -> Sizes:
        if dataset not in sizes:  # listing a folder's files for every job would be too slow
            sizes[dataset] = sizes_of(plan, dataset, images)
        return sizes[dataset]

    reckoning = Reckoning(plan, size, facts, auto=found.auto)
    reads, needs = jobs_behind(plan)
    made = {job: reckoning.of(job) for job in reads}
    threads = {job.stage.name: job.stage.cores or plan.config.threads for job in reads}

    @cache
    def speed(stage: str, net: Net, kind: str) -> tuple[float, bool]:
        """Images per second with the threads of a stage, assumed to scale linearly; and whether measured."""
        images, measured = found.rate(net, kind, lambda n: facts(n, 10), rates.nets)
        return images * (threads[stage] / found.threads if found.threads else 1), measured

    prices: dict[PlannedJob, Price] = {}
    disk: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for job, work in made.items():
        network = guessed = 0.0
        for net, kind, number in work.networks:
            images_a_second, measured = speed(job.stage.name, net, kind)
            seconds = number / images_a_second
            network += seconds
            guessed += 0 if measured else seconds
            trained[f"{net.text} on {job.w.dataset} ({kind})"] += seconds
        units = Counter(work.units) + Counter(work.drawn if found.threads else {})
        host = sum(number / rates.host.rate(name) for name, number in units.items())
        host /= threads[job.stage.name] if work.spread else 1
        prices[job] = Price(rates.host.start_up, network, host, guessed)
        disk[job.stage.holds] += work.bytes
    apart: Counter[str] = Counter()
    number_apart: Counter[str] = Counter()
    for job, times in jobs_apart(plan).items():
        apart[job.stage.name] += times * prices[job].seconds
        number_apart[job.stage.name] += times
    slots = max(1, cores // threads.get("train", 1)) if found.threads else gpus
    state = sum(sorted((work.state for work in made.values()), reverse=True)[:slots])
    seconds = {job: price.seconds for job, price in prices.items()}
    wall = makespan(reads, seconds, gpus=0 if found.threads else gpus, cores=cores, share=threads)
    counts = {"apart": apart, "jobs_apart": number_apart, "disk": +disk, "trained": trained}
    machine = {"device": found, "gpus": gpus, "cores": cores, "threads": threads}
    return Estimate(**machine, **counts, prices=prices, needs=needs, state=state, wall=wall, sizes=sizes)


def makespan(
    reads: Mapping[PlannedJob, list[PlannedJob]],
    seconds: Mapping[PlannedJob, float],
    *,
    gpus: int,
    cores: int,
    share: Mapping[str, int],
) -> float:
    """Wall time of jobs run in parallel, in seconds: each starts once its inputs exist and there is room for it.

    Args:
        reads: job -> the jobs whose outputs it reads, in an order in which they can run.
        seconds: of each job.
        gpus: a job that runs a network holds one; 0: there are none, and all jobs hold cores.
        cores: cores for the jobs that hold no GPU.
        share: stage -> cores that a job holds.
    """
    ahead = dict.fromkeys(reads, 0.0)  # critical path: seconds from a job's start to the end, given unlimited room
    after: dict[PlannedJob, list[PlannedJob]] = defaultdict(list)
    for name in reversed(list(reads)):
        ahead[name] += seconds[name]
        for before in dict.fromkeys(reads[name]):
            ahead[before] = max(ahead[before], ahead[name])
            after[before].append(name)
    waits = {name: len(dict.fromkeys(inputs)) for name, inputs in reads.items()}
    free = {"gpu": gpus, "core": cores}

    def room(job: PlannedJob) -> tuple[str, int]:
        return ("gpu", 1) if gpus and job.stage.model else ("core", min(share[job.stage.name], cores))

    place = {job: i for i, job in enumerate(reads)}  # breaks ties
    # Longest critical path first
    queues: dict[tuple[str, int], list[tuple[float, int, PlannedJob]]] = defaultdict(list)

    def ready(job: PlannedJob) -> None:
        heapq.heappush(queues[room(job)], (-ahead[job], place[job], job))

    for job, missing in waits.items():
        if not missing:
            ready(job)
    now, running = 0.0, []
    while running or any(queues.values()):
        for (kind, held), queue in sorted(queues.items(), key=lambda item: item[1][:1]):
            while queue and free[kind] >= held:
                job = heapq.heappop(queue)[2]
                free[kind] -= held
                heapq.heappush(running, (now + seconds[job], place[job], job))
        now, _, done = heapq.heappop(running)
        kind, held = room(done)
        free[kind] += held
        for job in after[done]:
            waits[job] -= 1
            if not waits[job]:
                ready(job)
    return now
