"""Training speed of `dqv2.train.fit.fit` against its limit and against timm's own training script. By hand:

    python benchmarks/training.py --timm-script path/to/pytorch-image-models/train.py --folder path/to/cifar10/train

For the embedded digits and for each --folder (CLASS/*, as torchvision's ImageFolder), in one run and in turn, so that
other load on the machine meets all of them:

  ours    fit on the images as they come out of a pack: crop and flip anew for each image
  limit   the same network, optimiser and batch size on one fixed batch that lies on the device: no data work at all
  graph   on a GPU, the same with the gradient recorded as a CUDA graph, as ours is: no launches of kernels either
  timm    its train.py on the same images as PNG files in an ImageFolder: random resized crop and flip, nothing else of
          its augmentation, the same network, batch size, precision and device, channels_last, --workers for reading

Images a second are those of warm epochs: ours after a first call of one epoch, on a GPU less a second such call, which
records the gradient too; timm's as it prints them, the average of an epoch with its waiting for data, of all epochs but
the first (median). Its validation is switched off.

With two precisions each repeat takes both in turn, and a table of their ratios follows.

On the CPU, images per CPU second stand beside them: all that the processes computed, readers of data included, which
other load on the machine changes little and the number of cores not at all. timm's are those of a run less those of a
run of one epoch, so that its start does not count.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from common import clock, cpu_seconds, machine, spread, table
from PIL import Image

from dqv2.cost.networks import count
from dqv2.cost.rates import Net, read_rates
from dqv2.data.digits import make_digits
from dqv2.data.image import decode
from dqv2.inputs import normalise
from dqv2.runtime.device import use_device
from dqv2.train.batch import Target
from dqv2.train.fit import fit
from dqv2.train.graphed import GraphedGradient
from dqv2.train.hyperparameters import Hyperparameters
from dqv2.train.models import Network, build_model
from dqv2.train.optimiser import optimiser_of

LINE = re.compile(r"Train: (\d+) \[\s*\d+/\d+ \(\s*(\d+)%\)\].*?Time: [\d.]+s,\s+[\d.]+/s\s+\([\d.]+s,\s+([\d.]+)/s\)")


def digits(size: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The embedded training set: uint8[N, 3, size, size] and labels."""
    items = list(make_digits(size=size)["train"].items())[:number]
    return np.stack([image for *_, image in items]), np.array([label for _, label, *_ in items])


def folder(root: Path, size: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images of each class of a folder, `number` in all."""
    classes = sorted(entry for entry in root.iterdir() if entry.is_dir())
    each = math.ceil(number / len(classes))
    files = [(file, k) for k, path in enumerate(classes) for file in sorted(path.rglob("*.*"))[:each]]
    return np.stack([decode(file.read_bytes(), size).pixels for file, _ in files]), np.array([k for _, k in files])


def write_folder(root: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """The images as PNG files in train/CLASS/ and, for timm looks for it, one a class in validation/CLASS/."""
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        for split in ("train", "validation") if i in np.unique(labels, return_index=True)[1] else ("train",):
            (root / split / f"{label:04d}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(root / split / f"{label:04d}" / f"{i:06d}.png")


class Bench:
    """One network on one set of images."""

    def __init__(self, name: str, images: np.ndarray, labels: np.ndarray, args: argparse.Namespace, precision: str):
        self.name, self.args, self.device, self.precision = name, args, torch.device(args.device), precision
        whole = len(images) // args.batch * args.batch  # timm drops what is left
        self.images, self.labels = torch.from_numpy(images[:whole]), torch.from_numpy(labels[:whole]).long()
        self.classes, self.size = int(labels.max()) + 1, images.shape[2]
        self.steps = whole // args.batch

    def model(self) -> torch.nn.Module:
        return build_model(Network(self.name, self.classes, self.size, self.args.stem), seed=0, purpose="benchmark")

    def hyperparameters(self, epochs: int) -> Hyperparameters:
        """Of `ours`; of the optimiser alone for `limit`."""
        how = {"batch_size": self.args.batch, "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
        how |= {"precision": self.precision, "compile": self.args.compile, "epochs": epochs}
        return Hyperparameters.of(how | {"augment": {"crop": "resized", "pad": 0, "flip": True}})

    def ours(self) -> tuple[float, float]:
        """Images a second of `fit`, and a CPU second."""
        model = self.model()

        def run(epochs: int) -> float:
            options = {"seed": 0, "purpose": "benchmark", "device": self.device}
            return fit(model, self.images, self.labels, self.hyperparameters(epochs), **options).seconds

        run(1)
        first = run(1) if self.device.type == "cuda" else None
        began = cpu_seconds()
        seconds = run(self.args.epochs) if first is None else run(1 + self.args.epochs) - first
        images = len(self.images) * self.args.epochs
        return images / seconds, images / (cpu_seconds() - began)

    def limit(self, *, graph: bool = False) -> tuple[float, float]:
        """Images a second of the network and its optimiser alone, kernel by kernel or as a graph; and a CPU second."""
        model = self.model().to(self.device, memory_format=torch.channels_last).train()
        optimiser = optimiser_of(model, self.hyperparameters(1))
        batch = normalise(self.images[: self.args.batch].to(self.device)).contiguous(memory_format=torch.channels_last)
        labels = self.labels[: self.args.batch].to(self.device)
        half = self.precision == "bfloat16"

        def gradient(images: torch.Tensor, target: Target) -> tuple[torch.Tensor, torch.Tensor]:
            with torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext():
                logits = model(images)
                loss = F.cross_entropy(logits, target.labels)
            loss.backward()
            return loss.detach(), logits.detach()

        target = Target(labels, None)
        compute = GraphedGradient(gradient, model, batch, target) if graph else gradient

        def run(steps: int) -> None:
            for _ in range(steps):
                model.zero_grad(set_to_none=True)
                compute(batch, target)
                optimiser.step()

        run(5)
        steps = self.steps * self.args.epochs
        began, images = cpu_seconds(), steps * self.args.batch
        return images / clock(lambda: run(steps), self.device), images / (cpu_seconds() - began)

    def timm(self, root: Path) -> tuple[float, float]:
        """Images a second that timm's script prints, and a CPU second of its warm epochs."""
        spent = []
        for epochs in (1, self.args.epochs + 1) if self.device.type == "cpu" else (self.args.epochs + 1,):
            began = cpu_seconds()
            printed = self._timm(root, epochs)
            spent.append(cpu_seconds() - began)
        images = len(self.images) * self.args.epochs
        return statistics.median(printed[1:]), images / max(spent[-1] - spent[0], 1e-9)

    def _timm(self, root: Path, epochs: int) -> list[float]:
        """Images a second of each epoch."""
        args = self.args
        command = [sys.executable, args.timm_script, "--data-dir", root, "--model", self.name, "--device", args.device]
        command += ["--num-classes", self.classes, "--input-size", 3, self.size, self.size, "--batch-size", args.batch]
        command += ["--epochs", epochs, "--warmup-epochs", 0, "--opt", "sgd", "--lr", 0.01, "--momentum", 0.9]
        command += ["--weight-decay", 5e-4, "--smoothing", 0, "--color-jitter", 0, "--train-interpolation", "bilinear"]
        command += ["--workers", args.workers, "--log-interval", 100_000, "--val-interval", 100_000, "--channels-last"]
        if self.precision == "bfloat16":
            command += ["--amp", "--amp-dtype", "bfloat16"]
        threads = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
        done = subprocess.run(
            [*map(str, command), "--output", str(root / "output")], env=threads, capture_output=True, encoding="utf-8"
        )
        found = [float(m[3]) for m in LINE.finditer(done.stdout + done.stderr) if m[2] == "100"]
        if done.returncode or len(found) != epochs:
            sys.exit(f"timm's script failed ({done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return found


Found = dict[str, list[tuple[float, float]]]  # of each name: images a second and a CPU second of each repeat


def names(device: torch.device) -> list[str]:
    """What is measured on a device."""
    return ["ours", "limit", *(["graph"] if device.type == "cuda" else []), "timm"]


def measure(benches: list[Bench], root: Path | None) -> tuple[list[Found], float]:
    """The repeats of each bench, in turn, and the most memory of `ours` on a GPU (GiB)."""
    found: list[Found] = [{name: [] for name in names(bench.device)} for bench in benches]
    cuda, memory = benches[0].device.type == "cuda", 0.0
    for _ in range(benches[0].args.repeats):
        for bench, values in zip(benches, found, strict=True):
            if cuda:
                torch.cuda.reset_peak_memory_stats()
            values["ours"].append(bench.ours())
            memory = max(memory, torch.cuda.max_memory_allocated() / 2**30) if cuda else 0.0
            values["limit"].append(bench.limit())
            if cuda:
                values["graph"].append(bench.limit(graph=True))
            if root and timm.is_model(bench.name):  # the networks of CIFAR-10's papers are ours
                values["timm"].append(bench.timm(root))
    return found, memory


def ratio(above: list[tuple[float, float]], below: list[tuple[float, float]], which: int = 0) -> str:
    """Median of the repeats' ratios, and their range."""
    return spread([a[which] / b[which] for a, b in zip(above, below, strict=True)], 2) if above and below else ""


def row(bench: Bench, title: str, found: Found, memory: float) -> list[object]:
    """A row of the table: medians, ranges and ratios of the repeats."""
    cells = [title, bench.name, bench.precision, len(bench.images)]
    for which in (0, 1) if bench.device.type == "cpu" else (0,):
        cells += [spread([entry[which] for entry in entries]) if entries else "" for entries in found.values()]
        cells += [ratio(found["ours"], found[name], which) for name in found if name != "ours"]
    if bench.device.type == "cuda":
        rate = statistics.median(entry[0] for entry in found["ours"])
        flops = count(Net(bench.name, bench.size, bench.args.stem), bench.classes).train * rate
        peak = peak_of(bench.args)
        cells += [f"{memory:.1f} GiB", f"{100 * flops / peak:.1f} %" if peak else "unknown: --peak-tflops"]
    return cells


def peak_of(args: argparse.Namespace) -> float | None:
    """FLOP/s of the device's data sheet in bf16: as given, or that of a device of the project's rates by its name; None
    where neither is known."""
    if args.peak_tflops:
        return args.peak_tflops * 1e12
    name = torch.cuda.get_device_name().lower()
    known = {key: device.peak for key, device in read_rates().devices.items() if device.peak and key in name}
    return max(known.values(), default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--timm-script", help="train.py of huggingface/pytorch-image-models; without it timm is left out"
    )
    parser.add_argument("--folder", type=Path, action="append", default=[], help="CLASS/* images; may be repeated")
    parser.add_argument("--no-digits", action="store_true", help="without the embedded set")
    parser.add_argument("--models", nargs="+", default=["test_resnet", "resnet18"], help="of timm")
    parser.add_argument("--stem", choices=("standard", "small"), default="standard", help="small: not in timm's script")
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--number", type=int, default=2000, help="images of each set, at most")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2, help="that are measured")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), nargs="+", default=["float32"])
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch on the CPU")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of timm's reading")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU, dense bf16")
    args = parser.parse_args()
    if args.timm_script and args.stem != "standard":
        parser.error("timm's script builds networks with their standard stem: leave out --timm-script or --stem")
    use_device(args.threads)
    sets = {} if args.no_digits else {"digits": digits(args.size, args.number)}
    sets |= {"/".join(path.parts[-2:]): folder(path, args.size, args.number) for path in args.folder}
    measured = names(torch.device(args.device))
    ratios = [*measured, *(f"ours / {name}" for name in measured[1:])]
    header = ["images", "network", "precision", "n"]
    header += [f"{name}, images/s" if name in measured else name for name in ratios]
    header += ["memory", "share of peak"] if args.device == "cuda" else [f"{name}, a CPU second" for name in ratios]
    rows, pairs = [], []
    for title, (images, labels) in sets.items():
        with tempfile.TemporaryDirectory() as temporary:
            root = Path(temporary) if args.timm_script else None
            if root:
                whole = len(images) // args.batch * args.batch
                write_folder(root, images[:whole], labels[:whole])
            for name in args.models:
                benches = [Bench(name, images, labels, args, precision) for precision in args.precision]
                found, memory = measure(benches, root)
                for bench, values in zip(benches, found, strict=True):
                    rows.append(row(bench, title, values, memory))
                    print(*rows[-1], sep=" · ", file=sys.stderr, flush=True)
                if len(benches) > 1:
                    low, high = found[1], found[0]
                    pairs.append([title, name, *(ratio(low[which], high[which]) for which in found[0])])
                    pairs[-1].append(ratio(low["ours"], high["timm"]))
    print(f"{machine(torch.device(args.device))}, timm {timm.__version__}; images/s, median (range) of {args.repeats};")
    print(
        f"{args.size} px, {args.stem} stem, batch {args.batch}, {args.epochs} epochs, {args.threads} threads,", end=" "
    )
    print(f"{args.workers} workers for timm\n\n{table(header, rows)}")
    if pairs:
        second, first = args.precision[1], args.precision[0]
        header = ["images", "network", *(f"{name}, {second} / {first}" for name in measured)]
        print(f"\n{table([*header, f'ours in {second} / timm in {first}'], pairs)}")


if __name__ == "__main__":
    main()
