"""What callers hand to the library's functions: taken as it comes where that is clear, else refused by its name."""

import numbers
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LARGEST = np.uint64(np.iinfo(np.int64).max)


def as_tensor(values: Any) -> Any:
    """Labels, bins, ranks or scores: a list or a numpy array of numbers as int64, float64 or bool in new memory; a
    tensor, and anything else, as it is."""
    if isinstance(values, list | tuple | range):
        try:
            values = np.array(values)
        except (ValueError, TypeError, RuntimeError):  # rows of other lengths, tensors on a device
            return values
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        return values
    if values.dtype == np.uint64 and bool((values > _LARGEST).any()):  # they would become negative
        return values
    return torch.from_numpy(values.astype({"b": np.bool_, "f": np.float64}.get(values.dtype.kind, np.int64)))


def kind_of(values: Any) -> str:
    """What it is, for messages."""
    if isinstance(values, Tensor | np.ndarray):
        return f"{values.dtype} of shape {list(values.shape)}"
    return type(values).__name__


def check_tensors(**named: Any) -> None:
    """Raise TypeError unless each is a torch tensor."""
    for name, values in named.items():
        if not isinstance(values, Tensor):
            raise TypeError(f"{name} must be a torch tensor, got {type(values).__name__}")


def check_positive(value: int, name: str) -> None:
    """Raise ValueError unless it is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def check_vector(values: Tensor, name: str, *, integer: bool = True) -> int:
    """Number of entries; raises ValueError unless `values` is [N] with N at least 1, and (if `integer`) of integers."""
    if not isinstance(values, Tensor) or values.dim() != 1 or len(values) == 0 or values.is_complex():
        raise ValueError(f"{name} must be real numbers in one dimension, at least one, got {kind_of(values)}")
    if integer and (values.is_floating_point() or values.dtype == torch.bool):
        raise ValueError(f"{name} must hold integers, got {values.dtype}")
    return len(values)


def device_of_draws(generator: torch.Generator) -> torch.device:
    """Where a generator draws; TypeError where it is none of torch's."""
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator, such as torch.Generator().manual_seed(0), got "
            f"{type(generator).__name__}"
        )
    return generator.device


def random_order(n: int, generator: torch.Generator) -> Tensor:
    """The numbers 0 to n - 1 in an order drawn at random: int64[n], on the generator's device."""
    return torch.randperm(n, generator=generator, device=device_of_draws(generator))
