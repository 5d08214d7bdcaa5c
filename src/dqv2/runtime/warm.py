"""The warm start of local jobs: one process has the heavy modules in it, and each job is a forked child of it.

Snakemake's own process calls `start` before its first job. A job's script calls `run`, which hands the job over and
stays as its stand-in: it passes signals on and ends as the job ended. The server is `dqv2.runtime.warm_server`.
Only what Snakemake's own preamble of a script imports anyway is imported here: every job would pay for more.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

VARIABLE = "DQV2_WARM"
PREFIX = "dqv2-warm-"
SOCKET, IDENTITY, TOLD = "socket", "identity", "told"

# What goes over the socket. A request: its head, with the three file descriptors, and a pickle. Back: small reports.
HEAD = struct.Struct("!4sI")
MAGIC = b"dqv2"
REPORT = struct.Struct("!cq")
PID, CODE, STATUS = (
    b"p",
    b"c",
    b"s",
)  # it has begun, as process ...; its own exit code; its status, as the server saw it
PEER = struct.Struct("3i")  # struct ucred of the kernel: process, user, group

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
SECONDS_FOR_THE_SERVER = 5  # between a job's own last word and the server's, where the server lives


class Server:
    """The running server; or, where there is none to be had, something that does nothing."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._before: str | None = None
        self._patience = 0.0

    @property
    def pid(self) -> int | None:
        """The server's process, or None where there is none."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """End the server and what it still runs (which is asked first), and leave nothing of it behind."""
        if self._lifeline is None or os.getpid() != self._owner or self._process is None or self.folder is None:
            return
        import shutil
        import subprocess

        self._drop_lifeline()
        if os.environ.get(VARIABLE) == self.folder:
            del os.environ[VARIABLE]
            if self._before is not None:
                os.environ[VARIABLE] = self._before
        try:
            self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)  # the server did it, unless it was killed

    def _drop_lifeline(self) -> None:
        """Also in a forked copy of this process: only the owner itself may keep the server alive."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def start(preload: Sequence[str], target: str, *, grace: float = 30.0) -> Server:
    """Start the server of this process's jobs and name it to them, in the environment.

    It ends with this process, however this process ends: it holds the read end of a pipe whose write end only this
    process has.

    Args:
        preload: modules that the server imports before the first job.
        target: "module:function", called in a child with each job's request; what it returns is the exit code.
        grace: seconds that jobs still running at the end have to stop by themselves.
    """
    server = Server()
    if sys.platform != "linux" or os.environ.get(VARIABLE) == "0":
        return server
    import tempfile

    root = tempfile.gettempdir()
    try:
        _sweep(root)
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=root)
        _launch(server, folder, preload, target, grace)
    except OSError as error:
        print(f"dqv2: no warm start, jobs start cold ({error})", file=sys.stderr)
    return server


def _launch(server: Server, folder: str, preload: Sequence[str], target: str, grace: float) -> None:
    """Listen here, so that no job can come too early, and leave the socket to a process of its own."""
    import atexit
    import fcntl
    import json
    import subprocess

    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    reads, writes = os.pipe()
    try:
        # Kept for as long as the server lives: neither `_sweep` nor systemd's cleaning of /tmp takes the folder then
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(folder, IDENTITY).write_text(_identity())
        listener.bind(f"/proc/self/fd/{lock}/{SOCKET}")
        listener.listen(4096)
        about = {"listener": listener.fileno(), "lifeline": reads, "lock": lock, "folder": folder}
        about |= {"preload": list(preload), "target": target, "grace": grace}
        library = str(Path(__file__).parents[2])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([library, *_set("PYTHONPATH")])}
        # A pool of threads would not survive the fork; each child sets up its own
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # nor would the thread of pyarrow's allocator
        server._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dqv2.runtime.warm_server", json.dumps(about)],
            pass_fds=(listener.fileno(), reads, lock),
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a module says while it is imported is no job's output
            env=environment,
            start_new_session=True,  # Ctrl-C is for the jobs
        )
    except OSError:
        os.close(writes)
        raise
    finally:
        os.close(reads)
        os.close(lock)
        listener.close()
    server.folder, server._lifeline, server._patience = folder, writes, grace + 5
    server._before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = folder
    os.register_at_fork(after_in_child=server._drop_lifeline)
    atexit.register(server.stop)


def _set(variable: str) -> list[str]:
    return [os.environ[variable]] if os.environ.get(variable) else []


def _sweep(root: str) -> None:
    """Remove folders whose server is gone and whose Snakemake did not live to do it."""
    import fcntl
    import shutil
    import time

    for folder in Path(root).glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # somebody else's, or gone meanwhile
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            about = os.fstat(lock)
            begun = (folder / IDENTITY).exists() or time.time() - about.st_mtime > 3600
            if about.st_uid == os.getuid() and begun:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it is in use
            continue
        finally:
            os.close(lock)


def _identity() -> str:
    """What a process must have in common with the server to hand it a job: machine, mounts, interpreter, library."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    spaces = [str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("mnt", "pid")]
    return "\n".join([boot, *spaces, os.path.realpath(sys.executable), sys.prefix, os.path.realpath(__file__)])


def run(request: dict[str, Any]) -> int | None:
    """Hand a job over to the server and stay until it has ended, passing on signals that come here.

    The job has this process's working folder, environment, umask, arguments, limits, and file descriptors 0, 1 and 2;
    it is killed, with all that it started, when this process ends. Where the job was killed by a signal, so is this
    process: who waits for it sees the same as if the job had been run here.

    Args:
        request: for the target function: a dict of builtins. `request["threads"]`, if any, limits thread pools.

    Returns:
        The job's exit code; or None where there is no server to be had and nothing was run: run it here.
    """
    folder = os.environ.get(VARIABLE, "0")
    if folder in ("", "0") or not _is_for_us(folder):
        return None
    sys.stdout.flush()
    sys.stderr.flush()
    ignored = [number for number in PASSED_ON if signal.getsignal(number) == signal.SIG_IGN]
    with _signals(ignored) as (wake, early):
        heard = _hand_over(folder, _envelope(request, ignored), wake, early)
    if PID not in heard:
        _tell_once(folder)
        for number in early:
            os.kill(os.getpid(), number)
        return None
    if STATUS in heard:
        code = os.waitstatus_to_exitcode(heard[STATUS])
        return code if code >= 0 else _end_like(-code)
    if CODE in heard:
        return heard[CODE]
    print(f"dqv2: the job's process ({heard[PID]}) ended without a word, and so did its server", file=sys.stderr)
    return 1


def _is_for_us(folder: str) -> bool:
    try:
        return Path(folder, IDENTITY).read_text() == _identity()
    except (OSError, ValueError):  # another machine's, or of a run that is over
        return False


def _envelope(request: dict[str, Any], ignored: list[signal.Signals]) -> bytes:
    import resource

    mask = os.umask(0o077)
    os.umask(mask)
    limits = {n: resource.getrlimit(getattr(resource, n))[0] for n in dir(resource) if n.startswith("RLIMIT_")}
    job = {"request": request, "argv": sys.argv, "cwd": str(Path.cwd()), "environ": dict(os.environ), "umask": mask}
    return pickle.dumps(job | {"limits": limits, "ignored": [int(number) for number in ignored]})


@contextmanager
def _signals(ignored: list[signal.Signals]) -> Iterator[tuple[int, list[int]]]:
    """Within, signals to pass on are only written to a pipe, which is waited on together with the socket.

    A handler alone would leave a gap: a signal that comes just before the wait would be noticed after it.
    """
    reads, writes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    pipe_before = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    before = {n: signal.signal(n, lambda number, frame: None) for n in PASSED_ON if n not in ignored}
    try:
        yield reads, []
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(pipe_before)
        os.close(reads)
        os.close(writes)


def _hand_over(folder: str, job: bytes, wake: int, early: list[int]) -> dict[bytes, int]:
    """Send the job, and hear until its end what is reported of it; nothing where it was not taken."""
    heard: dict[bytes, int] = {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        try:
            place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                link.connect(f"/proc/self/fd/{place}/{SOCKET}")  # a path of its own may be too long for a socket
            finally:
                os.close(place)
            if peer_user(link) != os.getuid():
                return heard
            with _standard_descriptors() as descriptors:
                socket.send_fds(link, [HEAD.pack(MAGIC, len(job))], descriptors)
            link.sendall(job)
        except OSError:
            return heard
        _listen(link, wake, early, heard)
    return heard


def _listen(link: socket.socket, wake: int, early: list[int], heard: dict[bytes, int]) -> None:
    poll = select.poll()
    poll.register(link, select.POLLIN)
    poll.register(wake, select.POLLIN)
    rest = b""
    while STATUS not in heard:
        # A job that has ended while nothing comes of the server: something of the job's may hold the socket open
        ready = [fd for fd, _ in poll.poll(SECONDS_FOR_THE_SERVER * 1000 if CODE in heard else None)]
        if wake in ready:
            for number in os.read(wake, 4096):
                if PID in heard:
                    _pass_on(number, heard[PID])
                else:
                    early.append(number)
        if link.fileno() in ready:
            try:
                news = link.recv(4096)
            except OSError:  # the server was killed with something unread
                news = b""
            if not news:
                return
            whole = len(rest + news) // REPORT.size * REPORT.size
            reports, rest = (rest + news)[:whole], (rest + news)[whole:]
            heard.update(REPORT.iter_unpack(reports))
            while PID in heard and early:
                _pass_on(early.pop(0), heard[PID])
        if not ready:
            return


def _pass_on(number: int, pid: int) -> None:
    with suppress(ProcessLookupError):  # it ended meanwhile
        if number == signal.SIGTSTP:
            # A job is a session of its own, where the kernel drops the terminal's stop signal
            os.killpg(pid, signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGSTOP)
        elif number == signal.SIGCONT:
            os.killpg(pid, signal.SIGCONT)
        else:
            os.kill(pid, number)


def _end_like(number: int) -> int:
    """End this process by the signal that ended the job; without a second core file."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    return 128 + number  # the first process of a container, say: no signal ends it


@contextmanager
def _standard_descriptors() -> Iterator[list[int]]:
    """0, 1 and 2, with nothing (/dev/null) for one that is closed here."""
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        yield [number if _is_open(number) else nothing for number in range(3)]
    finally:
        os.close(nothing)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def peer_user(link: socket.socket) -> int:
    """Who is at the other end, by the kernel's word."""
    return PEER.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))[1]


def _tell_once(folder: str) -> None:
    """A server that is gone is no reason to fail; that jobs are slower from here on is said by one of them."""
    try:
        os.close(os.open(f"{folder}/{TOLD}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except OSError:  # said before, or the run is over
        return
    print(
        "dqv2: the process that starts jobs warm does not answer any more: jobs start cold, some seconds later each",
        file=sys.stderr,
    )
