"""The server behind `dqv2.runtime.warm`: it imports what jobs need, then forks a child for each.

It never reads a request itself: a child is forked as soon as somebody connects, and reads it. So nobody who is slow, or
sends nonsense, keeps another job waiting. It has one thread and starts no CUDA: neither survives a fork.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dqv2.runtime import warm_child
from dqv2.runtime.warm import PASSED_ON, tell

MADV_COLLAPSE, HUGE = 25, 2 << 20  # of the kernel's mman-common.h, since Linux 6.1; bytes of a huge page
JOBS_THAT_PAY = 64  # from so many on, a run is long enough for what `use_huge_pages` costs
LIFELINE = 0  # standard input, whose other end only Snakemake has


def main(about: dict[str, Any]) -> None:
    """Import, serve, and end with Snakemake; `about` is what `warm.start` says."""
    gc.disable()  # nothing of an import is garbage worth looking for
    # For what an import leaves there until the end of its process, as matplotlib does where HOME cannot be written
    tempfile.tempdir = about["folder"]
    preload(about["preload"])
    server = Server(about)
    gc.collect()
    gc.freeze()  # so that no child's garbage collection touches, and thereby copies, what it shares
    server.serve()
    shutil.rmtree(about["folder"], ignore_errors=True)
    os._exit(0)  # there is nothing to tidy up, and a heavy interpreter takes its time over it


def preload(modules: list[str]) -> None:
    """Import each; one that is missing or broken is a job's affair, and said here."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            say(f"could not import {name} beforehand ({type(error).__name__}: {error})")
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        say(f"{threads - 1} threads were started by an import and will be missing in the jobs")


def use_huge_pages() -> None:
    """Move this process's own memory into huge pages: a fork, and the end of its child, then handle 500 times fewer.

    With what the pipeline imports (440 MB) it costs a second of CPU, once, and saves some 15 ms of each job's 30.
    An older kernel refuses, and nothing changes.
    """
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        place, rights, _, _, inode, *name = line.split(maxsplit=5)
        start, end = (int(address, 16) for address in place.split("-"))
        start, end = -(-start // HUGE) * HUGE, end // HUGE * HUGE
        if rights == "rw-p" and inode == "0" and name in ([], ["[heap]"]) and start < end:
            libc.madvise(start, end - start, MADV_COLLAPSE)


def say(sentence: str) -> None:
    """One line on Snakemake's terminal."""
    print(f"dqv2 warm start: {sentence}", file=sys.stderr, flush=True)


class Server:
    """The listening socket and the jobs that run."""

    def __init__(self, about: dict[str, Any]):
        self.target, self.grace = about["target"], about["grace"]
        self.pools = warm_child.prepare()
        self.jobs: dict[int, socket.socket] = {}
        self.begun = 0
        self.owned = True  # Snakemake lives
        self.listener = socket.socket(fileno=about["listener"])
        self.listener.set_inheritable(False)
        # The end of a child is written to a pipe, so that it can be waited for together with all else
        self.wake, self.wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self.poll = select.poll()
        for fd in (self.wake, self.listener.fileno(), LIFELINE):
            self.poll.register(fd, select.POLLIN)

    def serve(self) -> None:
        """Until Snakemake is gone, somehow: then jobs are asked to keep what they have reached, and given time to."""
        while self.owned:
            self.wait(None)
        self.poll.unregister(LIFELINE)
        self.poll.unregister(self.listener)
        self.listener.close()
        for pid in self.jobs:
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + self.grace
        while self.jobs and (left := end - time.monotonic()) > 0:
            self.wait(left)
        for pid in self.jobs:
            self.kill(pid)
        while self.jobs:
            self.wait(None)

    def wait(self, seconds: float | None) -> None:
        """Wait for something to happen, and do what is to be done then."""
        for fd, _ in self.poll.poll(None if seconds is None else seconds * 1000):
            if fd == self.wake:
                os.read(self.wake, 4096)
            elif fd == LIFELINE:
                self.owned = False
            elif fd == self.listener.fileno():
                self.accept()
            else:  # a stand-in says nothing more, it is gone: its job dies with it
                self.poll.unregister(fd)
                self.kill(next(pid for pid, link in self.jobs.items() if link.fileno() == fd))
        self.reap()

    def accept(self) -> None:
        """Fork a child for whoever connected."""
        try:
            link, _ = self.listener.accept()
        except OSError:  # no more file descriptors, until a job ends
            return
        # A signal waits, blocked, until a child can heed it: what runs first in one, libraries' hooks, would swallow it
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        try:
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            say(f"could not start a job here ({error}): it starts cold")
            link.close()
            return
        if pid == 0:
            for other in (self.listener, *self.jobs.values()):
                other.close()
            os.close(self.wake)
            os.close(self.wakes)
            warm_child.run(link, self.target, self.pools)  # does not come back
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        tell(link, -pid)
        self.jobs[pid] = link
        self.poll.register(link, select.POLLRDHUP)
        self.begun += 1
        if self.begun == JOBS_THAT_PAY:
            use_huge_pages()

    def reap(self) -> None:
        """Tell each stand-in whose job has ended how it did."""
        for pid, link in list(self.jobs.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                tell(link, status)
                with suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)  # whatever the job left behind may hold it open
                with suppress(KeyError):  # its stand-in was seen to be gone
                    self.poll.unregister(link)
                link.close()
                del self.jobs[pid]

    @staticmethod
    def kill(pid: int) -> None:
        """Kill a job and what it started; one that was just forked has no session of its own yet."""
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
