"""Speed of the feature and saliency pass, and what its precision does to bins and masks, run by hand.

    python benchmarks/passes.py [resnet8:32 resnet20:32:small ...] [--device cuda] [--images 1200] [--repeats 5]

On the embedded digits, at the pixels that stand behind each network's name ("small": with the stem for small images).
Prints images/s of the pass (embedding,
logits and saliency of all images); of the same in bfloat16; of the pass as it would be with images as planes, without
channels_last; and of the network alone on one batch that lies on the device, which is the limit. On a CPU these are
images a second of the process's own computing time, a thread, so that other load does not count. Then, after three
epochs of training: the share of images whose GraphCut bin (ten bins, by embedding and by last-layer gradient), and of
mask cells (8 by 8), that change against the pass without channels_last.
"""

import argparse
import statistics
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from common import machine, spread, table, work

from dqv2 import GradientFeatures, foreground, forward_pass, graphcut_bins, last_layer_residual, normalise
from dqv2.data.digits import make_digits
from dqv2.semantic import saliency
from dqv2.train.models import Network, build_model

BATCH = 256


def digits(count, size):
    """uint8[N, 3, size, size] and int64[N]."""
    split = make_digits(train=count, validation=0, test=0, size=size)["train"]
    return torch.from_numpy(np.stack([image for *_, image in split.items()])), torch.from_numpy(split.labels)


@contextmanager
def as_planes():
    """The pass without channels_last: its batches stay as they are."""
    with mock.patch.object(torch, "channels_last", torch.contiguous_format):
        yield


def train(model, images, labels, epochs=3):
    """A few epochs of plain SGD, enough for features that mean something."""
    draws = torch.Generator().manual_seed(0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    device = next(model.parameters()).device
    model.train()
    for _ in range(epochs):
        for part in torch.randperm(len(images), generator=draws).split(64):
            loss = F.cross_entropy(model(normalise(images[part].to(device))), labels[part].to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def speed(model, images, device, repeats):
    batch = normalise(images[:BATCH].to(device)).contiguous(memory_format=torch.channels_last)
    features = []

    def alone():
        with torch.inference_mode():
            features[:] = [model(batch)]

    def planes():
        with as_planes():
            forward_pass(model, images, batch_size=BATCH)

    calls = {
        "the pass": (lambda: forward_pass(model, images, batch_size=BATCH), len(images)),
        "in bf16": (lambda: forward_pass(model, images, batch_size=BATCH, bf16=True), len(images)),
        "as planes": (planes, len(images)),
        "network alone (limit)": (alone, len(batch)),
    }
    for call, _ in calls.values():
        call()
    rates = {name: [] for name in calls}
    for _ in range(repeats):  # in turn, so that other load on the machine meets all
        for name, (call, count) in calls.items():
            rates[name].append(count / work(call, device))
    share = statistics.median(rates["the pass"]) / statistics.median(rates["network alone (limit)"])
    return [spread(rates[name]) for name in calls] + [f"{share:.2f}"]


def changes(model, images, labels):
    """Percent of bins by embedding, of bins by gradient, of mask cells: for channels_last, and for it in bf16."""

    def choices(found):
        gradients = GradientFeatures(last_layer_residual(found.logits, labels), found.embedding)
        bins = [graphcut_bins(features, labels) for features in (found.embedding, gradients)]
        return [*bins, foreground(found.saliency, 8)]

    with as_planes():
        plain = choices(forward_pass(model, images, batch_size=BATCH))
    rows = [choices(forward_pass(model, images, batch_size=BATCH, bf16=bf16)) for bf16 in (False, True)]
    return [f"{100 * float((a != b).double().mean()):.2f} %" for row in rows for a, b in zip(plain, row, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "networks", nargs="*", default=["resnet8:32", "resnet20:32:small"], metavar="NAME:PIXELS[:small]"
    )
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    assert saliency.torch is torch  # `as_planes` reaches the library's own
    rates, differences = [], []
    for text in args.networks:
        name, size, stem = f"{text}:".split(":")[:3]
        images, labels = digits(args.images, int(size))
        network = Network(name, 10, int(size), stem or "standard")
        model = build_model(network, seed=0, purpose="benchmark").to(args.device)
        train(model, images, labels)
        rates.append([text, *speed(model, images, args.device, args.repeats)])
        differences.append([text, *changes(model, images, labels)])
    print(f"{machine(args.device)}; {args.images} images; median (range) of {args.repeats}\n")
    header = ["images/s", "the pass", "in bf16", "as planes", "network alone (limit)", "pass / limit"]
    print(table(header, rates) + "\n")
    header = ["changed by", *(f"{form}: {what}" for form in ("channels_last", "bf16") for what in WHAT)]
    print(table(header, differences))


WHAT = ("bins by embedding", "bins by gradient", "mask cells")

if __name__ == "__main__":
    main()
