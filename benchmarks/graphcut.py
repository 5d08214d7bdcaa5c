"""Speed and memory of `graphcut_bins` against its floor and against the published algorithm, run by hand.

    python benchmarks/graphcut.py 5000x512 1300x2048 [--no-published] [--repeats 5]

Prints, per size, the best of the repeats: our time for one class and 10 bins, the float64 Gram product alone,
the published algorithm at its own cost (a fresh sum over all selected items for every step, on a ready
similarity matrix), both ratios, the peak memory our call adds in units of the Gram matrix, and whether all
bins are equal.
"""

import argparse
import os
import platform
import threading
import time
from pathlib import Path

import numpy as np
import torch

import dqv2


def published_bins(features, n_bins=10):
    """DQ's bins for one class by its published procedure: all gains summed afresh at every step."""
    x = features / np.linalg.norm(features, axis=1, keepdims=True)
    everything = 0.5 + 0.5 * (x @ x.T)
    bins = np.full(len(x), n_bins - 1)
    left = np.arange(len(x))
    for e in range(n_bins - 1):
        sim = everything[np.ix_(left, left)]
        total = sim.sum(0)
        selected = np.zeros(len(left), dtype=bool)
        for _ in range(min(round(len(x) / n_bins), len(left))):
            gain = np.full(len(left), -np.inf)
            gain[~selected] = total[~selected] - 2 * np.sum(sim[np.ix_(selected, ~selected)], axis=0)
            selected[gain.argmax()] = True
        bins[left[selected]] = e
        left = left[~selected]
    return bins


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def added_memory(call):
    """Peak resident bytes that a call adds, sampled every millisecond from /proc (Linux)."""

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before, peak, done = resident(), [0], threading.Event()

    def watch():
        while not done.wait(0.001):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    call()
    done.set()
    watcher.join()
    return peak[0] - before


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="+", metavar="NxD")
    parser.add_argument("--no-published", action="store_true", help="leave out the slow published algorithm")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    threads = torch.get_num_threads()
    print(
        f"{platform.platform()} {platform.machine()}, {os.cpu_count()} CPUs, {threads} torch threads, ",
        end="",
    )
    print(f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}")
    for size in args.sizes:
        n, d = map(int, size.lower().split("x"))
        features = torch.randn(n, d, generator=torch.Generator().manual_seed(0)).abs_()
        x = features.double()
        dqv2.graphcut_bins(features[:300])  # so that imports and libraries' own buffers do not count
        memory = added_memory(lambda features=features: dqv2.graphcut_bins(features)) / (n * n * 8)
        grams, times = [], []
        for _ in range(args.repeats):  # in turn, so that other load on the machine meets both
            grams.append(timed(lambda x=x: x @ x.T)[0])
            seconds, bins = timed(lambda features=features: dqv2.graphcut_bins(features))
            times.append(seconds)
        ours, gram = min(times), min(grams)
        line = f"{n}x{d}: ours {ours:.3f} s, Gram {gram:.3f} s, ours/Gram {ours / gram:.2f}"
        line += f", memory {memory:.2f} Gram"
        if not args.no_published:
            published, expected = timed(lambda x=x: published_bins(x.numpy()))
            same = bool((bins.numpy() == expected).all())
            line += f", published {published:.2f} s (once), published/ours {published / ours:.1f}"
            line += f", bins equal: {same}"
        print(f"{line}; best of {args.repeats}", flush=True)


if __name__ == "__main__":
    main()
