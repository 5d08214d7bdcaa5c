"""Leasing a device to each job on a machine, never the same to two jobs.

Snakemake's `--resources gpu=4` counts jobs; it does not assign devices to them. Here a job takes one: a kernel lock on
a file that represents the device, in a local folder. The kernel releases the lock when the process ends, however it
ends. Nothing here initialises CUDA; a lease must be taken before anything else does.
"""

import csv
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dqv2.runtime.files import read_json, write_json
from dqv2.runtime.logging import logger, say
from dqv2.runtime.sentences import written_to

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Device:
    """A device: its entry in CUDA_VISIBLE_DEVICES, a unique key (the UUID), and the product's name."""

    id: str
    key: str
    name: str | None = None


@dataclass(frozen=True)
class Lease:
    """The devices of a job; empty on a machine without a GPU, and where the job asked for none."""

    devices: tuple[Device, ...]
    slots: tuple[int, ...] = ()
    pool: tuple[str, ...] = ()
    by: str = "lease"

    def __str__(self) -> str:
        if not self.devices:
            return "no device"
        names = ", ".join(f"{d.id} ({d.name})" if d.name else d.id for d in self.devices)
        where = "given by SLURM" if self.by == "slurm" else f"of {','.join(self.pool)}"
        return f"device {names} {where}" + (f", slot {self.slots[0]}" if any(self.slots) else "")


def pool() -> list[Device]:
    """The devices that this process may use: those of CUDA_VISIBLE_DEVICES, else those that the driver lists.

    Numbers in CUDA_VISIBLE_DEVICES are interpreted in PCI bus order, as in the driver's tools; `take` sets
    CUDA_DEVICE_ORDER accordingly.
    """
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    listed = _listed_by_the_driver() if wanted is None or shown() else []
    if wanted is None:
        return listed
    found = []
    for entry in (part.strip() for part in wanted.split(",")):
        if not entry or entry.startswith("-"):
            break  # CUDA itself stops at the first entry that names nothing
        number = int(entry) if entry.isdigit() else None
        if number is not None and number < len(listed):
            found.append(Device(entry, listed[number].key, listed[number].name))
        else:
            match = next((device for device in listed if device.key.startswith(entry)), None)
            found.append(Device(entry, match.key if match else entry, match.name if match else None))
    return [device for i, device in enumerate(found) if device.key not in {other.key for other in found[:i]}]


def shown() -> str:
    """The value of CUDA_VISIBLE_DEVICES; empty where it is unset or shows no device."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").strip()
    return "" if visible.startswith("-") else visible


def _listed_by_the_driver() -> list[Device]:
    """The devices that `nvidia-smi` lists, in bus order; none without a driver, or, with a warning, where it fails."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=uuid,name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    if done.returncode != 0:
        why = (done.stdout + done.stderr).strip().partition("\n")[0].rstrip(".") or f"exit code {done.returncode}"
        logger.warning("nvidia-smi is here and lists no GPU (%s): this job runs without", why)
        return []
    rows = [row for row in csv.reader(done.stdout.splitlines(), skipinitialspace=True) if len(row) == 2]
    return [Device(uuid, uuid, name) for uuid, name in rows]


def folder() -> Path:
    """The folder of the locks, one per user in local temporary storage; raises PermissionError if it is another's."""
    path = Path(tempfile.gettempdir()) / f"dqv2-devices-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to somebody else: set TMPDIR to a folder of your own on this machine")
    return path


@contextmanager
def take(count: int, *, jobs_per_device: int = 1, job: str = "a job") -> Iterator[Lease]:
    """Hold `count` devices, each for this job alone (or `jobs_per_device` jobs), and make only them visible to CUDA.

    Under SLURM the scheduler's choice is used as is, except where an allocation has more devices than the job asks for
    (a whole node, divided by Snakemake): then they are leased. Without any device the lease is empty.

    count: 0 takes none and hides all. job: its name, for the messages of jobs that wait. Raises ValueError where
    `count` exceeds the number of devices.
    """
    if count == 0:
        with _environment(CUDA_VISIBLE_DEVICES=""):
            yield Lease(())
        return
    devices = pool()
    if "SLURM_JOB_ID" in os.environ and len(devices) <= count:
        yield Lease(tuple(devices), by="slurm")
        return
    if not devices:
        yield Lease(())
        return
    if count > len(devices):
        raise ValueError(
            f"{count} devices are asked for, but there are {len(devices)} ({', '.join(d.id for d in devices)}): "
            "lower the devices of the trainer, or CUDA_VISIBLE_DEVICES hides some"
        )
    with ExitStack() as held:
        with _door(job):
            taken = _wait_for(count, devices, jobs_per_device, held, job)
        visible = ",".join(device.id for device in taken)
        held.enter_context(_environment(CUDA_VISIBLE_DEVICES=visible, CUDA_DEVICE_ORDER="PCI_BUS_ID"))
        yield Lease(tuple(taken), tuple(taken.values()), tuple(device.id for device in devices))


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value


def _door(job: str) -> Any:
    """Let one job at a time choose, so that one that needs several devices is not overtaken forever."""
    lock = _lock("door")
    try:
        return lock.acquire(timeout=1)
    except Timeout:
        say(f"{job} waits for a device behind another job that waits")
        return lock.acquire()


def _wait_for(count: int, devices: list[Device], jobs_per_device: int, held: ExitStack, job: str) -> dict[Device, int]:
    """Lock a slot on each of `count` devices: device -> slot, in the order of `devices`; `held` releases the locks."""
    taken: dict[Device, int] = {}
    said = False
    while True:
        for slot in range(jobs_per_device):  # the first slot of every device before the second of any
            for device in devices:
                if len(taken) < count and device not in taken and _try(device, slot, held, job):
                    taken[device] = slot
        if len(taken) == count:
            return {device: taken[device] for device in devices if device in taken}
        if not said:
            others = [device for device in devices if device not in taken]
            say(f"{job} waits for a device: {_who_holds(others, jobs_per_device)}")
            said = True
        time.sleep(POLL_SECONDS)


def _try(device: Device, slot: int, held: ExitStack, job: str) -> bool:
    lock = _lock(_file_name(device, slot))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    held.callback(lock.release)
    holder = {"pid": os.getpid(), "job": job, "since": datetime.now().isoformat(timespec="seconds")}
    with written_to(folder()):
        write_json(folder() / f"{_file_name(device, slot)}.json", holder)
    return True


def _who_holds(devices: list[Device], jobs_per_device: int) -> str:
    parts = []
    for device in devices:
        for slot in range(jobs_per_device):
            holder = read_json(folder() / f"{_file_name(device, slot)}.json") or {}
            parts.append(f"{device.id} is held by {holder.get('job') or 'a job'} (process {holder.get('pid', '?')})")
    return ", ".join(parts)


def _file_name(device: Device, slot: int) -> str:
    # Two allocations on one node may each have a device 0; a UUID is one device whoever names it
    numbered = device.key.isdigit() and "SLURM_JOB_ID" in os.environ
    allocation = f"slurm{os.environ['SLURM_JOB_ID']}." if numbered else ""
    return allocation + "".join(c if c.isalnum() or c in "-_" else "_" for c in device.key) + f".{slot}"


def _lock(name: str) -> FileLock:
    # Not the soft lock that filelock falls back to elsewhere: it would outlive a killed process
    return FileLock(folder() / f"{name}.lock", poll_interval=POLL_SECONDS, fallback_to_soft=False)
