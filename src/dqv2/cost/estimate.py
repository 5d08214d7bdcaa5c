"""Seconds and bytes of a plan's jobs on given devices, with and without sharing, and how long they take in all."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dqv2.cost.rates import Device, Facts, Net, Rates
from dqv2.cost.sizes import Sizes, sizes_of
from dqv2.cost.work import Reckoning
from dqv2.plan import Plan, PlannedJob
from dqv2.plan.count import jobs_apart, jobs_behind
from dqv2.stages import stage as stage_of

__all__ = ["Estimate", "Price", "estimate", "makespan"]


class Price(NamedTuple):
    """Seconds of a job: its `start`, `network` on the device, `host` on the CPU."""

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
        prices: each job of the plan, once.
        jobs_apart, apart: stage -> number and seconds of jobs if no experiment and no run shared one.
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
    threads: dict[str, int]
    prices: dict[PlannedJob, Price]
    apart: Counter[str]
    jobs_apart: Counter[str]
    needs: dict[str, set[PlannedJob]]
    disk: Counter[str]
    state: float
    wall: float
    sizes: dict[str, Sizes]
    trained: Counter[str] = field(default_factory=Counter)

    @property
    def jobs(self) -> Counter[str]:
        """Stage -> number of jobs."""
        return Counter(job.stage.name for job in self.prices)

    def on_device(self, jobs: set[PlannedJob] | None = None) -> float:
        """Seconds of jobs that hold a device (of all, or of these); on a CPU, of the jobs that run a network."""
        return sum(self.prices[job].seconds for job in jobs or self.prices if job.stage.model)

    def core_hours(self, stages: Mapping[str, float]) -> float:
        """Core-hours of seconds by stage, of those that run a network."""
        return sum(s * self.threads[name] for name, s in stages.items() if stage_of(name).model) / 3600

    def beside(self) -> float:
        """Seconds of the jobs that hold no device."""
        return sum(price.seconds for job, price in self.prices.items() if not job.stage.model)

    def by_stage(self, what: Callable[[Price], float] = lambda price: price.seconds) -> Counter[str]:
        """Stage -> seconds."""
        return self._by(lambda job: job.stage.name, self.prices, what)

    def by_dataset(self) -> Counter[str]:
        """Dataset -> seconds of jobs that hold a device."""
        return self._by(lambda job: job.w.dataset, [job for job in self.prices if job.stage.model])

    def by_keep(self) -> Counter[str]:
        """Keep ratio -> seconds of trainings on coresets of that size."""
        return self._by(lambda job: job.w.keep, [job for job in self.prices if job.stage.name == "train"])

    def _by(
        self,
        key: Callable[[PlannedJob], str],
        jobs: Iterable[PlannedJob],
        what: Callable[[Price], float] = lambda price: price.seconds,
    ) -> Counter[str]:
        found: Counter[str] = Counter()
        for job in jobs:
            found[key(job)] += what(self.prices[job])
        return found

    def alone(self, experiment: str) -> float:
        """Seconds on the device that leaving this experiment out would save."""
        others = set().union(*(jobs for name, jobs in self.needs.items() if name != experiment))
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

    reckoning = Reckoning(plan, size, facts)
    reads, needs = jobs_behind(plan)
    made = {job: reckoning.of(job) for job in reads}
    seen: dict[tuple[Net, str], tuple[float, bool]] = {}
    threads = {job.stage.name: job.stage.cores or plan.config.threads for job in reads}

    def rate(net: Net, kind: str) -> tuple[float, bool]:
        if (net, kind) not in seen:
            seen[net, kind] = found.rate(net, kind, lambda n: facts(n, 10), rates.nets)
        return seen[net, kind]

    def speed(job: PlannedJob, net: Net, kind: str) -> tuple[float, bool]:
        """Images a second with the threads of a stage, which share an operation well enough; whether measured."""
        images, measured = rate(net, kind)
        return images * (threads[job.stage.name] / found.threads if found.threads else 1), measured

    def price(job: PlannedJob) -> Price:
        work = made[job]
        network = guessed = 0.0
        for net, kind, number in work.networks:
            images_a_second, measured = speed(job, net, kind)
            seconds = number / images_a_second
            network += seconds
            guessed += 0 if measured else seconds
        units = Counter(work.units) + Counter(work.drawn if found.threads else {})
        host = sum(number / _host_rate(rates, name) for name, number in units.items())
        host /= threads[job.stage.name] if work.spread else 1
        return Price(rates.host.start_up, network, host, guessed)

    prices = {job: price(job) for job in reads}
    apart: Counter[str] = Counter()
    number_apart: Counter[str] = Counter()
    for job, times in jobs_apart(plan).items():
        apart[job.stage.name] += times * prices[job].seconds
        number_apart[job.stage.name] += times
    disk: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for job in prices:
        disk[job.stage.holds] += made[job].bytes
        for net, kind, number in made[job].networks:
            trained[f"{net.text} on {job.w.dataset} ({kind})"] += number / speed(job, net, kind)[0]
    slots = max(1, cores // threads.get("train", 1)) if found.threads else gpus
    running = sorted((work.state for work in made.values()), reverse=True)[:slots]
    wall = makespan(
        reads,
        {job: price.seconds for job, price in prices.items()},
        gpus=0 if found.threads else gpus,
        cores=cores,
        share=threads,
    )
    return Estimate(
        device=found,
        gpus=gpus,
        cores=cores,
        threads=threads,
        prices=prices,
        apart=apart,
        jobs_apart=number_apart,
        needs=needs,
        disk=+disk,
        state=sum(running),
        wall=wall,
        sizes=sizes,
        trained=trained,
    )


def _host_rate(rates: Rates, name: str) -> float:
    if name.startswith("select "):
        kind = name.removeprefix("select ")
        return rates.host.select.get(kind) or rates.host.select["graphcut_bins"]
    return getattr(rates.host, name)


def makespan(
    reads: Mapping[PlannedJob, list[PlannedJob]],
    seconds: Mapping[PlannedJob, float],
    *,
    gpus: int,
    cores: int,
    share: Mapping[str, int],
) -> float:
    """Seconds that jobs take side by side: each starts as soon as what it reads is there and there is room for it.

    Args:
        reads: each job, in an order in which they can run, with the jobs before it.
        seconds: of each job.
        gpus: jobs that run a network hold one each; 0: there are none, and they hold cores alone.
        cores: how many there are. Beside a GPU, those of its jobs are taken to be there.
        share: stage -> cores that a job holds.
    """
    ahead = dict.fromkeys(reads, 0.0)  # seconds from a job's start to the end of all, had everything room
    after: dict[PlannedJob, list[PlannedJob]] = defaultdict(list)
    for name in reversed(list(reads)):
        ahead[name] += seconds[name]
        for before in dict.fromkeys(reads[name]):
            ahead[before] = max(ahead[before], ahead[name])
            after[before].append(name)
    waits = {name: len(dict.fromkeys(inputs)) for name, inputs in reads.items()}
    free = {"gpu": gpus, "core": cores}

    def room(job: PlannedJob) -> tuple[str, int]:
        if gpus and job.stage.model:
            return "gpu", 1
        return "core", min(share[job.stage.name], cores)

    place = {job: i for i, job in enumerate(reads)}  # decides between equals
    queues: dict[tuple[str, int], list[tuple[float, int, PlannedJob]]] = defaultdict(
        list
    )  # the longest way to go first

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
