"""One training on several devices of a machine: a process a device, each with its part of every batch.

The processes are torchrun's (`dqv2.train.worker`), and the gradients are averaged by DistributedDataParallel, by NCCL
on GPUs and by gloo on CPUs. All of them draw the same order and the same augmentation for the whole batch, and take
their part; batch statistics are those of the whole batch; each part's loss counts for its share of the images. So the
training is that of one device up to the order of sums, and a checkpoint of one goes on with any number. Only dropout
is drawn process by process: a network that has it is trained as well, with other zeros for another number of devices.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

import dqv2
from dqv2.runtime import stop
from dqv2.runtime.logging import log_file, logger
from dqv2.train.statistics import GlobalStatistics

SECONDS_TO_STOP = 45  # torchrun gives its processes 30 to keep a checkpoint


class Group:
    """The processes of a training, seen from one of them; the default process group must be up."""

    def __init__(self, device: torch.device):
        self.device, self.rank, self.size = device, dist.get_rank(), dist.get_world_size()
        self.control = dist.new_group(backend="gloo")  # on the CPU: no GPU waits for it

    def part(self, n: int) -> slice:
        """The places of this process among n images; some processes have none where n is less than their number."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def wrap(self, model: nn.Module) -> nn.Module:
        """What the forward pass goes through; `model` itself keeps the weights, under the same names."""
        if any(isinstance(module, _BatchNorm) for module in model.modules()):
            if self.device.type == "cuda":
                from timm.layers import convert_sync_batchnorm  # knows torch's classes and timm's own

                convert_sync_batchnorm(model)
            else:
                model = GlobalStatistics(model, dist.new_group())  # torch's own wants a GPU
        devices = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def weight(self, own: int, n: int) -> float:
        """What the mean loss of `own` of the batch's n images is multiplied by, as gradients are averaged later."""
        return own * self.size / n

    def whole(self, loss: Tensor) -> Tensor:
        """The batch's loss from the weighted ones of all processes; nobody waits for it here."""
        total = loss / self.size
        dist.all_reduce(total)
        return total

    def gather(self, right: Tensor, n: int) -> Tensor:
        """bool[n] of the whole batch from each process's part."""
        longest = -(-n // self.size)
        mine = torch.zeros(longest, dtype=torch.uint8, device=self.device)
        mine[: len(right)] = right
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(parts, mine)
        sizes = [(rank + 1) * n // self.size - rank * n // self.size for rank in range(self.size)]
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]).bool()

    def agree(self, asked: int | None) -> int | None:
        """The signal that asked any process to stop, told to all at the same step."""
        found = torch.tensor(asked or 0)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return int(found) or None


def fit_on_several(model: nn.Module, *, devices: int, device: torch.device, **job: Any) -> Any:
    """Train `model` in place, as `train.loop.fit` does, in `devices` processes; returns its history.

    Args:
        model, job: the arguments of `fit`, all of which can be pickled. They go through a file in the temporary
            storage, of the size of the images; images that are read batch by batch are not copied.
        devices: how many.
        device: "cuda": the process of rank r has the r-th device that this one sees. "cpu": all share it.

    Raises:
        Stopped: this process or one of those was asked to stop; a checkpoint was kept.
        RuntimeError: a process ended without saying why.
        Exception: what one of the processes raised.
    """
    watch = job["watch"]
    with tempfile.TemporaryDirectory(prefix="dqv2-") as name, stop.deferred():
        folder = Path(name)
        about = {"log": log_file(), "threads": torch.get_num_threads(), "kind": device.type}
        torch.save(about | {"model": model, "job": job}, folder / "job.pt")
        code = _launch(folder, devices)
        if signum := stop.asked() or _signal(folder):
            raise stop.Stopped(signum)
        result = folder / "result.pt"
        if code or not result.is_file():
            raise _error(folder, code)
        done = torch.load(result, map_location="cpu", weights_only=False)
    model.load_state_dict(done["model"])
    model.to(device)
    if watch is not None:
        watch.load_state_dict(done["watch"])
    return done["history"]


def _launch(folder: Path, devices: int) -> int:
    """Run the processes to their end, telling them when this one is asked to stop; torchrun's exit code."""
    from dqv2.train import worker  # which imports this module

    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    command += ["--nproc-per-node", str(devices), "-m", worker.__name__, str(folder), str(os.getpid())]
    path = [str(Path(dqv2.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all on this machine, whatever its name resolves to
    with (folder / "torchrun.log").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        with _ended(process):
            told = False
            while True:
                try:
                    return process.wait(0.1)
                except subprocess.TimeoutExpired:
                    if stop.asked() and not told:
                        process.terminate()
                        told = True


@contextmanager
def _ended(process: subprocess.Popen) -> Iterator[None]:
    """On leaving, the process has ended, and with it those that it started."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _signal(folder: Path) -> int | None:
    found = sorted(folder.glob("stopped-*"))
    return int(found[0].read_text()) if found else None


def _error(folder: Path, code: int) -> Exception:
    """What the first process that failed raised; the others fail because it is gone."""
    logger.info("torchrun ended with %d:\n%s", code, (folder / "torchrun.log").read_text(errors="replace")[-20000:])
    found = sorted(folder.glob("error-*.pickle"), key=lambda path: path.stat().st_mtime_ns)
    if found:
        return pickle.loads(found[0].read_bytes())
    return RuntimeError(
        f"the processes of a training on several devices ended ({code}) without saying why: see its log"
    )
