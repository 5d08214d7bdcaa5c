"""The estimate as printed text."""

from collections.abc import Iterator

from dqv2.cost.estimate import Estimate
from dqv2.cost.rates import Rates
from dqv2.plan import Plan
from dqv2.runtime.sentences import counted
from dqv2.stages import stage as stage_of

TOP = 5  # shares shown of each kind


def lines(plan: Plan, rates: Rates, found: Estimate) -> Iterator[str]:
    """The lines that `dqv2 plan --cost` prints."""
    total = found.on_device()
    guessed, network = (sum(found.by_stage(what).values()) for what in (lambda p: p.guessed, lambda p: p.network))
    measured = _rates(rates, found, guessed / network if network else 0.0)
    parts = _stages(found), measured, _answer(found, total, guessed), _shares(found, total), _next(plan, found, total)
    yield from "\n\n".join("\n".join(part) for part in parts).split("\n")


def hours(seconds: float) -> str:
    """Seconds as hours, or as minutes below one hour."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"


def size(count: float) -> str:
    """Bytes in GB or MB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def _stages(found: Estimate) -> Iterator[str]:
    seconds, counts = found.by_stage(), found.jobs
    yield f"{'stage':<14}{'jobs':>8}{'alone':>8}{'hours':>10}{'alone':>10}   runs on"
    rows = [(name, counts[name], found.jobs_apart[name], seconds[name], found.apart[name]) for name in counts]
    rows.append(("all", *(sum(of.values()) for of in (counts, found.jobs_apart, seconds, found.apart))))
    for name, jobs, apart, time, time_apart in rows:
        where = "" if name == "all" else found.device.title if stage_of(name).model else "CPU"
        line = f"{name:<14}{jobs:>8,}{apart:>8,}{time / 3600:>10,.2f}{time_apart / 3600:>10,.2f}   {where}"
        yield line.rstrip()
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
    yield f"Beside it: {host.title} ({host.measured}); {host.start_up:.2f} s to start a job."
    parts = [f"{name} {n.train:,} + {n.validation + n.test:,} ({n.source})" for name, n in found.sizes.items()]
    yield f"Images to train + to evaluate: {', '.join(parts)}."


def _answer(found: Estimate, total: float, guessed: float) -> Iterator[str]:
    label = "estimated, not measured" if guessed else "from measured rates"
    kind = "core-hours" if found.device.threads else "device-hours"
    cores = found.threads if found.device.threads else dict.fromkeys(found.threads, 1)
    mine, apart = (
        sum(seconds * cores[name] for name, seconds in times.items() if stage_of(name).model)
        for times in (found.by_stage(), found.apart)
    )
    saved = 1 - mine / apart if apart else 0.0
    alone = f"without sharing {apart / 3600:,.1f}, so that sharing saves {saved:.0%}"
    yield f"{kind} ({label}): {mine / 3600:,.1f}; {alone}"
    if guessed and not found.device.networks:
        rest = total - guessed
        low, high = (hours(rest + guessed * f) for f in (2, 0.5))
        share = found.device.utilisation
        yield f"  at {share / 2:.0%} of the peak in place of {share:.0%}: {low}; at {share * 2:.0%}: {high}"
    yield f"jobs without a device: {found.beside() / 3600:,.1f} hours on the CPU"
    started = sum(price.start for price in found.prices.values())
    yield f"of all this, starting Python in {found.jobs.total():,} jobs: {started / 3600:,.1f} hours"
    place = f"{'' if found.device.threads else f'{found.gpus} × {found.device.title}, '}{counted(found.cores, 'core')}"
    yield f"wall time on {place} ({label}): {hours(found.wall)}"
    parts = ", ".join(f"{name} {size(count)}" for name, count in found.disk.most_common())
    yield f"disk when it has ended: {size(sum(found.disk.values()))} ({parts})"
    yield f"  and checkpoints while it runs: {size(found.state)}"


def _shares(found: Estimate, total: float) -> Iterator[str]:
    yield "largest shares of the time on the device:"
    shares = {
        "dataset": found.by(lambda job: job.w.dataset if job.stage.model else None),
        "stage": found.by(lambda job: job.stage.name if job.stage.model else None),
        "keep ratio trained on": found.by(lambda job: job.w.keep if job.stage.name == "train" else None),
    }
    for title, values in shares.items():
        if values:
            parts = [f"{name} {seconds / max(total, 1e-9):.0%}" for name, seconds in values.most_common(TOP)]
            yield f"  by {title}: {', '.join(parts)}"
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
