"""Selectors by name: from features, logits and labels to bins to draw from, or ranks to take the first of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqv2.data import Pack
from dqv2.declared import load
from dqv2.select.budget import UNRANKED, enough_for
from dqv2.select.candidates import Candidates, PoolRows
from dqv2.select.coreset import Pool, coreset_images
from dqv2.select.table import SELECTORS, Kind
from dqv2.semantic.recipe import Recipe


def divide(
    pool: Pool,
    pack: Pack,
    embeddings: Sequence[Tensor | np.ndarray],
    logits: Sequence[Tensor | np.ndarray],
    *,
    scores: Mapping[str, np.ndarray] | None = None,
    recipe: Recipe | None = None,
    generator: torch.Generator,
    largest: int | None = None,
    kind: str,
    **options: Any,
) -> Pool:
    """Divide the pool into bins, or rank it, class by class; returns the pool with bins (-1: left out) or ranks (-1:
    beyond the largest coreset).

    A pool enlarged by Tobias images is divided into more bins, so that a bin keeps the size that it has in DQ (paper,
    section 4.3).

    Args:
        pool: the images to divide.
        pack: the N originals.
        embeddings: float[N, E] of the originals if the pool has any, then of the Tobias images if it has any; empty for
            a selector that reads none. From memory-mapped arrays GraphCut reads one class at a time.
        logits: float[N, C] arrays in the same order.
        scores: name (grand, el2n, ...) -> float64[N], of the originals, for score and ccs.
        recipe: how the Tobias images are made, for a selector that looks at the images themselves.
        largest: size of the largest coreset that will be drawn; a kind with a budget ranks enough images of each class
            for any coreset up to it, with the ranks that they have without it. None: all are ranked.
        kind: a key of `dqv2.select.table.SELECTORS`.
        options: the values of the kind's keys; `n_bins` is for a pool of N images.

    Raises ValueError where an input of the kind is not finite, and for "published".
    """
    chosen = SELECTORS[kind]
    if chosen.gives == "list":
        raise ValueError(f"a selector of kind {kind!r} is a list of ids and divides no images")
    if "n_bins" in options:
        options["n_bins"] = bins_of_pool(options["n_bins"], len(pool), len(pack))
    candidates = _candidates(chosen, pool, pack, embeddings, logits)
    sizes = candidates.labels.unique(return_counts=True)[1]
    candidates = replace(
        candidates,
        scores=torch.from_numpy(scores[options["score"]][pool.rows]) if scores is not None else None,
        pixels=lambda part: coreset_images(pool.take(part), pack, recipe)[0],
        generator=generator,
        budget=None if largest is None else enough_for(sizes, largest),
    )
    found = load(chosen.function)(candidates, **options)
    if chosen.gives == "rank":
        return replace(pool, rank=found.masked_fill(found == UNRANKED, -1).numpy())
    importance = load(chosen.importance)(candidates, found, **options).numpy() if chosen.importance else None
    return replace(pool, bins=found.numpy(), importance=importance)


def bins_of_pool(n_bins: int, pool: int, originals: int) -> int:
    """The number of bins for a pool of `pool` images, if `originals` images are divided into `n_bins`; 0 stays 0."""
    return max(1, round(n_bins * pool / originals)) if n_bins else 0


def weigh(
    pool: Pool,
    places: np.ndarray,
    pack: Pack,
    embeddings: Sequence[Tensor | np.ndarray],
    logits: Sequence[Tensor | np.ndarray],
    *,
    kind: str,
    **options: Any,
) -> np.ndarray:
    """The weights that a selector gives the images of a coreset in training: float64[K] with mean 1.

    places: int64[K], positions of the coreset's images in the pool. Other arguments as for `divide`. Raises ValueError
    where the kind gives no weights, or all of them are 0.
    """
    chosen = SELECTORS[kind]
    if chosen.weights is None:
        raise ValueError(f"a selector of kind {kind!r} gives its images no weights")
    candidates = _candidates(chosen, pool, pack, embeddings, logits)
    found = load(chosen.weights)(candidates, torch.from_numpy(places), **options).cpu().numpy()
    if not found.sum() > 0:
        raise ValueError(
            f"{kind} gives every image of the coreset the weight 0: train without weights (weighted: false)"
        )
    return found * (len(found) / found.sum())


def _candidates(kind: Kind, pool: Pool, pack: Pack, embeddings: Sequence[Any], logits: Sequence[Any]) -> Candidates:
    """The pool's images with the features that a kind reads, lazily where it works class by class."""
    if "features" not in kind.reads:
        embeddings = logits = ()
    embedding, values = (PoolRows(pool, arrays) if arrays else None for arrays in (embeddings, logits))
    if not kind.by_class:
        embedding, values = (rows[:] if rows else None for rows in (embedding, values))
    return Candidates(torch.from_numpy(pack.labels[pool.rows]), embedding, values)
