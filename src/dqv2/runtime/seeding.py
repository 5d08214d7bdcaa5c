"""Random generators, each for one purpose, so that no draw of one stage shifts those of another."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed from a run's seed and a purpose, e.g. `derive_seed(0, "train", "order")`."""
    words = "/".join(str(word) for word in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A generator on the CPU, so that the draws are the same on every device."""
    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


@contextmanager
def seeded(seed: int, *purpose: object, device: torch.device | None = None) -> Iterator[None]:
    """Set torch's global generators for a library that draws from them, and put them back.

    They are those of the CPU (weight initialisation) and, where it is a GPU, of `device` (dropout).
    """
    with torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, *purpose))
        yield
