"""A job in a forked child of the warm server: it becomes the process that its stand-in would have been."""

from __future__ import annotations

import atexit
import gc
import multiprocessing.util
import os
import pickle
import pkgutil
import signal
import socket
import sys
import tempfile
import threading
import time
import weakref
from typing import Any, NoReturn

from threadpoolctl import ThreadpoolController

from dqv2.runtime.warm import PASSED_ON, tell

FAILED_AT_THE_END = 120  # Python's own exit code for output that could not be written


def prepare() -> ThreadpoolController:
    """In the server, after its imports, what each child would else do anew: find the loaded libraries' thread pools.

    What imports registered for the end of a process is not a job's and is dropped: torch would take its registry of
    operators apart, which costs more than the fork. Kept is what acts for things that a job makes.
    """
    atexit._clear()
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]  # a job's first does it anew
    atexit.register(multiprocessing.util._exit_function)  # type: ignore[attr-defined]
    return ThreadpoolController()


def run(link: socket.socket, target: str, pools: ThreadpoolController) -> NoReturn:
    """Do the job that comes over `link`, and end this process as a Python of its own would end.

    Only without what takes long in a heavy interpreter: taking every module apart.
    """
    me, code, interrupted = os.getpid(), 1, False
    tell(link, -me)
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        request = _become(link, pools)
        sys.exit(pkgutil.resolve_name(target)(request))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        interrupted = isinstance(error, KeyboardInterrupt)
    for step in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore
        try:
            step()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = FAILED_AT_THE_END
    if interrupted:  # who waits for a Python that was interrupted sees the signal
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(me, signal.SIGINT)
    if os.getpid() == me:  # and no copy that the job forked and let come here
        tell(link, (code & 0xFF) << 8)
    os._exit(code & 0xFF)


def _become(link: socket.socket, pools: ThreadpoolController) -> dict[str, Any]:
    """Read a job and take over what its stand-in has; the job's request."""
    _, descriptors, _, _ = socket.recv_fds(link, 1, 3)
    job = pickle.load(link.makefile("rb"))
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.chdir(job["cwd"])
    sys.argv[:] = job["argv"]
    for name in os.environ.keys() - job["environ"].keys():
        del os.environ[name]
    os.environ.update(job["environ"])
    time.tzset()
    tempfile.tempdir = None  # asked again when needed: Snakemake gives a job a TMPDIR
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    gc.enable()
    # The global generators of a process of its own start anywhere. `random` sees to that itself when it is forked
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()
    if threads := job["request"].get("threads"):
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        pools.limit(limits=threads)
    return job["request"]
