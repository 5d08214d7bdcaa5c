"""Random generators, each for one purpose, so that draws for one never shift those for another."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import numpy as np
import torch

_turn = RLock()  # held by the thread whose draws the global generators are seeded for


def derive_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed derived from a run's seed and a purpose (SHA-256), e.g. `derive_seed(0, "train", "order")`."""
    words = "/".join(str(word) for word in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A generator seeded by `derive_seed`, on the CPU, so that the draws are the same on every device."""
    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


@contextmanager
def seeded(seed: int, *purpose: object, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators within the context, for libraries that draw from them, and restore them after.

    These are the generators of the CPU (weight initialisation) and of `device` if it is a GPU (dropout). A process has
    one of each, so threads take turns here; a thread that draws from them without this context still disturbs others.
    """
    with _turn, torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
        reseed(seed, *purpose, device=device)
        yield


@contextmanager
def seeded_throughout(seed: int, *purpose: object) -> Iterator[None]:
    """`seeded` on the CPU, for code that is not ours: the global generators of NumPy and Python are seeded too."""
    before, derived = (random.getstate(), np.random.get_state()), derive_seed(seed, *purpose)  # noqa: NPY002
    with seeded(seed, *purpose):
        random.seed(derived)
        np.random.seed(derived % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002


def reseed(seed: int, *purpose: object, device: torch.device | None = None) -> None:
    """Seed torch's global generators: the CPU's, and the others if `device` is another.

    On the CPU, `torch.manual_seed` formats a traceback for each kind of GPU that is not in use, at every call: too long
    for one call per training step.
    """
    on_cpu = device is None or device.type == "cpu"
    (torch.default_generator.manual_seed if on_cpu else torch.manual_seed)(derive_seed(seed, *purpose))
