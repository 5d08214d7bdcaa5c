"""How the cost of each stage grows when images per class, classes or seeds double. By hand:

    python benchmarks/growth.py

Each stage's own functions on random images of 32 px, one thread: early training (1 epoch of ResNet-8), one pass for
saliency and features, masks and recipes (8 × 8 cells), GraphCut's bins (embeddings of 512 numbers, four times as
many images a class), a sample of a
tenth, and training on it (10 epochs). Seconds are those that the process computed, so that other load does not count;
the base and its three doublings are measured in turn, median of --repeats. GraphCut over more sizes: graphcut.py.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from common import machine, table, work

from dqv2.runtime.device import use_device
from dqv2.select.graphcut import graphcut_bins
from dqv2.select.sampling import sample_bins
from dqv2.semantic.masks import foreground
from dqv2.semantic.recipe import make_recipe
from dqv2.semantic.saliency import forward_pass
from dqv2.train.fit import fit
from dqv2.train.hyperparameters import Hyperparameters
from dqv2.train.models import Network, build_model

CPU = torch.device("cpu")
MORE = 4  # times as many images a class for GraphCut, whose square shows in larger classes alone
SHORT = ("masks and recipes", "sample")  # too short to be measured once
EXPECTED = {  # stage -> factor for twice the images per class, the classes, the seeds
    "early training": (2, 2, 2),
    "features and saliency": (2, 2, 2),
    "masks and recipes": (2, 2, 2),
    "GraphCut bins": (4, 2, 2),
    "sample": (2, 2, 2),
    "training": (2, 2, 2),
}


def stages(each: int, classes: int) -> dict[str, Callable[[], object]]:
    """Stage -> its work for one seed, for `each` images of so many classes."""
    draws = torch.Generator().manual_seed(0)
    n = each * classes
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=draws)
    labels = torch.arange(classes).repeat_interleave(each)
    embedding = torch.randn(MORE * n, 512, generator=draws).abs_()
    compared = torch.arange(classes).repeat_interleave(MORE * each)
    maps = torch.rand(n, 4, 4, generator=draws)
    bins = torch.arange(n) % 10
    network = Network("resnet8", classes, 32)
    rows = torch.randperm(n, generator=draws)[: n // 10]

    def train(images: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
        hyperparameters = Hyperparameters(64, 0.05, 0.9, 5e-4, {"crop": "pad", "pad": 4, "flip": False}, epochs=epochs)
        own = build_model(network, seed=0, purpose="growth")
        fit(own, images, labels, hyperparameters, seed=0, purpose="growth", device=CPU)

    model = build_model(network, seed=0, purpose="growth")
    return {
        "early training": lambda: train(images, labels, 1),
        "features and saliency": lambda: forward_pass(model, images),
        "masks and recipes": lambda: make_recipe(foreground(maps, 8), generator=draws),
        "GraphCut bins": lambda: graphcut_bins(embedding, compared),
        "sample": lambda: sample_bins(bins, labels, 0.1, generator=draws),
        "training": lambda: train(images[rows], labels[rows], 10),
    }


def repeated(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=400, help="images per class")
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    use_device(1)
    shapes = [(args.each, args.classes, 1), (2 * args.each, args.classes, 1), (args.each, 2 * args.classes, 1)]
    shapes.append((args.each, args.classes, 2))
    made = [(stages(each, classes), seeds) for each, classes, seeds in shapes]
    rows = []
    for stage, expected in EXPECTED.items():
        found: list[list[float]] = [[] for _ in made]
        for repeat in range(args.repeats + 1):
            for seconds, (calls, seeds) in zip(found, made, strict=True):
                times = seeds * (20 if stage in SHORT else 1)
                spent = work(partial(repeated, calls[stage], times), CPU) * seeds / times
                if repeat:  # the first warms up
                    seconds.append(spent)
        base, *others = map(statistics.median, found)
        cells = [f"{other / base:.1f} ({factor})" for other, factor in zip(others, expected, strict=True)]
        rows.append([stage, f"{base:.3f}", *cells])
    print(f"{machine(CPU)}; base {args.each} images × {args.classes} classes × 1 seed, CPU seconds,", end=" ")
    print(f"median of {args.repeats}; factor measured (expected)\n")
    print(table(["stage", "base, s", "2 × images per class", "2 × classes", "2 × seeds"], rows))


if __name__ == "__main__":
    main()
