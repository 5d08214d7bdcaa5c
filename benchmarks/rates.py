"""How fast this machine is, as a file for the cost of a run before it runs. By hand:

    python benchmarks/rates.py config/demo.yaml --device cpu -o rates.yaml
    python benchmarks/rates.py --device cuda --name h100 -o rates.yaml        # the paper's networks
    dqv2 plan --cost --device h100 --rates rates.yaml

Measured: images a second of every network that the configuration uses, in training (dqv2.train.fit.fit, augmentation
included) and forward, in each precision in which it is used, over about --seconds each after a warm-up; masks, recipes,
composition, decoding and selectors on one thread of the CPU (median of --repeats); seconds to start a job from the
run's warm server. On the CPU seconds are those that the process computed, a thread, so that other load on the machine
does not count; on a GPU those of the wall clock.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import torch
import yaml
from common import machine, median_work, work
from PIL import Image

from dqv2.config import load_config, read_files
from dqv2.cost.rates import Net
from dqv2.cost.work import Reckoning
from dqv2.data.image import decode
from dqv2.declared import load
from dqv2.pixel.autoencoder import build_autoencoder, reconstruct
from dqv2.pixel.pretrain import Pretraining, pretrain
from dqv2.plan import Plan
from dqv2.plan.count import jobs_behind
from dqv2.runtime import warm
from dqv2.runtime.device import use_device
from dqv2.select.candidates import Candidates
from dqv2.select.table import KEYS, SELECTORS
from dqv2.semantic.compose import choose_donors, compose, tobias_cells
from dqv2.semantic.masks import foreground
from dqv2.semantic.saliency import forward_pass
from dqv2.train.fit import fit
from dqv2.train.hyperparameters import Hyperparameters
from dqv2.train.models import Network, build_model

CPU = torch.device("cpu")
MEASURED = ("graphcut_bins", "graphcut", "herding", "k_center", "craig", "gradmatch")


def nets_of(plan: Plan) -> dict[Net, dict]:
    """Each network that a plan uses, in each precision in which it does -> the block that says how it is trained, and
    its dataset's augmentation."""
    config, found = plan.config, {}
    reckoning = Reckoning(plan, lambda dataset: None, lambda net, classes: None)
    for job in jobs_behind(plan)[0]:
        stage, w = job.stage.name, job.w
        if stage in ("train", "early_train", "score"):
            block = config.trainers[w.trainer] if stage == "train" else config.backbones[w.backbone]
            reads = reckoning.net_of_evaluation if stage == "train" else reckoning.net_of_pass
            for net in (reckoning.net(w.dataset, block), reads(w.dataset, block)):
                found.setdefault(net, {"block": block, "augment": config.datasets[w.dataset].augment.model_dump()})
        if stage == "pixels" and (name := config.pixels[w.pixels].autoencoder):
            found.setdefault(reckoning.autoencoder(w.dataset, name), {"block": config.autoencoders[name]})
    return found


def until(seconds: float, step: float, least: int = 2) -> int:
    """How many steps of about `step` seconds fill `seconds`."""
    return max(least, round(seconds / max(step, 1e-6)))


def steps_a_second(train: Callable[[int], float], device: torch.device, seconds: float) -> float:
    """Of a training, from the seconds that so many steps take; without what it does once (on a GPU half a second)."""
    train(2)
    few, some = train(2), 22 if device.type == "cuda" else 4
    steps = until(seconds, max((train(some) - few) / (some - 2), 5e-4))
    return steps / (train(steps + 2) - few)


def network_rates(net: Net, about: dict, device: torch.device, seconds: float) -> dict:
    """Images a second of a network in training and, unless it is compiled, forward; `net` says the precision."""
    block, draws = about["block"], torch.Generator().manual_seed(0)
    batch = block.batch_size
    images = torch.randint(0, 256, (4 * batch, 3, net.size, net.size), dtype=torch.uint8, generator=draws)
    labels = torch.randint(0, 10, (4 * batch,), generator=draws)
    model = build_model(
        Network(net.model, 10, net.size, net.stem, dict(net.args), net.input_size), seed=0, purpose="rates"
    )

    def train(steps: int) -> float:
        own = {"augment": about["augment"], "iterations": steps, "epochs": None, "learning_rate": 1e-3}
        own |= {"precision": net.precision, "compile": net.compile}
        hyperparameters = Hyperparameters.of(block.model_dump() | own)
        return work(lambda: fit(model, images, labels, hyperparameters, seed=0, purpose="rates", device=device), device)

    trained = batch * steps_a_second(train, device, seconds)
    if net.compile:
        return {"train": trained}

    def read(times: int) -> float:
        bf16 = net.precision == "bfloat16"
        return work(lambda: [forward_pass(model, images, bf16=bf16) for _ in range(times)], device)

    times = until(seconds, read(1), 1)
    return {"train": trained, "forward": times * len(images) / read(times)}


def autoencoder_rates(net: Net, about: dict, device: torch.device, seconds: float) -> dict:
    """Images a second of a masked autoencoder in pre-training (where it is pre-trained here) and redrawing."""
    args, draws = dict(net.args), torch.Generator().manual_seed(0)
    block = about["block"]
    batch = block.batch_size
    images = torch.randint(0, 256, (batch, 3, net.size, net.size), dtype=torch.uint8, generator=draws)
    model = build_autoencoder(net.model.removeprefix("mae-"), image_size=net.size, grid=args["grid"])
    found = {}
    if block.weights == "self":

        def train(epochs: int) -> float:
            hyperparameters = Pretraining(epochs, batch, mask_ratio=args["hidden"])
            return work(lambda: pretrain(model, images, hyperparameters, seed=0, device=device), device)

        train(1)
        epochs = until(seconds, train(2) / 2)
        found["train"] = epochs * batch / train(epochs)
    model = model.eval().to(device)
    dropped = torch.zeros(batch, args["grid"], args["grid"], dtype=torch.bool)
    dropped.view(batch, -1)[:, : args["grid"] ** 2 // 4] = True
    reconstruct(model, images, dropped)
    found["forward"] = batch / median_work(lambda: reconstruct(model, images, dropped), 3, device)
    return found


def host_rates(repeats: int) -> dict:
    """Units a second of one thread, and seconds to start a job; see `dqv2.cost.rates.Host`."""
    draws = torch.Generator().manual_seed(0)
    n, side, cells = 512, 64, 32
    images = torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=draws)
    maps = torch.rand(n, 8, 8, generator=draws)
    masks, donors = foreground(maps, cells), choose_donors(n, generator=draws)
    found = tobias_cells(masks, donors, generator=draws)
    rates = {
        "masks": n * cells**2 / median_work(lambda: foreground(maps, cells), repeats, CPU),
        "recipes": n * cells**2 / median_work(lambda: tobias_cells(masks, donors, generator=draws), repeats, CPU),
        "compose": n * side**2 / median_work(lambda: compose(images, images[donors], found), repeats, CPU),
        "decode": 20 / median_work(_decoding(20), repeats, CPU),
    }
    size, numbers, classes = 1300, 2048, 30
    embedding = torch.randn(size, numbers, generator=draws).abs_()
    logits, labels = torch.randn(size, classes, generator=draws), torch.zeros(size, dtype=torch.int64)
    select = {}
    for kind in MEASURED:
        keys = {key: KEYS[key] for key in SELECTORS[kind].keys}
        keys |= {"features": "gradient"} if kind in ("craig", "gradmatch") else {}
        length = numbers + (classes if keys["features"] == "gradient" else 0)
        run = partial(load(SELECTORS[kind].function), Candidates(labels, embedding, logits), **keys)
        select[kind] = size**2 * length / median_work(run, repeats, CPU)
    return {"start_up": warm_start(max(repeats, 10)), **rates, "select": select}


def warm_start(repeats: int) -> float:
    """CPU seconds to start a job that is forked from the run's server and does nothing, its script's own included."""
    server = warm.start(["dqv2.runtime.warmed"], "builtins:callable")
    script = [sys.executable, "-c", "import sys; from dqv2.runtime import warm; sys.exit(warm.run({}))"]
    try:
        subprocess.run(script, check=True)  # waits for the server's imports

        def used() -> float:
            return sum(sum(psutil.Process(pid).cpu_times()[:4]) for pid in (server.pid, os.getpid()))

        before = used()
        for _ in range(repeats):
            subprocess.run(script, check=True)
        return (used() - before) / repeats
    finally:
        server.stop()


def _decoding(times: int):
    """Reads of a photograph as ImageNet has them: 500 × 375 pixels, JPEG, to 224 pixels."""
    from sklearn.datasets import load_sample_images

    buffer = io.BytesIO()
    Image.fromarray(load_sample_images().images[0][:375, :500]).save(buffer, "JPEG", quality=92)
    return lambda: [decode(buffer.getvalue(), 224) for _ in range(times)]


def rounded(value):
    """Three digits, all that a measurement is worth."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configfile", nargs="*", help="overlays on config.yaml; their networks are measured")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--name", help="what --device of dqv2 plan will call it")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU, where it runs the networks")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement of a network")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement on the CPU beside it")
    parser.add_argument("--models", nargs="*", help="these alone")
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device is to be had here: use --device cpu")
    began = time.monotonic()
    use_device(1)
    host = host_rates(args.repeats)
    host = {
        "title": "1 thread of the CPU",
        "measured": f"{machine(CPU)}; CPU seconds, median of {args.repeats}",
        **host,
    }
    use_device(args.threads)
    device = torch.device(args.device)
    plan = Plan(load_config(read_files(args.configfile)))
    networks = []
    for net, about in nets_of(plan).items():
        if args.models and net.model not in args.models:
            continue
        measure = autoencoder_rates if net.model.startswith("mae-") else network_rates
        found = measure(net, about, device, args.seconds)
        entry = {"model": net.model, "size": net.size, "stem": net.stem, "args": dict(net.args)}
        entry |= {"input_size": net.input_size, "precision": net.precision, "compile": net.compile}
        networks.append({**entry, "batch": about["block"].batch_size, **found})
        print(f"{net.text}: " + ", ".join(f"{kind} {value:,.0f} images/s" for kind, value in found.items()), flush=True)
    kind = "CPU seconds" if args.device == "cpu" else "wall clock"
    block = {"measured": f"{machine(device)}; {kind}, once, over about {args.seconds:g} s each", "networks": networks}
    title = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {args.threads} thread(s) a network"
    block |= {"title": title, "threads": args.threads if args.device == "cpu" else 0}
    values = {"devices": {args.name or args.device: block}, "host": host}
    Path(args.output).write_text(yaml.safe_dump(rounded(values), sort_keys=False, width=120), encoding="utf-8")
    print(f"{args.output}: after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
