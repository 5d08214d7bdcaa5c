"""torch keeps its number of threads, and how it computes, for each thread: here other threads leave both alone."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock, Thread
from typing import Any

import torch

_ONE_AT_A_TIME = Lock()


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Set torch's number of threads in this thread within the context; None leaves it as it is."""
    before = torch.get_num_threads()
    if count is not None and count != before:
        set_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            set_threads(before)


def set_threads(count: int) -> None:
    """Set torch's number of threads in this thread alone.

    `torch.set_num_threads` also sets what every thread starts with that uses torch later, and that it keeps.
    """
    with _ONE_AT_A_TIME:
        torch.get_num_threads()  # the first look sets what a thread starts with, also where it has been set before
        others = _in_new_thread(torch.get_num_threads)
        torch.set_num_threads(count)
        _in_new_thread(torch.set_num_threads, others)


def _in_new_thread(call: Callable[..., Any], *given: Any) -> Any:
    found = []
    thread = Thread(target=lambda: found.append(call(*given)))
    thread.start()
    thread.join()
    return found[0]


def as_here(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, for other threads, with this thread's gradient mode, inference mode and autocast."""
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    kinds = filter(torch.is_autocast_enabled, ("cpu", "cuda", "xpu", "mps"))
    casts = [(kind, torch.get_autocast_dtype(kind)) for kind in kinds]

    def called(*given: Any) -> Any:
        with ExitStack() as modes:
            modes.enter_context(torch.inference_mode(inference))
            modes.enter_context(torch.set_grad_enabled(grad))
            for kind, dtype in casts:
                modes.enter_context(torch.autocast(kind, dtype))
            return call(*given)

    return called
