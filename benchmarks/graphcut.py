"""Speed, memory and exactness of `graphcut_bins` against its floor and against the published algorithm, by hand.

    python benchmarks/graphcut.py [5000x512 1300x2048 ...] [--no-published] [--fresh] [--no-matrix]
        [--growth] [--repeats 5]

For each size (images of one class x dimensions, random features, ten bins), best of the repeats: our time; the
float64 Gram product alone, and our ratio to it by the clock and by the seconds that the process computed, where other
load on the machine does not count; the published algorithm at its own cost, in float64, by code that shares nothing
with ours (at every step a fresh sum over chosen x not chosen, as DQ's code does), which is the oracle for the bins
too; and the peak memory that our call adds, in units of the Gram matrix.
--fresh: the first call in a process of its own, without imports, for both.
--no-matrix: the form for classes whose matrix does not fit (max_bytes), which computes rows of the next candidates
together; here in a 25th of the matrix and the features.
--growth: what doubling images per class, classes or dimensions costs, in seconds that the process computed, so that
other load on the machine does not count.
"""

import argparse
import subprocess
import sys
from functools import partial

import numpy as np
import torch
from common import clock, machine, table, timed
from memory import added_memory

import dqv2

CPU = torch.device("cpu")
GROWTH = {
    "8 classes of 1000, 512 dimensions": (8, 1000, 512, ""),
    "twice the images per class": (8, 2000, 512, "4 (n² · d)"),
    "twice the classes": (16, 1000, 512, "2"),
    "twice the dimensions": (8, 1000, 1024, "below 2 (steps have none)"),
}


def make(n, d, seed=0):
    """Not negative, as pooled ReLUs are."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).abs_()


def published_bins(features, n_bins=10):
    """DQ's bins for one class by its published procedure: all gains summed afresh at every step."""
    x = features / np.linalg.norm(features, axis=1, keepdims=True)
    return published_bins_of(0.5 + 0.5 * (x @ x.T), n_bins)


def published_bins_of(everything, n_bins=10):
    """The same from the similarities, float64[n, n]."""
    bins = np.full(len(everything), n_bins - 1)
    left = np.arange(len(everything))
    for e in range(n_bins - 1):
        sim = everything[np.ix_(left, left)]
        total = sim.sum(0)
        selected = np.zeros(len(left), dtype=bool)
        for _ in range(min(round(len(everything) / n_bins), len(left))):
            gain = np.full(len(left), -np.inf)
            gain[~selected] = total[~selected] - 2 * np.sum(sim[np.ix_(selected, ~selected)], axis=0)
            selected[gain.argmax()] = True
        bins[left[selected]] = e
        left = left[~selected]
    return bins


def in_child(n, d, which):
    """What `child` prints in a process of its own."""
    command = [sys.executable, __file__, f"{n}x{d}", "--child", which]
    return float(subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout)


def child(n, d, which):
    """Seconds of the first call, or bytes that it adds after a small one."""
    features = make(n, d)
    if which == "ours":
        print(clock(lambda: dqv2.graphcut_bins(features)))
    elif which == "published":
        x = features.double().numpy()
        print(clock(lambda: published_bins(x)))
    else:
        dqv2.graphcut_bins(features[:300])  # so that imports and libraries' own buffers do not count
        # In less than the ninth bin, of a fifth of the items, would need for its matrix.
        limit = {"max_bytes": n * n * 8 // 25 - 1} if which == "memory-no-matrix" else {}
        print(added_memory(lambda: dqv2.graphcut_bins(features, **limit)))


def one_size(n, d, repeats, published):
    features = make(n, d)
    x = features.double()
    dqv2.graphcut_bins(features[:300])  # so that imports and libraries' own buffers do not count
    memory = in_child(n, d, "memory") / (n * n * 8)
    calls = (lambda: x @ x.T, lambda: dqv2.graphcut_bins(features))
    runs = [[timed(call)[:2] for call in calls] for _ in range(repeats)]  # in turn: other load meets both
    (gram, gram_cores), (ours, cores) = np.min(runs, axis=0)
    row = [f"{n} x {d}", f"{ours:.3f}", f"{gram:.3f}", f"{ours / gram:.2f}", f"{cores / gram_cores:.2f}"]
    row.append(f"{memory:.2f}")
    if not published:
        return row
    bins = dqv2.graphcut_bins(features).numpy()
    seconds, _, expected = timed(lambda: published_bins(x.numpy()))
    return [*row, f"{seconds:.2f}", f"{seconds / ours:.1f}", "yes" if (bins == expected).all() else "NO"]


def fresh(n, d, repeats):
    """The first call of each in a process that has only imported: best of the repeats, in turn."""
    found = {"ours": [], "published": []}
    for _ in range(repeats):
        for which, seconds in found.items():
            seconds.append(in_child(n, d, which))
    ours, published = (min(seconds) for seconds in found.values())
    return [f"{n} x {d}", f"{ours:.3f}", f"{published:.2f}", f"{published / ours:.1f}"]


def no_matrix(n, d, repeats):
    features = make(n, d)
    limit = n * n * 8 // 25 - 1
    with_it, without = [], []
    for _ in range(repeats):
        with_it.append(clock(lambda: dqv2.graphcut_bins(features)))
        without.append(clock(lambda: dqv2.graphcut_bins(features, max_bytes=limit)))
    memory = in_child(n, d, "memory-no-matrix") / (n * n * 8)
    same = torch.equal(dqv2.graphcut_bins(features), dqv2.graphcut_bins(features, max_bytes=limit))
    row = [f"{n} x {d}", f"{min(with_it):.2f}", f"{min(without):.2f}", f"{min(without) / min(with_it):.2f}"]
    return [*row, f"{memory:.2f}", "yes" if same else "NO"]


def growth(repeats):
    rows, first = [], None
    for name, (classes, n, d, expected) in GROWTH.items():
        call = partial(dqv2.graphcut_bins, make(classes * n, d), torch.arange(classes).repeat_interleave(n))
        call()
        cores = min(timed(call)[1] for _ in range(repeats))
        first = first or cores
        rows.append([name, f"{cores:.2f}", f"{cores / first:.2f}", expected])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", metavar="NxD", default=["1300x512", "1300x2048", "5000x512"])
    parser.add_argument("--no-published", action="store_true", help="leave out the slow published algorithm")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--no-matrix", action="store_true")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", choices=["ours", "published", "memory", "memory-no-matrix"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = [tuple(map(int, size.lower().split("x"))) for size in args.sizes]
    if args.child:
        child(*sizes[0], args.child)
        return
    print(f"{machine(CPU)}, numpy {np.__version__}; best of {args.repeats}, published once\n")
    header = ["images x dimensions", "ours, s", "Gram, s", "ours / Gram", "core seconds, ours / Gram"]
    header += ["memory / Gram"]
    header += [] if args.no_published else ["published, s", "published / ours", "same bins"]
    print(table(header, [one_size(*size, args.repeats, not args.no_published) for size in sizes]), flush=True)
    if args.fresh:
        header = ["fresh process", "ours, s", "published, s", "published / ours"]
        print("\n" + table(header, [fresh(*size, min(args.repeats, 2)) for size in sizes]), flush=True)
    if args.no_matrix:
        header = ["without the matrix", "with it, s", "without, s", "without / with", "memory / Gram", "same bins"]
        print("\n" + table(header, [no_matrix(*size, min(args.repeats, 3)) for size in sizes]), flush=True)
    if args.growth:
        print("\n" + table(["growth", "core seconds", "measured", "expected"], growth(args.repeats)))


if __name__ == "__main__":
    main()
