"""Checks and conversions of the arguments of public functions; an error names the argument."""

import numbers
from collections.abc import Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LARGEST = np.uint64(np.iinfo(np.int64).max)
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


def as_tensor(values: Any) -> Any:
    """Convert labels, bins, ranks or scores: a list or NumPy array of numbers becomes a new int64, float64 or bool
    tensor, and so does a tensor of uint16, uint32 or uint64, with which torch hardly computes; another tensor, and
    anything else, is returned unchanged."""
    if isinstance(values, Tensor) and values.dtype in _UNSIGNED:
        signed = values.long()
        return values.cpu().numpy() if bool((signed < 0).any()) else signed  # above int64: for callers to refuse
    if isinstance(values, list | tuple | range):
        try:
            values = np.array(values)
        except (ValueError, TypeError, RuntimeError):  # ragged rows, tensors on a device
            return values
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf" or np.ma.is_masked(values):
        return values
    if values.dtype == np.uint64 and bool((values > _LARGEST).any()):  # they would become negative
        return values
    return torch.from_numpy(values.astype({"b": np.bool_, "f": np.float64}.get(values.dtype.kind, np.int64)))


def as_labels(labels: Any, n: int, name: str = "labels") -> Tensor:
    """The class of each of n items, int[n] or bool[n], as `as_tensor` gives it; raises ValueError for anything else."""
    labels = as_tensor(labels)
    whole = isinstance(labels, Tensor) and not labels.is_floating_point() and not labels.is_complex()
    if not whole or tuple(labels.shape) != (n,):
        raise ValueError(
            f"{name} must be integers, a tensor, an array or a list with one label for each of {n} items, got "
            f"{kind_of(labels)}"
        )
    return labels


def as_classes(labels: Any, n: int, name: str = "labels") -> Tensor:
    """The class of each of n items, n at least 1: int64[n]; raises ValueError for anything else, as `as_labels` does,
    and for negative ones, which torch would leave out or refuse."""
    labels = as_labels(labels, n, name).long()
    if (least := int(labels.min())) < 0:
        raise ValueError(f"{name} must count classes from 0, got {least}: leave images without a class out")
    return labels


def kind_of(values: Any) -> str:
    """Dtype and shape of a tensor or array, and whether values are masked, else the type's name; for messages."""
    if isinstance(values, Tensor | np.ndarray):
        masked = f" with {np.ma.count_masked(values)} masked values" if np.ma.is_masked(values) else ""
        return f"{values.dtype} of shape {list(values.shape)}{masked}"
    return type(values).__name__


def check_tensors(**named: Any) -> None:
    """Raise TypeError unless each value is a torch tensor."""
    for name, values in named.items():
        if not isinstance(values, Tensor):
            raise TypeError(f"{name} must be a torch tensor, got {type(values).__name__}")


def check_images(**named: Any) -> None:
    """Raise TypeError unless each value is a torch tensor, ValueError unless it is uint8[N, 3, H, W]."""
    check_tensors(**named)
    for name, images in named.items():
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f"{name} must be uint8[N, 3, H, W], got {kind_of(images)}")


def check_masks(**named: Any) -> None:
    """Raise TypeError unless each value is a torch tensor, ValueError unless it is bool[N, s, s] with s at least 1."""
    check_tensors(**named)
    for name, masks in named.items():
        if masks.dtype != torch.bool or masks.dim() != 3 or not masks.shape[1] == masks.shape[2] > 0:
            raise ValueError(f"{name} must be bool[N, s, s] with s at least 1, got {kind_of(masks)}")


def check_same_number(**named: Sized) -> None:
    """Raise ValueError unless both have the same number of entries, one an image."""
    if len({len(values) for values in named.values()}) > 1:
        counts = " and ".join(f"{len(values)} {name}" for name, values in named.items())
        raise ValueError(f"there are {counts}; both need one an image")


def is_number(value: Any) -> bool:
    """Whether a value is a real number; True and False are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number by its type; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_positive(value: int, name: str) -> None:
    """Raise ValueError unless `value` is an integer of at least 1."""
    if not is_whole(value) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def check_limit(value: int, name: str) -> None:
    """Raise ValueError unless `value` is a whole number of bytes, at least 0."""
    if not is_whole(value) or value < 0:
        raise ValueError(f"{name} must be a whole number of bytes, at least 0, got {value!r}")


def check_share(value: float, name: str) -> None:
    """Raise ValueError unless `value` is a number in [0, 1]."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a share in [0, 1], got {value!r}")


def check_vector(values: Tensor, name: str, *, integer: bool = True) -> int:
    """Return the number of entries N of `values`.

    Raises ValueError unless it is a real tensor [N] with N at least 1, and (if `integer`) of an integer dtype.
    """
    if not isinstance(values, Tensor) or values.dim() != 1 or len(values) == 0 or values.is_complex():
        raise ValueError(f"{name} must be real numbers in one dimension, at least one, got {kind_of(values)}")
    if integer and (values.is_floating_point() or values.dtype == torch.bool):
        raise ValueError(f"{name} must hold integers, got {values.dtype}")
    return len(values)


def check_differentiable(model: Any) -> None:
    """Raise ValueError where a network's weights were made under `torch.inference_mode`: nothing can be derived."""
    if any(value.is_inference() for value in (*model.parameters(), *model.buffers())):
        raise ValueError(
            f"the weights of {type(model).__name__} were made under torch.inference_mode(), so gradients cannot be "
            "computed: build or load the model outside of it"
        )


def device_of_draws(generator: torch.Generator) -> torch.device:
    """The device that a generator draws on; raises TypeError unless it is a `torch.Generator`."""
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator, such as torch.Generator().manual_seed(0), got "
            f"{type(generator).__name__}"
        )
    return generator.device


def random_order(n: int, generator: torch.Generator) -> Tensor:
    """A random permutation of 0..n-1: int64[n], on the generator's device."""
    return torch.randperm(n, generator=generator, device=device_of_draws(generator))
