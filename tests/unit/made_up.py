"""Made-up results of realistic size with known effects: what the statistics, claims and pages are tested with."""

import itertools

import numpy as np
import pandas as pd

TITLES = {
    "imagenette": "ImageNette",
    "imagenet30": "ImageNet-30",
    "cub200": "CUB-200-2011",
    "food101": "Food-101",
    "cifar10": "CIFAR-10",
    "tiny_imagenet": "Tiny-ImageNet",
    "digits": "digits on photographs",
}
LABELS = {"dq": "DQ", "dq_no_pixel": "DQ (no pixel step)", "dq_v2": "DQ_V2", "gc": "GraphCut", "random": "Random"}
LABELS |= {"grand": "GraNd", "gradmatch": "GradMatch", "dq_cutmix": "DQ, CutMix in place of MAE"}
MIXTURES = ("o100", "o100_t50", "o100_t100", "o50", "o50_t50", "o50_t100", "t50", "t100")
LARGE = ("imagenette", "imagenet30", "cub200", "food101")

EIGHT = ("Random", "GraNd", "GradMatch", "GC", "DQ", "DQ (no pixel step)", "DQ_V2", "DQ_V2, true mask")


def runs(dataset, mean, sd, seeds=5, y="test_accuracy", **columns):
    """One arm: exactly this mean and standard deviation, in an order of its own."""
    rng = np.random.default_rng([ord(letter) for letter in f"{dataset}{columns}"])
    values = rng.normal(size=seeds)
    values = (values - values.mean()) / values.std(ddof=1) if seeds > 1 else values * 0
    block = {"dataset": dataset, "dataset_title": TITLES[dataset], "seed": range(seeds), y: mean + sd * values}
    return pd.DataFrame(block | {"keep_ratio": 0.1, "device": "NVIDIA V100", "coreset_size": 1000} | columns)


def method(dataset, name, mean, sd, **columns):
    return runs(dataset, mean, sd, method=name, label=LABELS[name], **columns)


def world(sign=1.0, seeds=5, datasets=None):
    """Every experiment's table. ``sign`` 1: each claim holds by far; -1: each is contradicted.

    ``datasets`` replaces those of every experiment, as a smaller scale does.
    """

    def on(*names):
        return list(datasets or names)

    def join(frames):
        return pd.concat(frames, ignore_index=True)

    small, large = (0.3, 3.0) if sign > 0 else (3.0, 0.3)
    tables = {
        "fig2": join(
            frame
            for d in on("imagenette", "cifar10")
            for frame in (
                method(d, "dq", 70, 0.1 if sign > 0 else 1.5, seeds=40),
                method(
                    d,
                    "dq_no_pixel",
                    70 + (8 * sign if d == "cifar10" else -8 * sign),
                    1.5 if sign > 0 else 0.1,
                    seeds=40,
                ),
            )
        ),
        "fig4a": join(
            frame
            for d in on("imagenette", "cub200", "food101")
            for frame in (method(d, "dq", 70, large, seeds=40), method(d, "dq_v2", 75, small, seeds=40))
        ),
        "fig4b": join(
            frame
            for d in on(*LARGE)
            for frame in (method(d, "dq", 70, 0.5, seeds=seeds), method(d, "dq_v2", 70 + 5 * sign, 0.5, seeds=seeds))
        ),
        "cutmix": join(
            frame
            for d in on("imagenette")
            for frame in (
                method(d, "dq", 70, 0.5, seeds=seeds),
                method(d, "dq_cutmix", 70 - 9 * sign, 0.5, seeds=seeds),
            )
        ),
        "table2": join(
            method(
                d, name, 40 + 30 * keep + (9 * sign if name == "dq_v2" else i / 4), 0.4, seeds=seeds, keep_ratio=keep
            )
            for d in on("tiny_imagenet")
            for keep in (0.1, 0.2, 0.3, 0.4)
            for i, name in enumerate(("random", "grand", "gradmatch", "gc", "dq", "dq_v2"))
        ),
        "fig5b": join(
            method(d, "dq_v2", 70 + 2 * sign * i, small if size >= 32 else large, tobias_size=size, seeds=20)
            for d in on("imagenette")
            for i, size in enumerate((4, 8, 16, 32, 40))
        ),
        "table3": join(
            method(
                d,
                "dq_v2",
                70 + (5 * sign if selector == "bins" else 0),
                small if selector == "bins" else large,
                selector=selector,
                seeds=30,
            )
            for d in on("imagenet30")
            for selector in ("bins", "random_bins", "uniform_bins", "early_train_bins")
        ),
        "fig6": join(
            method(d, "dq_v2", 70 + (6 * sign if mixture == "o100_t50" else 0), 0.4, mixture=mixture, seeds=seeds)
            for d in on("imagenet30", "cub200", "food101")
            for mixture in MIXTURES
        ),
        "tableC": join(
            method(d, "dq_v2", 70 + gain * sign, 0.3, mix=mix, seeds=seeds)
            for d in on("imagenet30")
            for mix, gain in (("none", 0), ("mixup", 4), ("cutmix", 4.5), ("both", 9))
        ),
        "masks": join(
            runs(
                d,
                70 + (6 * sign if mask in ("early", "untrained") else 0),
                0.4,
                method="dq_v2",
                mask=mask,
                label=f"DQ_V2, {mask}",
                seeds=seeds,
            )
            for d in on("imagenette")
            for mask in ("cells", "shuffled", "centre", "untrained", "early")
        ),
    }
    return tables


def table(labels=EIGHT, seeds=3, datasets=("digits",), **columns):
    rng = np.random.default_rng(1)
    return pd.DataFrame([
        {"dataset": dataset, "label": label, "seed": seed, "test_accuracy": 50 + 2 * i + rng.normal()}
        | columns
        for dataset in datasets for i, label in enumerate(labels) for seed in range(seeds)
    ])  # fmt: skip


def sizes(seeds=3, label="DQ_V2"):
    frames = [table((label,), seeds, tobias_size=size) for size in (4, 8, 16, 32, 40)]
    frames = [frame.assign(test_accuracy=frame.test_accuracy + i) for i, frame in enumerate(frames)]
    frame = pd.concat([*frames, table(("no augmentation",), seeds, tobias_size=None)], ignore_index=True)
    return frame.astype({"tobias_size": "Int64"})


def mixtures(datasets=("digits",)):
    shares = [pair for pair in itertools.product((1.0, 0.5, 0.0), repeat=2) if sum(pair)]
    return pd.concat([table(("DQ_V2",), 3, datasets, originals=o, tobias=t) for o, t in shares], ignore_index=True)
