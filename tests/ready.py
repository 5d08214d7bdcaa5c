"""Snakemake's command line without its start-up: a command is a fork of one process that has imported what it imports.

A command has arguments, a folder, an environment and standard descriptors of its own, and imports the project's library
itself, from its own copy: what it does and says is what `python -m snakemake` does and says, two seconds earlier. The
warm server of its jobs is a fork likewise, seven seconds earlier. What `Project.start` and the clones, the fault
harness and the tests of the warm start run is started as people start it. This file is also what that process runs.
"""

import atexit
import gc
import inspect
import os
import pickle
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from contextlib import suppress
from importlib import import_module

# What a dry run and the jobs import which is not the project's own
PRELOAD = ("snakemake.cli", "snakemake.workflow", "pydantic", "yaml", "numpy", "pandas", "scipy.stats", "torch")
PRELOAD += ("torchvision", "timm", "matplotlib.figure", "seaborn", "PIL.Image", "pyarrow", "safetensors", "requests")
SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # no thread outlives a fork
SERVER = ["-P", "-m", "dqv2.runtime.warm_server"]
LENGTH = struct.Struct("Q")


class Ready:
    """That process, started at the first command; one command at a time."""

    def __init__(self):
        self.link = self.process = None

    def run(self, command, *, cwd, env, timeout=None):
        """What `subprocess.run` gives of the command `python -m snakemake ...`, with its output as text."""
        if not hasattr(os, "pidfd_open"):  # not Linux
            return subprocess.run(command, cwd=cwd, env=env, timeout=timeout, capture_output=True, text=True)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                if self.link is None:
                    self._start()
                self.link.settimeout(timeout)
                request = pickle.dumps((command[3:], str(cwd), env))
                socket.send_fds(self.link, [LENGTH.pack(len(request))], [out.fileno(), err.fileno()])
                self.link.sendall(request)
                status = exactly(self.link, LENGTH.size)
            except BaseException:  # the time is up, or the test was stopped: nothing may go on in its folder
                self.close()
                raise
            texts = [file.seek(0) or file.read().decode() for file in (out, err)]
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(LENGTH.unpack(status)[0]), *texts)

    def _start(self):
        self.link, theirs = socket.socketpair()
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env |= SINGLE | {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
        with theirs:
            self.process = subprocess.Popen([sys.executable, "-P", __file__], stdin=theirs, cwd="/", env=env)

    def close(self):
        """End it, and what it runs."""
        if self.link is not None:
            self.link.close()
            self.process.wait()
        self.link = self.process = None


READY = Ready()


def exactly(link, size):
    """So many bytes that come over a socket."""
    found = b""
    while len(found) < size:
        more = link.recv(size - len(found))
        if not more:
            raise ConnectionError("the other end is gone")
        found += more
    return found


# -- in that process --------------------------------------------------------------------------------------------------


def serve(link):
    """Fork for each command and say how it ended, until nobody asks any more."""
    for name in PRELOAD:
        import_module(name)
    assert "dqv2" not in sys.modules
    assert threading.active_count() == 1
    atexit._clear()  # what imports registered for the end is not a command's
    weakref.finalize._registry.clear()
    weakref.finalize._registered_with_atexit = False
    gc.freeze()
    while True:
        head, descriptors, _, _ = socket.recv_fds(link, LENGTH.size, 2)
        if len(head) < LENGTH.size:
            return
        request = pickle.loads(exactly(link, LENGTH.unpack(head)[0]))
        command = os.fork()
        if not command:
            link.close()
            end(lambda descriptors=descriptors, request=request: snakemake(descriptors, *request))
        for descriptor in descriptors:
            os.close(descriptor)
        watched = os.pidfd_open(command)
        ready, _, _ = select.select([link, watched], [], [])
        if watched not in ready:  # whoever asked is gone
            os.kill(command, signal.SIGKILL)
            return
        os.close(watched)
        with suppress(OSError):
            link.sendall(LENGTH.pack(os.waitpid(command, 0)[1]))


def snakemake(descriptors, arguments, cwd, env):
    """In a fork: be the command."""
    null = os.open(os.devnull, os.O_RDONLY)
    for place, descriptor in enumerate((null, *descriptors)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    tempfile.tempdir = None
    sys.argv[:] = ["snakemake", *arguments]
    sys.path[:0] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    subprocess.Popen = Popen
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)


class Popen(subprocess.Popen):
    """A started process; but the warm server is a fork."""

    PLACES = (*inspect.signature(subprocess.Popen._execute_child).parameters,)[2:]

    def _execute_child(self, args, *rest):
        if args[1:4] != SERVER:
            super()._execute_child(args, *rest)
            return
        how = dict(zip(self.PLACES, rest, strict=True))
        self.pid = os.fork()
        self._child_created = True
        if not self.pid:
            end(lambda: self._server(args[4:], how))
        os.close(how["p2cread"])

    @staticmethod
    def _server(arguments, how):
        os.setsid()
        os.dup2(how["p2cread"], 0)
        os.dup2(2, 1)
        low = 3
        for kept in (*sorted(how["pass_fds"]), os.sysconf("SC_OPEN_MAX")):
            os.closerange(low, kept)
            low = kept + 1
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(how["env"])
        sys.argv[:] = ["warm_server", *arguments]
        runpy.run_module(SERVER[2], run_name="__main__")


def end(work):
    """In a fork: do it and end as Python ends, but for taking all modules apart."""
    code = 0
    try:
        work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    for step in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):
        step()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    serve(socket.socket(fileno=os.dup(0)))
