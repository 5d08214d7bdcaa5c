"""The warm start of local jobs: one process has the heavy modules in it, and each job is a forked child of it.

Snakemake's own process calls `start` before its first job. A job's script calls `run`, which hands the job over and
stays as its stand-in: it passes signals on and ends as the job ended. The server is `dqv2.runtime.warm_server`.
Only what Snakemake's own preamble of a script imports anyway is imported here: every job would pay for more.

Over the socket go a byte that carries the three standard file descriptors, and a pickle of the job. Back come numbers:
the job's process (negative), then how it ended (as `os.wait` has it). The job and the server say both: either may be
killed at any moment, the server even between the fork and its first word.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

VARIABLE = "DQV2_WARM"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # read by numerical libraries when loaded
NUMBER = struct.Struct("i")
PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
    signal.SIGCONT,
)


class Server:
    """The running server; or, where there is none to be had, something that does nothing."""

    def __init__(
        self, folder: str | None = None, process: subprocess.Popen[bytes] | None = None, patience: float = 0.0
    ):
        self.folder = folder
        self._process = process
        self._patience = patience

    @property
    def pid(self) -> int | None:
        """The server's process, or None where there is none."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """End the server and what it still runs (which is asked first), and leave nothing of it behind."""
        process, self._process = self._process, None
        if process is None or process.stdin is None or self.folder is None:
            return
        os.environ.pop(VARIABLE, None)
        if process.poll() is not None:
            print(f"dqv2: the warm start ended early ({process.returncode}), jobs started cold since", file=sys.stderr)
        process.stdin.close()
        try:
            process.wait(self._patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)  # the server did it, unless it was killed


def start(preload: Sequence[str], target: str, *, grace: float = 30.0) -> Server:
    """Start the server of this process's jobs and name it to them, in the environment.

    It ends with this process, however this process ends: its standard input is a pipe that nobody else writes to.

    Args:
        preload: modules that the server imports before the first job.
        target: "module:function", called in a child with each job's request; what it returns is the exit code.
        grace: seconds that jobs still running at the end have to stop by themselves.
    """
    if sys.platform != "linux" or os.environ.get(VARIABLE) == "0":
        return Server()
    folder = ""
    try:
        root = tempfile.gettempdir()
        root = root if len(root) <= 70 else "/tmp"  # with what follows at most 107 bytes, a socket's limit
        folder = tempfile.mkdtemp(prefix="dqv2-warm-", dir=root)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(_socket_in(folder))
            listener.listen(4096)  # here, so that no job can come too early
            about = {"listener": listener.fileno(), "folder": folder, "target": target, "grace": grace}
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dqv2.runtime.warm_server", json.dumps(about | {"preload": [*preload]})],
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                stdout=2,  # what a module says while it is imported is no job's output
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the jobs
            )
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"dqv2: no warm start, jobs start cold ({error})", file=sys.stderr)
        return Server()
    os.environ[VARIABLE] = folder
    return Server(folder, process, grace + 5)


def _environment() -> dict[str, str]:
    """The server's: it finds what this process finds, and no library starts threads, which no fork has."""
    single = dict.fromkeys(THREADS, "1") | {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | single


def _socket_in(folder: str) -> str:
    """Named after what a process must have in common with the server to hand it a job: no other finds it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
    mounts, processes = (Path(f"/proc/self/ns/{name}").readlink() for name in ("mnt", "pid"))
    python = (os.path.realpath(sys.executable), sys.prefix, os.path.realpath(__file__))
    common = repr((boot, mounts, processes, os.getuid(), *python))
    return f"{folder}/{hashlib.sha256(common.encode()).hexdigest()[:16]}"


def run(request: dict[str, Any]) -> int | None:
    """Hand a job over to the server and stay until it has ended, passing on signals that come here.

    The job has this process's working folder, environment, arguments, and file descriptors 0, 1 and 2, and all else as
    Snakemake has it. When this process ends, the job is killed with its whole session. Where the job was killed by a
    signal, so is this process: who waits for it sees the same as if the job had been run here.

    Args:
        request: for the target function: a dict of builtins. `request["threads"]`, if any, limits thread pools.

    Returns:
        The job's exit code; or None where there is no server to be had and nothing was run: run it here.
    """
    # A signal waits, blocked, until there is a job to have it; without one it comes here after all
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    try:
        status = _hand_over(request)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if status is None:
        return None
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    with suppress(OSError):  # SIGKILL has no handler
        signal.signal(-code, signal.SIG_DFL)
    signal.raise_signal(-code)
    return 128 - code  # the first process of a container, say: no signal ends it


def _hand_over(request: dict[str, Any]) -> int | None:
    """How the job ended, or None where nobody took it."""
    with socket.socket(socket.AF_UNIX) as link:
        if link.fileno() < 3:  # a standard descriptor is closed here, and now is no more
            return None
        try:
            job = {"request": request, "argv": sys.argv, "cwd": str(Path.cwd()), "environ": dict(os.environ)}
            link.connect(_socket_in(os.environ.get(VARIABLE, "")))
            socket.send_fds(link, [b"\0"], [0, 1, 2])
            link.sendall(pickle.dumps(job))
        except OSError:  # the server is not for us, or gone
            return None
        pid = status = None
        while (said := _number(link)) is not None:
            if said >= 0:
                status = said
            elif pid is None:
                pid = -said
                threading.Thread(target=_pass_on, args=[pid], daemon=True).start()
    if pid is not None and status is None:
        print(f"dqv2: the job's process ({pid}) ended without a word, and so did its server", file=sys.stderr)
        return 1 << 8
    return status


def _number(link: socket.socket) -> int | None:
    """What is said next, or None where nobody is left to say anything."""
    with suppress(OSError):  # who was to say it was killed with something unread
        said = link.recv(NUMBER.size, socket.MSG_WAITALL)
        if len(said) == NUMBER.size:
            return int(NUMBER.unpack(said)[0])
    return None


def tell(link: socket.socket, number: int) -> None:
    """Say a number to a job's stand-in, if it is still there."""
    with suppress(OSError):
        link.sendall(NUMBER.pack(number))


def _pass_on(pid: int) -> None:
    """In a thread: a handler would run too late for a signal that comes just before the main thread waits."""
    while True:
        number = signal.sigwait(PASSED_ON)
        with suppress(ProcessLookupError):  # it ended meanwhile
            if number == signal.SIGTSTP:
                # A job is a session of its own, where the kernel drops the terminal's stop signal
                os.killpg(pid, signal.SIGSTOP)
                os.kill(os.getpid(), signal.SIGSTOP)
            elif number == signal.SIGCONT:
                os.killpg(pid, signal.SIGCONT)
            else:
                os.kill(pid, number)
