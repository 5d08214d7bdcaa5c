"""Our orders beside DeepCore's own code (Guo et al. 2022), run by hand.

    python benchmarks/deepcore.py PATH/DeepCore 1281x2048 5000x512 --budget 0.1

PATH: a copy of its repository. For each shape (images x dimensions of one class, float32, random numbers that are not
negative) and each method: seconds, and seconds computed, of the function that chooses, ours and theirs in turn on the
same features, best of the repeats; what doubling the images at the same share costs each. Theirs: k-Center and herding
on float32 by torch, CRAIG (LazyGreedy) on numpy's distances, GradMatch by its function for numpy; ours is float64
throughout. "Same" is the share of the chosen images in common, and no verdict: DeepCore's herding takes the farthest
item where its source takes the nearest, its k-Center begins at random (ours then begins where it did), and its
GradMatch regularises differently.
"""

import argparse
import contextlib
import io
import sys
from types import SimpleNamespace

import numpy as np
import torch
from baselines import CPU, make
from common import machine, table, timed

import dqv2

QUIET = SimpleNamespace(print_freq=10**9, device="cpu")


def theirs_of(path):
    """Name -> a function of features float32[n, d] and how many: the indices that DeepCore chooses."""
    sys.path.insert(0, str(path))
    from deepcore.methods import gradmatch, herding, kcentergreedy
    from deepcore.methods.methods_utils import FacilityLocation, LazyGreedy, euclidean_dist, euclidean_dist_pair_np

    def k_center(x, count):
        greedy = kcentergreedy.k_center_greedy
        return greedy(torch.from_numpy(x), count, euclidean_dist, "cpu", 0, already_selected=[], print_freq=10**9)

    def herd(x, count):
        return herding.Herding.herding(SimpleNamespace(args=QUIET, metric=euclidean_dist), torch.from_numpy(x), count)

    def craig(x, count):
        matrix = -1.0 * euclidean_dist_pair_np(x)
        matrix -= np.min(matrix) - 1e-3
        index = np.arange(len(x))
        function = FacilityLocation(index=index, similarity_matrix=matrix)
        chosen = LazyGreedy(args=QUIET, index=index, budget=count)
        return chosen.select(gain_function=function.calc_gain, update_state=function.update_state)

    def match(x, count):
        weights = gradmatch.GradMatch.orthogonal_matching_pursuit_np(SimpleNamespace(args=QUIET), x.T, x.sum(0), count)
        return np.flatnonzero(weights)

    return {"k-Center": k_center, "herding": herd, "CRAIG": craig, "GradMatch": match}


def ours_of(n):
    """Name -> the same, by our orders. k-Center begins where DeepCore does with seed 0."""
    first = np.random.RandomState(0).randint(0, n)
    start = torch.Generator()
    while int(torch.randint(n, (1,), generator=start.manual_seed(start.initial_seed() + 1))) != first:
        pass
    seed = start.initial_seed()
    orders = {
        "k-Center": lambda x, k: dqv2.k_center_order(x, budget=k, generator=torch.Generator().manual_seed(seed)),
        "herding": lambda x, k: dqv2.herding_order(x, budget=k),
        "CRAIG": lambda x, k: dqv2.craig_order(x, budget=k),
        "GradMatch": lambda x, k: dqv2.gradmatch_order(x, budget=k),
    }
    return {
        name: lambda x, k, order=order: np.flatnonzero(np.asarray(order(x, k)) < k) for name, order in orders.items()
    }


def measured(call, x, count, repeats):
    """Best wall seconds and seconds computed, and what was chosen."""
    runs = []
    for _ in range(repeats):
        with contextlib.redirect_stdout(io.StringIO()):
            runs.append(timed(lambda: call(x, count)))
    return min(run[0] for run in runs), min(run[1] for run in runs), runs[0][2]


def rows_of(n, d, share, theirs, repeats):
    """A row for each method."""
    rows = []
    features = {size: make((1, size, d)) for size in (n, 2 * n)}
    for name, their in theirs.items():
        found = {
            (size, who): measured(call, x, max(1, round(share * size)), repeats)
            for size, x in features.items()
            for who, call in (("ours", ours_of(size)[name]), ("DeepCore", their))
        }
        ours, other = found[n, "ours"], found[n, "DeepCore"]
        grown = [f"{found[2 * n, who][1] / found[n, who][1]:.1f}" for who in ("ours", "DeepCore")]
        both = len(np.intersect1d(ours[2], other[2])) / max(1, round(share * n))
        row = [name, f"{n} x {d}", f"{ours[0]:.3f}", f"{other[0]:.3f}", f"{other[0] / ours[0]:.1f}"]
        rows.append([*row, f"{other[1] / ours[1]:.1f}", *grown, f"{both:.2f}"])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="DeepCore's repository")
    parser.add_argument("shapes", nargs="*", metavar="NxD", default=["1281x2048", "5000x512"])
    parser.add_argument("--budget", type=float, default=0.1, help="share of the images that is chosen")
    parser.add_argument("--methods", nargs="*", choices=["k-Center", "herding", "CRAIG", "GradMatch"])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    theirs = theirs_of(args.path)
    print(f"{machine(CPU)}, numpy {np.__version__}; budget {args.budget:g}, best of {args.repeats}\n")
    header = ["method", "images x dimensions", "ours, s", "DeepCore, s", "DeepCore / ours", "the same, core s"]
    header += ["2 x images: ours", "DeepCore", "same"]
    rows = []
    for shape in args.shapes:
        n, d = map(int, shape.lower().split("x"))
        rows += rows_of(
            n, d, args.budget, {k: v for k, v in theirs.items() if k in (args.methods or theirs)}, args.repeats
        )
    print(table(header, rows))


if __name__ == "__main__":
    main()
