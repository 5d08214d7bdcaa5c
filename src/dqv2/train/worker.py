"""A process of a training on several devices, started by torchrun: `python -m dqv2.train.worker FOLDER PID`.

`FOLDER` is that of `train.parallel.fit_on_several`: it contains `job.pt` and receives `result.pt` (from rank 0),
`error-*.pickle` or `stopped-*`.
"""

import logging
import os
import pickle
import shutil
import sys
import threading
import time
from pathlib import Path

import psutil
import torch
import torch.distributed as dist

from dqv2.runtime.device import use_device
from dqv2.runtime.files import atomic_path
from dqv2.runtime.logging import log_to, logger
from dqv2.runtime.sentences import written_to
from dqv2.runtime.stop import Stopped, stop_signals
from dqv2.train.group import Group

_writing = threading.Lock()  # held while a file of the folder is written, so that nothing is written after a removal


def main(folder: Path, job: int) -> int:
    """Train for the process `job`; returns the exit code."""
    try:
        parent = psutil.Process(job)
    except psutil.NoSuchProcess:  # killed while this one started
        _remove(folder)
        return 1
    _end_with(parent, folder)
    try:
        return _told(folder)
    finally:
        if _gone(parent):  # then nobody else removes the folder
            _remove(folder)


def _told(folder: Path) -> int:
    """Train, and record how it ended in the folder."""
    rank = int(os.environ["RANK"])
    with stop_signals():
        try:
            job = torch.load(folder / "job.pt", map_location="cpu", weights_only=False, mmap=True)
            if job["log"]:
                log_to(job["log"], mode="a")
                logger.setLevel(logging.INFO if rank == 0 else logging.WARNING)
            _train(folder, job)
        except Stopped as stopped:
            with _writing:
                (folder / f"stopped-{rank}").write_text(str(int(stopped.signum)), encoding="utf-8")
            return 128 + stopped.signum
        except Exception as error:
            logger.warning("process %d failed", rank, exc_info=True)
            with _writing, atomic_path(folder / f"error-{rank}.pickle") as temporary:
                temporary.write_bytes(_pickled(error))
            return 1
    return 0


def _train(folder: Path, job: dict) -> None:
    cuda = job["kind"] == "cuda"
    device = use_device(job["threads"], index=int(os.environ["LOCAL_RANK"])) if cuda else use_device(job["threads"])
    dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
    group = Group(device)
    logger.info("%d processes, each with its part of every batch", group.size)
    model, options = job["model"], job["job"]
    history = job["fit"](model, device=device, group=group, **options)
    if group.rank == 0:
        state = {key: value.cpu() for key, value in model.state_dict().items()}
        watch = options["watch"]
        kept = {"model": state, "history": history, "watch": watch.state_dict() if watch is not None else None}
        with written_to(folder.parent), _writing, atomic_path(folder / "result.pt") as temporary:
            torch.save(kept, temporary)
    dist.barrier(group.control)
    dist.destroy_process_group()


def _gone(parent: psutil.Process) -> bool:
    try:
        return not parent.is_running() or parent.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _remove(folder: Path) -> None:
    """Each process does so after the last that it writes: whoever comes last leaves nothing."""
    with _writing:
        shutil.rmtree(folder, ignore_errors=True)


def _end_with(parent: psutil.Process, folder: Path) -> None:
    """End when the job that this process works for is gone: killed outright, it can neither say so nor clear up."""

    def look() -> None:
        while not _gone(parent):
            time.sleep(0.5)
        with _writing:
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def _pickled(error: Exception) -> bytes:
    """The error, or where it cannot be taken apart and put together again, its words."""
    try:
        found = pickle.dumps(error)
        pickle.loads(found)
    except Exception:
        found = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return found


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
