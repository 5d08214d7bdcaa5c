"""Stratified splits with exact sizes."""

from collections.abc import Sequence

import torch

from dqv2.apportion import largest_remainder


def stratified_split(labels: Sequence[int], sizes: Sequence[int], *, generator: torch.Generator) -> list[list[int]]:
    """Draw disjoint subsets of exactly these sizes, each with the classes in proportion; returns ascending indices.

    labels: N labels, non-negative. sizes: each subset is drawn from what earlier ones left, so that it does not depend
    on later sizes. Raises ValueError where the sizes sum to more than N.
    """
    if sum(sizes) > len(labels):
        raise ValueError(f"subsets of {list(sizes)} items add up to more than the {len(labels)} there are")
    label = torch.as_tensor(labels, dtype=torch.int64)
    members = label.sort(stable=True).indices.split(torch.bincount(label).tolist())
    left = [m[torch.randperm(len(m), generator=generator)].tolist() for m in members]
    subsets = []
    for size in sizes:
        shares = largest_remainder(torch.tensor([len(m) for m in left], dtype=torch.int64), size).tolist()
        subsets.append(sorted(i for m, share in zip(left, shares, strict=True) for i in m[:share]))
        left = [m[share:] for m, share in zip(left, shares, strict=True)]
    return subsets
