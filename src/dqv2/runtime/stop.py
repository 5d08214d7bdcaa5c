"""Asked to stop (SIGTERM of a scheduler that preempts, Ctrl-C): a checkpoint first, then the end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """The process was asked to stop. No `Exception`, so that nothing takes it for a failure that it can handle."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class _State:
    asked: int | None = None
    deferred = 0


_state = _State()


def _handle(signum: int, frame: FrameType | None) -> None:
    first, _state.asked = _state.asked is None, signum
    if first and not _state.deferred:  # a second signal, as of a terminal and a scheduler, cuts off nothing
        raise Stopped(signum)


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within, SIGTERM and SIGINT raise `Stopped`: at once, or where `deferred` says when the code asks for it."""
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.asked = None


@contextmanager
def deferred() -> Iterator[None]:
    """Within, a signal is only noted: the code looks at `asked` where it can leave whole state behind.

    Raises Stopped on leaving, where a signal came after the last look.
    """
    _state.deferred += 1
    try:
        yield
    finally:
        _state.deferred -= 1
    if _state.asked and not _state.deferred:
        raise Stopped(_state.asked)


def asked() -> int | None:
    """The signal that asked this process to stop, or None."""
    return _state.asked
