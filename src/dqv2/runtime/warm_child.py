"""A job in a forked child of the warm server: it becomes the process that its client would have been."""

from __future__ import annotations

import _thread
import atexit
import gc
import importlib.util
import io
import logging
import os
import pickle
import resource
import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dqv2.runtime.warm import CODE, HEAD, MAGIC, PID, REPORT

FILES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
FLUSH_FAILED = 120  # Python's own exit code for it
_pools: Any = None  # the thread pools of the libraries that the server has loaded, looked for once


def prepare() -> None:
    """In the server, after its imports: what each child would else do anew."""
    global _pools
    if importlib.util.find_spec("threadpoolctl"):
        _pools = importlib.import_module("threadpoolctl").ThreadpoolController()
    # What imports registered for the end of a process is not a job's: torch would take its registry of operators
    # apart, which costs more than the fork. Kept is what acts for things that a job makes
    atexit._clear()
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False
    if weakref.finalize._registered_with_atexit:  # type: ignore[attr-defined]
        atexit.register(weakref.finalize._exitfunc)  # type: ignore[attr-defined]
    atexit.register(logging.shutdown)
    if "multiprocessing.util" in sys.modules:
        atexit.register(sys.modules["multiprocessing.util"]._exit_function)


def run(link: socket.socket, target: str, handled: Iterable[int]) -> None:
    """Read a job from `link`, do it, report its exit code and end this process. Never returns.

    Until it is reported as begun (its process) nothing of it has been done, and its client can still do it.
    """
    try:
        os.setsid()
        for number in handled:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        job = _receive(link)
        if job is None:
            os._exit(1)
        _become(job)
        me = os.getpid()
        os.register_at_fork(after_in_child=link.close)  # what the job forks must not keep its client waiting
        _thread.start_new_thread(_die_with_client, (link, me))
        link.sendall(REPORT.pack(PID, me))
    except OSError:  # the client is gone, or has what a job cannot have here, say a working folder that is gone
        os._exit(1)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    code, by = _do(target, job["request"])
    code = _finish(code)
    if os.getpid() == me:  # and no copy that the job forked and let come here
        with suppress(OSError):
            link.sendall(REPORT.pack(CODE, code))
    if by is not None:  # who waits for a Python that was interrupted sees the signal
        signal.signal(by, signal.SIG_DFL)
        os.kill(os.getpid(), by)
    os._exit(code)


def _receive(link: socket.socket) -> dict[str, Any] | None:
    """The job, its three file descriptors in place; None where what comes is no job."""
    head, descriptors, _, _ = socket.recv_fds(link, HEAD.size, 3)
    head += _read(link, HEAD.size - len(head))
    if len(head) < HEAD.size or len(descriptors) != 3:
        return None
    magic, size = HEAD.unpack(head)
    if magic != MAGIC:
        return None
    body = _read(link, size)
    if len(body) < size:
        return None
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    return pickle.loads(body)


def _read(link: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer where the other end is gone."""
    parts = []
    while size and (part := link.recv(min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _become(job: dict[str, Any]) -> None:
    """Take over what a process has from who starts it."""
    os.chdir(job["cwd"])
    os.umask(job["umask"])
    sys.argv[:] = job["argv"]
    for number in job["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    for name, soft in job["limits"].items():
        number = getattr(resource, name)
        now, hard = resource.getrlimit(number)
        if soft != now:
            resource.setrlimit(number, (_lower(soft, hard), hard))
    _take_environment(job["environ"])
    for fd, stream in ((1, sys.stdout), (2, sys.stderr)):
        by_line = fd == 2 or os.isatty(fd) or bool(os.environ.get("PYTHONUNBUFFERED"))
        stream.reconfigure(line_buffering=by_line)  # type: ignore[union-attr]
    gc.enable()
    # The global generators of a process of its own start anywhere. `random` sees to that itself when it is forked
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()
    _limit_threads(job["request"].get("threads") or _threads_of_a_cold_job())


def _lower(soft: int, hard: int) -> int:
    endless = resource.RLIM_INFINITY
    return hard if soft == endless or (hard != endless and soft > hard) else soft


def _take_environment(wanted: dict[str, str]) -> None:
    before = dict(os.environ)
    for name in before.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if before.get(name) != value:
            os.environ[name] = value
    if before.get("TZ") != wanted.get("TZ"):
        time.tzset()
    if "tempfile" in sys.modules:
        sys.modules["tempfile"].tempdir = None  # asked again when needed: Snakemake gives a job a TMPDIR


def _threads_of_a_cold_job() -> int:
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else len(os.sched_getaffinity(0))


def _limit_threads(count: int) -> None:
    """The pools that the server kept at one thread: as many threads as the job has cores."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    if _pools is not None:
        _pools.limit(limits=count)


def _die_with_client(link: socket.socket, me: int) -> None:
    """In a thread: a client says nothing more, so that whatever can be read is its end."""
    with suppress(OSError):
        link.recv(1)
    kill_tree(me)


def kill_tree(root: int) -> None:
    """Kill a job: its session, and what it started in other sessions. The job itself last, as it may be ourselves."""
    parents, sessions = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            _, parent, _, session = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:4]
            parents[int(entry.name)], sessions[int(entry.name)] = int(parent), int(session)
    doomed = {root} | {pid for pid, session in sessions.items() if session == root}
    while more := {pid for pid, parent in parents.items() if parent in doomed} - doomed:
        doomed |= more
    for pid in doomed - {root}:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    try:
        os.killpg(root, signal.SIGKILL)  # with what it started while we looked
    except ProcessLookupError:  # just forked, no group of its own yet
        os.kill(root, signal.SIGKILL)


def _do(target: str, request: dict[str, Any]) -> tuple[int, signal.Signals | None]:
    """The exit code that Python itself would end with, and the signal by which it would end itself."""
    try:
        module, _, name = target.partition(":")
        return _code_of(getattr(importlib.import_module(module), name)(request)), None
    except SystemExit as end:
        return _code_of(end.code), None
    except BaseException as error:
        if error.__traceback__ is not None:  # not our own frame
            error = error.with_traceback(error.__traceback__.tb_next)
        sys.excepthook(type(error), error, error.__traceback__)
        return (130, signal.SIGINT) if isinstance(error, KeyboardInterrupt) else (1, None)


def _code_of(result: object) -> int:
    """As `sys.exit` understands it."""
    if result is None:
        return 0
    if isinstance(result, int):
        return result & 0xFF
    print(result, file=sys.stderr)
    return 1


def _finish(code: int) -> int:
    """What Python does at its end, in its order: threads, what was registered, what is still in buffers."""
    steps: list[Callable[[], object]] = [threading._shutdown, atexit._run_exitfuncs, _flush_files]  # type: ignore
    for step in (*steps, sys.stderr.flush):
        try:
            step()
        except BaseException:
            sys.excepthook(*sys.exc_info())
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        print(f"Exception ignored on flushing sys.stdout: {error!r}", file=sys.stderr)
        return FLUSH_FAILED
    return code


def _flush_files() -> None:
    """Files that the job left open: at the end of an interpreter they are closed, which `os._exit` does not do."""
    for thing in gc.get_objects():
        if type(thing) in FILES and not thing.closed and thing is not sys.stdout:
            with suppress(OSError, ValueError):  # not open for writing
                thing.flush()
