"""GraphCut bins of a set of ImageNet-1k's shape by factored last-layer gradients, run by hand.

    python benchmarks/imagenet_bins.py [--classes 50] [--device cuda] [--mapped]

1000 classes of 1281 images, embeddings of 2048 and residuals of 1000 dimensions, ten bins. So many classes as asked
are divided, and the time for 1000 is their time a class, times 1000. Features of four classes are made before the
clock starts and stand for all the others in turn, as random numbers cost more than the bins; residuals are computed
from logits, class by class, within the time. With --mapped all classes are written to memory-mapped files in a
temporary folder first and read from there. With --device cuda the transfers count. One class is divided by the
published algorithm too (benchmarks/graphcut.py), from gradients' dot products in float64, and the bins compared.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from common import machine, table, timed
from graphcut import published_bins_of
from memory import added_memory

from dqv2 import FeatureRows, GradientFeatures, graphcut_bins, last_layer_residual

CLASSES, IMAGES, EMBEDDING, LOGITS = 1000, 1281, 2048, 1000


def make(c):
    """Embedding (not negative, as pooled ReLUs are) and logits (the own class ahead) of one class, float32."""
    g = torch.Generator().manual_seed(c)
    embedding = torch.rand(IMAGES, EMBEDDING, generator=g).square_()
    logits = torch.randn(IMAGES, LOGITS, generator=g)
    logits[:, c % LOGITS] += 6
    return embedding, logits


def held(classes, device):
    """Rows of four classes in memory, which stand for all."""
    kept = [make(c) for c in range(min(4, classes))]

    def rows(index):  # of one class
        c = int(index[0]) // IMAGES % len(kept)
        return gradients(*(values[: len(index)] for values in kept[c]), torch.full_like(index, c), device)

    return rows


def mapped(classes, device, folder):
    """Rows read from memory-mapped files."""
    shapes = {"embedding": EMBEDDING, "logits": LOGITS}
    files = {
        name: np.lib.format.open_memmap(
            Path(folder, f"{name}.npy"), mode="w+", dtype=np.float32, shape=(classes * IMAGES, d)
        )
        for name, d in shapes.items()
    }
    made = [make(c) for c in range(min(4, classes))]  # as `held` does
    for c in range(classes):
        for name, values in zip(shapes, made[c % len(made)], strict=True):
            files[name][c * IMAGES : (c + 1) * IMAGES] = values
    for file in files.values():
        file.flush()
    del files
    kept = [np.load(Path(folder, f"{name}.npy"), mmap_mode="r") for name in shapes]

    def rows(index):
        own = index // IMAGES % len(made)
        return gradients(*(torch.from_numpy(values[index.numpy()]) for values in kept), own, device)

    return rows


def gradients(embedding, logits, labels, device):
    return GradientFeatures(last_layer_residual(logits.to(device), labels), embedding.to(device))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=50, help="how many of the 1000 are done")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--mapped", action="store_true", help="features from memory-mapped files (15.6 MB a class)")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = mapped(args.classes, args.device, folder) if args.mapped else held(args.classes, args.device)
        run(args, rows)


def run(args, rows):
    labels = torch.arange(args.classes).repeat_interleave(IMAGES)
    features = FeatureRows(len(labels), rows, args.device)
    waits = args.device.type == "cuda"
    few = slice(0, IMAGES * min(2, args.classes))  # so that libraries' start does not count
    graphcut_bins(FeatureRows(len(labels[few]), rows, args.device), labels[few])
    one = rows(torch.arange(IMAGES))
    residual, embedding = one.residual.double(), one.embedding.double()
    found, seconds, products, cores = [], [], [], []
    for _ in range(args.repeats):
        if waits:
            torch.cuda.synchronize()
        began = time.perf_counter()
        products.append(float((residual @ residual.T).mul_(embedding @ embedding.T)[0, 0]))  # waits for the device
        products[-1] = time.perf_counter() - began
        for values, value in zip((seconds, cores, found), timed(lambda: graphcut_bins(features, labels)), strict=True):
            values.append(value)
    assert all(torch.equal(found[0], bins) for bins in found)
    memory = added_memory(lambda: graphcut_bins(features, labels))
    products_of = (residual @ residual.T) * (1 + embedding @ embedding.T)
    lengths = products_of.diagonal().sqrt()
    expected = published_bins_of((0.5 + 0.5 * products_of / lengths[:, None] / lengths).cpu().numpy())
    same = bool((graphcut_bins(one).cpu().numpy() == expected).all())
    a_class, gram = min(seconds) / args.classes, min(products)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(machine(args.device))
    own = {
        f"s for {CLASSES} on cores of its own": f"{min(cores) / args.classes * CLASSES / torch.get_num_threads():.0f}"
    }
    own = (
        own if args.device.type == "cpu" else {"device memory, GiB": f"{torch.cuda.max_memory_reserved() / 2**30:.2f}"}
    )
    row = {
        "classes done": args.classes,
        "features": "memory-mapped" if args.mapped else "held",
        "s": f"{min(seconds):.2f}",
        f"s for {CLASSES} (extrapolated)": f"{a_class * CLASSES:.0f}",
        "s a class": f"{a_class:.3f}",
        "Gram products alone, s a class": f"{gram:.3f}",
        "ratio": f"{a_class / gram:.2f}",
        "core seconds a class": f"{min(cores) / args.classes:.3f}",
        **own,
        "memory added, GiB": f"{memory / 2**30:.2f}",
        "process's peak, GiB": f"{peak / 2**30:.2f}",
        "same bins as published (one class)": "yes" if same else "NO",
        "n": args.repeats,
    }
    print(table(row, [row.values()]))


if __name__ == "__main__":
    main()
