"""The server behind `dqv2.runtime.warm`: it imports what jobs need, then forks a child for each.

It never reads a request itself: a child is forked as soon as somebody connects, and reads the rest. So nobody who is
slow, or sends nonsense, keeps another job waiting. It has one thread and starts no CUDA: neither survives a fork.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dqv2.runtime import warm_child
from dqv2.runtime.warm import REPORT, STATUS, peer_user

MADV_COLLAPSE, HUGE = 25, 2 << 20  # of the kernel's mman-common.h, since Linux 6.1; bytes of a huge page
JOBS_THAT_PAY = 64  # from so many on, a run is long enough for what `use_huge_pages` costs
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
HANDLED = (*ENDS, signal.SIGCHLD)


def main(about: dict[str, Any]) -> None:
    """Import, serve, and end with the owner; `about` is what `warm.start` says."""
    server = Server(about)
    gc.disable()  # nothing of an import is garbage worth looking for
    preload(about["preload"])
    warm_child.prepare()
    gc.collect()
    gc.freeze()  # so that no child's garbage collection touches, and thereby copies, what it shares
    server.serve()
    sys.stderr.flush()
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
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        say("an import started CUDA, which no job can use after the fork: jobs on a GPU will fail")


def use_huge_pages() -> None:
    """Move this process's own memory into huge pages: a fork, and the end of its child, then handle 500 times fewer.

    With what the pipeline imports (440 MB) it costs a second of CPU, once, and saves some 15 ms of each job's 30.
    An older kernel refuses, and nothing changes.
    """
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, rights, _, _, inode, *name = line.split(maxsplit=5)
        start, end = (int(address, 16) for address in place.split("-"))
        start, end = -(-start // HUGE) * HUGE, end // HUGE * HUGE
        if rights == "rw-p" and inode == "0" and name in ([], ["[heap]"]) and start < end:
            libc.madvise(start, end - start, MADV_COLLAPSE)


def say(sentence: str) -> None:
    """One line on Snakemake's terminal."""
    print(f"dqv2 warm start: {sentence}", file=sys.stderr, flush=True)


class Server:
    """The listening socket, the jobs that run, and when to stop."""

    def __init__(self, about: dict[str, Any]):
        self.folder, self.target, self.grace = about["folder"], about["target"], about["grace"]
        self.lifeline, self.lock = about["lifeline"], about["lock"]
        self.listener: socket.socket | None = socket.socket(fileno=about["listener"])
        self.listener.setblocking(False)
        self.jobs: dict[int, socket.socket] = {}
        self.begun = 0
        self.orphaned = False  # the owner is gone
        self.deadline: float | None = None
        self.wake, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, lambda number, frame: None)
        self.own = [self.wake, wakes, self.lifeline, self.lock]
        for fd in (self.lifeline, self.lock, self.listener.fileno()):
            os.set_inheritable(fd, False)
        self.poll = select.poll()
        for fd in (self.wake, self.lifeline, self.listener.fileno()):
            self.poll.register(fd, select.POLLIN)

    def serve(self) -> None:
        """Until the owner is gone, or somebody ends this process, and no job runs any more."""
        while self.listener or self.jobs:
            wait = None if self.deadline is None else max(0.0, self.deadline - time.monotonic()) * 1000
            for fd, _ in self.poll.poll(wait):
                if fd == self.wake:
                    if any(number in ENDS for number in os.read(self.wake, 4096)):
                        self.close_door()
                elif fd == self.lifeline:
                    self.owner_gone()
                elif self.listener and fd == self.listener.fileno():
                    self.accept(self.listener)
                else:
                    self.client_gone(fd)
            self.reap()
            if self.deadline is not None and time.monotonic() >= self.deadline:
                for pid in self.jobs:
                    warm_child.kill_tree(pid)
                self.deadline = None
        if self.orphaned:
            shutil.rmtree(self.folder, ignore_errors=True)

    def accept(self, listener: socket.socket) -> None:
        """Fork a child for whoever connected, if it is a process of the same user."""
        try:
            link, _ = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                time.sleep(0.05)  # until a job ends
            return
        if peer_user(link) != os.getuid():
            link.close()
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # none may be lost on a child that has our handlers still
        try:
            pid = os.fork()
        except OSError as error:
            say(f"could not start a job here ({error}): it starts cold")
            link.close()
        else:
            if pid == 0:
                self.forget_all_but(link)
                warm_child.run(link, self.target, HANDLED)  # does not come back
            self.jobs[pid] = link
            self.begun += 1
            self.poll.register(link, select.POLLRDHUP)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        if self.begun == JOBS_THAT_PAY:
            use_huge_pages()

    def forget_all_but(self, link: socket.socket) -> None:
        """In a child: other jobs' sockets above all, which would not be seen to end while it holds them."""
        signal.set_wakeup_fd(-1)
        if self.listener:
            self.listener.close()
        for other in self.jobs.values():
            if other is not link:
                other.close()
        for fd in self.own:
            os.close(fd)

    def reap(self) -> None:
        """Report each child that has ended to its client."""
        while self.jobs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            link = self.jobs.pop(pid, None)
            if link is None:  # started by an import, and none of our business
                continue
            with suppress(KeyError):  # its client was seen to be gone
                self.poll.unregister(link)
            with suppress(OSError):  # so it is now
                link.sendall(REPORT.pack(STATUS, status))
            link.close()

    def client_gone(self, fd: int) -> None:
        """A job dies with its client. It looks after that itself as well, unless it is stopped, or busy in C."""
        pid = next((pid for pid, link in self.jobs.items() if link.fileno() == fd), None)
        if pid is not None:  # else the listening socket's, closed a moment ago
            self.poll.unregister(fd)
            warm_child.kill_tree(pid)

    def close_door(self) -> None:
        """Take no more jobs; those that run go on."""
        if self.listener:
            self.poll.unregister(self.listener)
            self.listener.close()
            self.listener = None

    def owner_gone(self) -> None:
        """Snakemake has ended, somehow: ask the jobs to keep what they have reached, and give them time to."""
        self.close_door()
        self.poll.unregister(self.lifeline)
        self.orphaned = True
        self.deadline = time.monotonic() + self.grace
        for pid in self.jobs:
            os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
