"""One training on several devices of a machine: a process a device, each with its part of every batch.

The processes are torchrun's (`dqv2.train.worker`), and the gradients are averaged by DistributedDataParallel, by NCCL
on GPUs and by gloo on CPUs. All of them draw the same order and the same augmentation for the whole batch, and take
their part; batch statistics are those of the whole batch; each part's loss counts for its share of the images. So the
training is that of one device up to the order of sums, and a checkpoint of one goes on with any number. Only dropout
is drawn process by process: a network that has it is trained as well, with other zeros for another number of devices.
"""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import dqv2
from dqv2.runtime import stop
from dqv2.runtime.logging import log_file, logger
from dqv2.train import worker

SECONDS_TO_STOP = 45  # torchrun gives its processes 30 to keep a checkpoint


def fit_on_several(fit: Callable[..., Any], model: nn.Module, *, devices: int, device: torch.device, **job: Any) -> Any:
    """Train `model` in place, as `train.fit.fit` does, in `devices` processes; returns its history.

    fit, model, job: `train.fit.fit` and its arguments, which can be pickled. They go through a file in the temporary
    storage, of the size of the images; images that are read batch by batch are not copied. device: "cuda": the process
    of rank r has the r-th device that this one sees. "cpu": all share it. Raises Stopped where this process or one of
    those was asked to stop (a checkpoint was kept); RuntimeError where a process ended without saying why; and what
    one of the processes raised.
    """
    watch = job["watch"]
    with tempfile.TemporaryDirectory(prefix="dqv2-") as name, stop.deferred():
        folder = Path(name)
        about = {"log": log_file(), "threads": torch.get_num_threads(), "kind": device.type}
        torch.save(about | {"fit": fit, "model": model, "job": job}, folder / "job.pt")
        code = _launch(folder, devices)
        told = sorted(folder.glob("stopped-*"))
        if signum := stop.asked() or (int(told[0].read_text(encoding="utf-8")) if told else None):
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
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    command += ["--nproc-per-node", str(devices), "-m", worker.__name__, str(folder), str(os.getpid())]
    path = [str(Path(dqv2.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all on this machine, whatever its name resolves to
    with (folder / "torchrun.log").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        told = False
        try:
            while True:
                try:
                    return process.wait(0.1)
                except subprocess.TimeoutExpired:
                    if stop.asked() and not told:
                        process.terminate()
                        told = True
        finally:  # it has ended, and with it those that it started
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(SECONDS_TO_STOP)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _error(folder: Path, code: int) -> Exception:
    """What the first process that failed raised; the others fail because it is gone."""
    said = (folder / "torchrun.log").read_text(encoding="utf-8", errors="replace")
    logger.info("torchrun ended with %d:\n%s", code, said[-20000:])
    found = sorted(folder.glob("error-*.pickle"), key=lambda path: path.stat().st_mtime_ns)
    if found:
        return pickle.loads(found[0].read_bytes())
    return RuntimeError(
        f"the processes of a training on several devices ended ({code}) without saying why: see its log"
    )
