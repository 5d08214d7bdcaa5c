"""Speed, memory and growth of the orders that stop at a budget, against a plain numpy k-Center, run by hand.

    python benchmarks/baselines.py 1x100000x384 --budget 0.01
    python benchmarks/baselines.py 1000x1281x2048 --budget 0.1 --mapped [--done 100]
    python benchmarks/baselines.py 10x1000x512 --budget 0.1 --growth

For each shape (classes x images a class x dimensions, float32, random numbers that are not negative, as pooled ReLUs)
and each order: the wall time and the seconds computed, in which other load on the machine does not count, best of the
repeats; the wall time in units of a k-Center as one writes it in numpy (float32, squared distances by one
matrix-vector product a pick), which runs in turn with them, class by class; what an item of the budget costs; and the
peak memory that a call adds. CRAIG needs the distances of a class, and is left out where they exceed its max_bytes.
"Same" is whether the first picks of a class are those of a plain evaluation in float64 (k-Center alone).
--mapped: the features lie in a memory-mapped file in a temporary folder. Its pages count as memory of the process while
the system leaves them there; "beside the file" is without them.
--done: so many of the classes are done, and the times for all are theirs, times classes / done.
--growth: what doubling images per class, classes, dimensions or budget costs, in seconds that the process computed.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import machine, table, timed
from memory import added_memory, own_and_with_files

import dqv2
from dqv2.select.budget import class_budgets
from dqv2.select.graphcut import MAX_BYTES

ORDERS = {
    "k-Center": dqv2.k_center_order,
    "herding": dqv2.herding_order,
    "CRAIG": dqv2.craig_order,
    "GradMatch": dqv2.gradmatch_order,
    "GraphCut": dqv2.graphcut_order,
}
CPU = torch.device("cpu")


def make(shape, folder=None):
    """float32[classes * images, dimensions], in memory or in a file of this folder."""
    classes, n, d = shape
    if folder is None:
        x = np.empty((classes * n, d), np.float32)
    else:
        x = np.lib.format.open_memmap(Path(folder, "x.npy"), mode="w+", dtype=np.float32, shape=(classes * n, d))
    for c in range(classes):
        x[c * n : (c + 1) * n] = np.abs(np.random.default_rng(c).standard_normal((n, d), dtype=np.float32))
    if folder is None:
        return x
    x.flush()
    return np.load(Path(folder, "x.npy"), mmap_mode="r")


def plain_k_center(x, count):
    """The picks of one class, int[count], from the item nearest to the mean."""
    squares = (x * x).sum(1)
    picks = [int((squares - 2 * (x @ x.mean(0))).argmin())]
    nearest = np.full(len(x), np.inf, x.dtype)
    for _ in range(count - 1):
        i = picks[-1]
        np.minimum(nearest, squares + squares[i] - 2 * (x @ x[i]), out=nearest)
        nearest[i] = -1
        picks.append(int(nearest.argmax()))
    return picks


def plain(x, shape, budget):
    """The same class by class."""
    classes, n, _ = shape
    counts = class_budgets(budget, [n] * classes)
    return [plain_k_center(np.array(x[c * n : (c + 1) * n]), k) for c, k in enumerate(counts) if k]


def same_first(x, shape, budget, rank):
    """Whether the first twenty picks of the first class are those in float64."""
    few = min(20, class_budgets(budget, [shape[1]] * shape[0])[0])
    return rank[: shape[1]].argsort()[:few].tolist() == plain_k_center(np.array(x[: shape[1]], np.float64), few)


def calls_of(x, shape, budget, orders):
    """Name -> a call, the plain k-Center first."""
    labels = np.arange(shape[0]).repeat(shape[1])
    calls = {"plain": lambda: plain(x, shape, budget)}
    for name in orders:
        if name != "CRAIG" or shape[1] ** 2 * 8 <= MAX_BYTES:
            calls[name] = lambda order=ORDERS[name]: order(x, labels, budget=budget)
    return calls


def rows_of(shape, share, orders, *, mapped, done, repeats):
    """A row for each order at a shape."""
    classes, n, d = shape
    shape = (min(done or classes, classes), n, d)
    scale, budget = classes / shape[0], max(1, round(share * shape[0] * n))
    with tempfile.TemporaryDirectory() as folder:
        x = make(shape, folder if mapped else None)
        calls = calls_of(x, shape, budget, orders)
        for order in ORDERS.values():  # so that imports and libraries' own buffers do not count
            order(x[:64], budget=4)
        memory = {name: added_memory(call, own_and_with_files, 0.005) for name, call in calls.items()}
        found = {name: [] for name in calls}
        for _ in range(repeats):  # in turn, so that other load on the machine meets all
            for name, call in calls.items():
                found[name].append(timed(call))
        best = {
            name: [min(values) * scale for values in list(zip(*runs, strict=True))[:2]] for name, runs in found.items()
        }
        rows = []
        for name, (seconds, cores) in best.items():
            same = ""
            if name == "k-Center":
                same = "yes" if same_first(x, shape, budget, found[name][0][2]) else "NO"
            row = [name, f"{classes} x {n} x {d}", budget * round(scale), f"{seconds:.2f}", f"{cores:.2f}"]
            row += [f"{seconds / best['plain'][0]:.2f}", f"{cores / best['plain'][1]:.2f}"]
            row += [f"{1e3 * seconds / budget / scale:.2f}", *(f"{each / 2**20:.0f}" for each in memory[name]), same]
            rows.append(row)
        return rows


def growth(shape, share, orders, repeats):
    """What doubling one thing costs, in seconds computed: a row for each order."""
    classes, n, d = shape
    shapes = {
        "base": (shape, share),
        "images": ((classes, 2 * n, d), share / 2),
        "classes": ((2 * classes, n, d), share),
        "dimensions": ((classes, n, 2 * d), share),
        "budget": (shape, min(1.0, 2 * share)),
    }
    seconds = {}
    for what, (one, part) in shapes.items():
        calls = calls_of(make(one), one, max(1, round(part * one[0] * one[1])), orders)
        for name, call in calls.items():
            call()
            seconds[name, what] = min(timed(call)[1] for _ in range(repeats))
    names = dict.fromkeys(name for name, _ in seconds)
    return [
        [name, f"{seconds[name, 'base']:.3f}"]
        + [f"{seconds[name, what] / seconds[name, 'base']:.1f}" for what in list(shapes)[1:]]
        for name in names
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", metavar="CxNxD", default=["1x20000x384", "10x1281x2048"])
    parser.add_argument("--budget", type=float, default=0.01, help="share of the images that is ranked")
    parser.add_argument("--orders", nargs="*", choices=list(ORDERS), default=list(ORDERS))
    parser.add_argument("--mapped", action="store_true")
    parser.add_argument("--done", type=int, help="how many of the classes are done")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    shapes = [tuple(map(int, shape.lower().split("x"))) for shape in args.shapes]
    print(f"{machine(CPU)}, numpy {np.__version__}; budget {args.budget:g}, best of {args.repeats}")
    print(f"features {'memory-mapped' if args.mapped else 'held'}; done {args.done or 'all'} classes\n")
    if args.growth:
        header = ["core seconds", "base", "2 x images per class", "2 x classes", "2 x dimensions", "2 x budget"]
        for shape in shapes:
            print(table(header, growth(shape, args.budget, args.orders, args.repeats)), flush=True)
        return
    header = ["order", "classes x images x dimensions", "ranked", "s", "core s", "s / plain", "core s / plain"]
    header += ["ms an item", "memory beside the file, MiB", "memory with it, MiB", "same"]
    rows = []
    for shape in shapes:
        rows += rows_of(shape, args.budget, args.orders, mapped=args.mapped, done=args.done, repeats=args.repeats)
    print(table(header, rows))


if __name__ == "__main__":
    main()
