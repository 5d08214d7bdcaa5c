"""A real SLURM on loopback, for one test session: Debian's packages, own folders, own ports, two pretended GPUs."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# config_overrides: a node of this size, whatever the machine has, as the jobs ask for what the paper needs
SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire is also how long a job that was put back into the queue waits
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
KillWait=20
MinJobAge=3600
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=200000 Gres=gpu:2 State=UNKNOWN
PartitionName={partition} Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
# With plain files as devices SLURM sets no CUDA_VISIBLE_DEVICES; any character device does
GRES_CONF = "AutoDetect=off\nNodeName={host} Name=gpu File=/dev/tty[10-11] Flags=nvidia_gpu_env\n"


def missing() -> str | None:
    """Why a SLURM cannot be started here, or None."""
    if os.geteuid() != 0:
        return "SLURM's daemons need root"
    absent = [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]
    if absent:
        return f"there is no {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client munge"
    if not all(Path(f"/dev/tty{n}").is_char_device() for n in (10, 11)):
        return "there are no character devices /dev/tty10 and /dev/tty11 to stand for GPUs"
    return None


class Slurm:
    """The daemons, started by `start` and ended by `stop`, each by the process id in its pid file."""

    def __init__(self, folder: Path, partition: str):
        self.folder, self.partition = folder, partition
        self.env = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder}/bin:{os.environ['PATH']}:{PATH}"}

    def start(self) -> None:
        """Start munged, slurmctld and slurmd; wait until the node takes jobs."""
        host = socket.gethostname().split(".")[0]
        port, slurmd_port = _free_ports()
        for name in ("munge", "state", "spool", "bin"):
            (self.folder / name).mkdir(parents=True)
        # A job step starts srun without SLURM_*, so that it would look for the machine's own configuration
        srun = self.folder / "bin/srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec /usr/bin/srun "$@"\n')
        srun.chmod(0o755)
        values = {"host": host, "folder": self.folder, "partition": self.partition}
        values |= {"port": port, "slurmd_port": slurmd_port}
        (self.folder / "slurm.conf").write_text(SLURM_CONF.format(**values))
        (self.folder / "gres.conf").write_text(GRES_CONF.format(**values))
        key = self.folder / "munge/key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        for path in (self.folder / "munge", key):
            shutil.chown(path, "munge", "munge")
        munge = self.folder / "munge"
        munged = ["munged", f"--key-file={key}", f"--socket={munge}/socket", f"--pid-file={munge}/munged.pid"]
        munged += [f"--log-file={munge}/log", f"--seed-file={munge}/seed"]
        self._run("runuser", "-u", "munge", "--", *munged)
        self._run("slurmctld")
        self._run("slurmd")
        end = time.time() + 60
        while time.time() < end:
            done = subprocess.run(
                ["sinfo", "-h", "-o", "%T"], env=os.environ | self.env, capture_output=True, text=True
            )
            if done.stdout.strip() == "idle":
                return
            time.sleep(0.5)
        logs = "\n".join((self.folder / f"{name}.log").read_text()[-3000:] for name in ("slurmctld", "slurmd"))
        raise RuntimeError(f"the node did not become idle:\n{logs}")

    def stop(self) -> None:
        """End what `start` started, and every job first."""
        subprocess.run(["scancel", "--full", f"--partition={self.partition}"], env=os.environ | self.env)
        pids = [self.folder / name for name in ("slurmd.pid", "slurmctld.pid", "munge/munged.pid")]
        for pid in [int(path.read_text()) for path in pids if path.exists()]:
            _end(pid)

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, env=os.environ | self.env, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


def _free_ports() -> tuple[int, int]:
    """Two ports, held at once so that they are not the same, free on every address, as slurmctld listens on all."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _end(pid: int) -> None:
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        end = time.time() + seconds
        while Path(f"/proc/{pid}").exists() and time.time() < end:
            time.sleep(0.1)
