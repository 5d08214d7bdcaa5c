"""Random generators, each for one purpose, so that draws for one never shift those for another."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


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

    These are the generators of the CPU (weight initialisation) and of `device` if it is a GPU (dropout).
    """
    on_gpu = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        reseed(seed, *purpose, on_gpu=on_gpu)
        yield


def reseed(seed: int, *purpose: object, on_gpu: bool) -> None:
    """Seed torch's global generators: the CPU's, and the GPUs' if `on_gpu`.

    Where no GPU is in use, `torch.manual_seed` formats a traceback for each kind of GPU it knows, at every call: too
    long for one call per training step.
    """
    (torch.manual_seed if on_gpu else torch.default_generator.manual_seed)(derive_seed(seed, *purpose))
