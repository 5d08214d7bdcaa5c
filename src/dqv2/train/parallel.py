"""One training on several devices of a machine: one process per device, each with its part of every batch.

The processes are started by torchrun (`dqv2.train.worker`), and the gradients are averaged by DistributedDataParallel,
with NCCL on GPUs and gloo on CPUs. All processes draw the same order and the same augmentation for the whole batch, and
take their part; each part's loss is weighted by its share of the images; on GPUs batch statistics are those of the
whole batch. (On CPUs, where only tests train so, they are each process's own: torch's SyncBatchNorm needs a GPU.) So
the training equals that on one device up to the order of sums, and a checkpoint can be resumed on any number of
devices. Only dropout is drawn per process: a network with dropout trains equally well, with other zeros for another
number of devices.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import dqv2
from dqv2.runtime import stop
from dqv2.runtime.files import temporary_dir
from dqv2.runtime.logging import log_file, logger
from dqv2.runtime.sentences import written_to
from dqv2.train import worker

PURPOSE = "dqv2-training"  # of the temporary folder
SECONDS_TO_STOP = 45  # torchrun gives its processes 30 to write a checkpoint


def fit_on_several(fit: Callable[..., Any], model: nn.Module, *, devices: int, device: torch.device, **job: Any) -> Any:
    """Train `model` in place, as `train.fit.fit` does, in `devices` processes; returns its history.

    fit, model, job: `train.fit.fit` and its arguments, which must be picklable. They are passed in a temporary file as
    large as the images; images that are read batch by batch are not copied. device: of type "cuda": rank r uses the
    r-th device visible to this process; of type "cpu": all share it. Raises Stopped where this process or one of the
    others was asked to stop (a checkpoint is written); whatever one of the processes raised; and RuntimeError where a
    process ended without an error.
    """
    watch = job["watch"]
    with temporary_dir(PURPOSE) as folder, stop.deferred():
        about = {"log": log_file(), "threads": torch.get_num_threads(), "kind": device.type}
        with written_to(folder.parent):
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
    """Run the processes to their end, forwarding a request to stop; returns torchrun's exit code."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    command += ["--log-dir", str(folder)]  # or it leaves a folder in TMPDIR each time
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
        finally:  # make sure that torchrun, and the processes that it started, have ended
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(SECONDS_TO_STOP)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _error(folder: Path, code: int) -> Exception:
    """The exception of the first process that failed; the others fail as a consequence."""
    said = (folder / "torchrun.log").read_text(encoding="utf-8", errors="replace")
    logger.info("torchrun ended with %d:\n%s", code, said[-20000:])
    found = sorted(folder.glob("error-*.pickle"), key=lambda path: path.stat().st_mtime_ns)
    if found:
        return pickle.loads(found[0].read_bytes())
    return RuntimeError(
        f"the processes of a training on several devices ended ({code}) without saying why: see its log"
    )
