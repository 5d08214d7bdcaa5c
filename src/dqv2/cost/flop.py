"""Floating-point operations of the networks behind coresets, from the work that their stages declare."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from dqv2.config.data import Digits
from dqv2.cost.rates import Facts, Net
from dqv2.cost.sizes import sizes_of
from dqv2.cost.work import Reckoning
from dqv2.data.published import KNOWN_SETS
from dqv2.plan import Plan

UNKNOWN = Facts(0.0, 0.0, 0, 0, 0)  # which images go through a network is known without building it


def networks_behind(plan: Plan, records: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Record of a job -> the networks that the job runs: ``net``, ``kind`` ("train" or "forward"), ``images`` and
    ``classes``, as builtins.

    Numbers of images are those that a set's authors or the configuration state, independent of what is on disk. For
    sets where neither does (a user's own folders) there is no entry.
    """
    reckoning = Reckoning(plan, lambda dataset: sizes_of(plan, dataset, packed=False), lambda net, classes: UNKNOWN)
    found = {}
    for record in dict.fromkeys(records):
        job = plan.job_making(record)
        block = plan.config.datasets[job.w.dataset]
        if isinstance(block, Digits) or block.kind in KNOWN_SETS:
            classes = reckoning.sizes(job.w.dataset).classes
            found[record] = [
                {"net": asdict(net) | {"args": [list(pair) for pair in net.args]}, "kind": kind}
                | {"images": images, "classes": classes}
                for net, kind, images in reckoning.of(job).networks
            ]
    return found


def tera_flop(networks: Mapping[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Record of a job -> 10¹² floating-point operations of its networks, from `networks_behind`.

    Counted are matrix products and convolutions, 2 per multiply-add, forward and for trainings also backward; not what
    is computed outside networks, such as GraphCut's products.
    """
    from dqv2.cost.networks import count  # with torch

    def of(each: dict[str, Any]) -> float:
        net = Net(**each["net"] | {"args": tuple(map(tuple, each["net"]["args"]))})
        return each["images"] * getattr(count(net, each["classes"]), each["kind"]) / 1e12

    return {record: float(sum(map(of, found))) for record, found in networks.items()}
