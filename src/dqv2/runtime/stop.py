"""Stopping on request (SIGTERM from a preempting scheduler, Ctrl-C): first a checkpoint, then the end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """The process was asked to stop. Not an `Exception`, so that no handler of failures catches it."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class _State:
    asked: int | None = None
    deferred = 0


_state = _State()


def _handle(signum: int, frame: FrameType | None) -> None:
    first, _state.asked = _state.asked is None, signum
    if first and not _state.deferred:  # a second signal (from terminal and scheduler, say) interrupts nothing
        raise Stopped(signum)


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within the context SIGTERM and SIGINT raise `Stopped`: at once, or under `deferred` when the code is ready."""
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.asked = None


@contextmanager
def deferred() -> Iterator[None]:
    """Within the context a signal is only recorded: the code checks `asked` where its state is consistent.

    Raises Stopped at the end where a signal came after the last check.
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
