"""Do the trainings of several seeds pay in one job? Steps of K networks of one architecture, each on its own batch:

    python benchmarks/seeds_together.py --models resnet8 resnet20 --seeds 5

  apart      one after another, as `train` jobs do on a CPU, channels_last (on a GPU: in one stream)
  streams    the same, each network in a CUDA stream of its own (on a GPU)
  recorded   each network's gradient as a CUDA graph, as `train` jobs do on a GPU
  together   one batch of all: the weights stacked, `torch.func.vmap` over the gradient of one network's loss

Forward and backward, without an optimiser; batch statistics without running ones, which vmap cannot update in place.
Seconds are CPU seconds on the CPU and the clock's on a GPU; the ways take turns.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from common import clock, cpu_seconds, machine, spread, table
from torch.func import functional_call, grad, replace_all_batch_norm_modules_, stack_module_state, vmap

from dqv2.runtime.device import use_device
from dqv2.train.batch import Target
from dqv2.train.graphed import GraphedGradient
from dqv2.train.models import Network, build_model


def ways(name: str, args: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    device, seeds = torch.device(args.device), range(args.seeds)
    models = [build_model(Network(name, 10, args.size), seed=seed, purpose="benchmark") for seed in seeds]
    models = [replace_all_batch_norm_modules_(model.to(device).train()) for model in models]
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(args.seeds, args.batch, 3, args.size, args.size, generator=draws).to(device)
    labels = torch.randint(10, (args.seeds, args.batch), generator=draws).to(device)
    skeleton = copy.deepcopy(models[0]).to("meta")
    weights, buffers = stack_module_state(models)

    def loss(weights: dict, buffers: dict, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(skeleton, (weights, buffers), (images,)), labels)

    gradients = vmap(grad(loss))
    models = [model.to(memory_format=torch.channels_last) for model in models]
    batches = [part.contiguous(memory_format=torch.channels_last) for part in images]

    def apart(streams: list | None = None) -> None:
        for k, model in enumerate(models):
            with torch.cuda.stream(streams[k]) if streams else nullcontext():
                F.cross_entropy(model(batches[k]), labels[k]).backward()
                model.zero_grad(set_to_none=True)

    found = {"apart": apart, "together": lambda: gradients(weights, buffers, images, labels)}
    if device.type == "cuda":
        streams = [torch.cuda.Stream() for _ in seeds]
        found["streams"] = lambda: apart(streams)
        targets = [Target(part, None) for part in labels]
        graphs = [
            GraphedGradient(partial(gradient, m), m, b, t) for m, b, t in zip(models, batches, targets, strict=True)
        ]
        found["recorded"] = lambda: [graph(*each) for graph, *each in zip(graphs, batches, targets, strict=True)]
    return found


def gradient(model: torch.nn.Module, images: torch.Tensor, target: Target) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a network's mean loss, into its weights; returns that loss, and the logits."""
    logits = model(images)
    loss = F.cross_entropy(logits, target.labels)
    loss.backward()
    return loss.detach(), logits.detach()


def seconds(way: Callable[[], object], steps: int, device: torch.device) -> float:
    """Of one step of all networks."""

    def run() -> None:
        for _ in range(steps):
            way()

    way()
    began = cpu_seconds()
    taken = clock(run, device)
    return (taken if device.type == "cuda" else cpu_seconds() - began) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["test_resnet", "resnet8", "resnet20"], help="of timm, or ours")
    parser.add_argument("--seeds", type=int, default=5, help="networks")
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch on the CPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    use_device(args.threads)
    device, rows, names = torch.device(args.device), [], []
    for model in args.models:
        chosen = ways(model, args)
        names = list(chosen)
        found: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(args.repeats):
            for name, way in chosen.items():
                found[name].append(seconds(way, args.steps, device))
        ratios = [[a / b for a, b in zip(found[name], found["apart"], strict=True)] for name in names[1:]]
        rows.append([model, *(spread(found[name], 3) for name in names), *(spread(each, 2) for each in ratios)])
    print(f"{machine(device)}; {args.seeds} networks, batches of {args.batch}, {args.size} px, {args.threads} threads;")
    print(f"seconds of a step of all, median (range) of {args.repeats}\n")
    print(table(["network", *(f"{name}, s" for name in names), *(f"{name} / apart" for name in names[1:])], rows))


if __name__ == "__main__":
    main()
