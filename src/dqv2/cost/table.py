"""The estimate in words and tables."""

from __future__ import annotations

from collections.abc import Iterator

from dqv2.cost.estimate import Estimate
from dqv2.cost.rates import Rates
from dqv2.plan import Plan
from dqv2.stages import stage as stage_of

__all__ = ["lines"]

TOP = 5  # shares shown of each kind


def lines(plan: Plan, rates: Rates, found: Estimate) -> Iterator[str]:
    """What `dqv2 plan --cost` prints."""
    total, guessed = found.on_device(), sum(price.guessed for price in found.prices.values())
    network = sum(price.network for price in found.prices.values())
    yield from _stages(found)
    yield ""
    yield from _rates(rates, found, guessed / network if network else 0.0)
    yield ""
    yield from _answer(found, total, guessed)
    yield ""
    yield from _shares(found, total)
    yield ""
    yield from _next(plan, found, total)


def hours(seconds: float) -> str:
    """Seconds as hours, or as minutes where that is more legible."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"


def size(count: float) -> str:
    """Bytes in GB or MB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def _stages(found: Estimate) -> Iterator[str]:
    seconds, counts = found.by_stage(), found.jobs
    yield f"{'stage':<14}{'jobs':>8}{'alone':>8}{'hours':>10}{'alone':>10}   runs on"
    for stage in counts:
        where = found.device.title if stage_of(stage).model else "CPU"
        yield (
            f"{stage:<14}{counts[stage]:>8,}{found.jobs_apart[stage]:>8,}{seconds[stage] / 3600:>10,.2f}"
            f"{found.apart[stage] / 3600:>10,.2f}   {where}"
        )
    yield (
        f"{'all':<14}{counts.total():>8,}{sum(found.jobs_apart.values()):>8,}{sum(seconds.values()) / 3600:>10,.2f}"
        f"{sum(found.apart.values()) / 3600:>10,.2f}"
    )
    yield "alone: if no experiment and no run shared a job. Tables and figures are not counted."


def _rates(rates: Rates, found: Estimate, guessed: float) -> Iterator[str]:
    device, host = found.device, rates.host
    if device.networks:
        yield f"{device.title}: {len(device.networks)} networks measured ({device.measured})."
    if guessed and device.networks:
        yield (
            f"{100 * guessed:.0f} % of the networks' time is estimated, not measured: from their FLOPs, at the median "
            "FLOP/s of those that were, of the same precision where there are any."
        )
    elif guessed:
        yield (
            f"{device.title}: estimated, not measured: FLOPs of each network, counted, at {device.utilisation:.0%} of "
            f"{device.peak / 1e12:,.0f} TFLOP/s in bfloat16 and of {device.peak * device.float32_share / 1e12:,.0f} "
            f"TFLOP/s in float32. {device.note}".strip()
        )
    yield f"Beside it: {host.title} ({host.measured}); {host.start_up:.1f} s to start a job."
    parts = [f"{name} {n.train:,} + {n.validation + n.test:,} ({n.source})" for name, n in found.sizes.items()]
    yield f"Images to train + to evaluate: {', '.join(parts)}."


def _answer(found: Estimate, total: float, guessed: float) -> Iterator[str]:
    label = "estimated, not measured" if guessed else "from measured rates"
    kind = "core-hours" if found.device.threads else "device-hours"
    if found.device.threads:
        mine, apart = found.core_hours(found.by_stage()), found.core_hours(found.apart)
    else:
        mine, apart = total / 3600, sum(found.apart[stage] for stage in found.apart if stage_of(stage).model) / 3600
    saved = 1 - mine / apart if apart else 0.0
    yield f"{kind} ({label}): {mine:,.1f}; without sharing {apart:,.1f}, so that sharing saves {saved:.0%}"
    if guessed and not found.device.networks:
        rest = total - guessed
        low, high = (hours(rest + guessed * f) for f in (2, 0.5))
        share = found.device.utilisation
        yield f"  at {share / 2:.0%} of the peak in place of {share:.0%}: {low}; at {share * 2:.0%}: {high}"
    yield f"jobs without a device: {found.beside() / 3600:,.1f} hours on the CPU"
    started = sum(price.start for price in found.prices.values())
    yield f"of all this, starting Python in {found.jobs.total():,} jobs: {started / 3600:,.1f} hours"
    place = (
        f"{found.cores} cores" if found.device.threads else f"{found.gpus} × {found.device.title}, {found.cores} cores"
    )
    yield f"wall time on {place} ({label}): {hours(found.wall)}"
    parts = ", ".join(f"{name} {size(count)}" for name, count in found.disk.most_common())
    yield f"disk when it has ended: {size(sum(found.disk.values()))} ({parts})"
    yield f"  and checkpoints while it runs: {size(found.state)}"


def _shares(found: Estimate, total: float) -> Iterator[str]:
    stages = {stage: seconds for stage, seconds in found.by_stage().items() if stage_of(stage).model}
    yield "largest shares of the time on the device:"
    for title, values in (
        ("dataset", found.by_dataset()),
        ("stage", stages),
        ("keep ratio trained on", found.by_keep()),
    ):
        parts = sorted(values.items(), key=lambda item: -item[1])[:TOP]
        if not parts:
            continue
        yield f"  by {title}: " + ", ".join(f"{name} {seconds / max(total, 1e-9):.0%}" for name, seconds in parts)
    needed = sorted(((found.on_device(units), name) for name, units in found.needs.items() if units), reverse=True)
    shown = [f"{name} {seconds / max(total, 1e-9):.0%} ({hours(found.alone(name))})" for seconds, name in needed[:TOP]]
    yield "  by experiment, with what it shares (what leaving it out would save): " + ", ".join(shown)


def _next(plan: Plan, found: Estimate, total: float) -> Iterator[str]:
    yield "what would lower it next:"
    if found.trained:
        name, seconds = found.trained.most_common(1)[0]
        share = seconds / max(total, 1e-9)
        yield f"  {name} is {share:.0%}: a tenth more images a second there saves {hours(seconds / 11)}"
    experiment = max(found.needs, key=found.alone, default=None)
    if experiment and found.alone(experiment):
        yield f"  leaving out {experiment} saves {hours(found.alone(experiment))}"
    seeds = len({run.seed for run in plan.runs})
    seeded = sum(p.seconds for job, p in found.prices.items() if hasattr(job.w, "seed") and job.stage.model)
    if seeds > 1:
        yield f"  one seed less (of {seeds}) saves about {hours(seeded / seeds)}"
