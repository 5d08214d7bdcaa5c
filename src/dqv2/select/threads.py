"""How torch computes, which it keeps for each thread: with how many threads, and in which modes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Set torch's number of threads within the context; None leaves it as it is."""
    before = torch.get_num_threads()
    if count is not None and count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


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
