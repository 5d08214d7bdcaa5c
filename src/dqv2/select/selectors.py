"""Selectors by name: from features, logits and labels to bins to draw from, or ranks to take the first of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqv2.arguments import as_tensor, kind_of
from dqv2.data import Pack
from dqv2.declared import load
from dqv2.runtime.seeding import seeded_throughout
from dqv2.select.budget import UNRANKED, enough_for
from dqv2.select.candidates import Candidates, PoolRows
from dqv2.select.coreset import Pool, coreset_images
from dqv2.select.table import SELECTORS, Kind
from dqv2.semantic.recipe import Recipe

# What the functions of a kind return: dtype, and what each value is
What = tuple[torch.dtype, str]
BINS: What = (torch.int64, "the bin of each image (-1: left out)")
RANKS: What = (torch.int64, "the rank of each image within its class (0 is kept first)")
IMPORTANCE: What = (torch.float64, "the importance of each image's bin, finite and above 0")
WEIGHTS: What = (torch.float64, "the weight of each chosen image, finite and at least 0")


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

    Raises ValueError where an input of the kind is not finite, where its function returns something else than
    `dqv2.select.table.Kind` says, and for "published".
    """
    chosen = SELECTORS[kind]
    if chosen.gives == "list":
        raise ValueError(f"a selector of kind {kind!r} is a list of ids and divides no images")
    if "n_bins" in options:
        options["n_bins"] = bins_of_pool(options["n_bins"], len(pool), len(pack))
    candidates = _candidates(chosen, pool, pack, embeddings, logits)
    classes, sizes = candidates.labels.unique(return_inverse=True, return_counts=True)[1:]
    budget = None if largest is None else enough_for(sizes, largest)
    candidates = replace(
        candidates,
        scores=torch.from_numpy(scores[options["score"]][pool.rows]) if scores is not None else None,
        pixels=lambda part: coreset_images(pool.take(part), pack, recipe)[0],
        generator=generator,
        budget=budget,
    )
    call = partial(_call, chosen, options, generator.initial_seed())
    if chosen.gives == "rank":
        found = call(chosen.function, RANKS, candidates)
        _check_ranks(chosen, found, classes, sizes if budget is None or not chosen.stops else budget)
        return replace(pool, rank=found.masked_fill(found == UNRANKED, -1).numpy())
    found = call(chosen.function, BINS, candidates)
    if int(found.min()) < -1:
        raise _wrong(chosen, chosen.function, BINS, len(pool), f"the bin {int(found.min())}")
    if not chosen.importance:
        return replace(pool, bins=found.numpy(), importance=None)
    importance = call(chosen.importance, IMPORTANCE, candidates, found)
    _check_importance(chosen, importance, found)
    return replace(pool, bins=found.numpy(), importance=importance.numpy())


def _call(
    kind: Kind, options: dict[str, Any], seed: int, place: str, what: What, images: Candidates, *more: Tensor
) -> Tensor:
    """What a function of a kind returns, on the CPU: of the dtype of `what`, with a value for each image, or of weights
    for each chosen one. Lists, arrays and narrower dtypes are converted; raises ValueError for anything else."""
    with seeded_throughout(seed, "selector"):  # it may draw from a global generator, or call a library that does
        given = load(place)(images, *more, **options)
    found, n = as_tensor(given), len(more[0]) if more else len(images)
    fits = isinstance(found, Tensor) and found.dtype != torch.bool and not found.is_complex()
    if not fits or tuple(found.shape) != (n,) or (found.is_floating_point() and what[0] == torch.int64):
        raise _wrong(kind, place, what, n, kind_of(given))
    return found.detach().cpu().to(what[0])


def _wrong(kind: Kind, place: str, what: What, n: int, got: str) -> ValueError:
    asked = f"{str(what[0]).removeprefix('torch.')}[{n}], {what[1]}"
    return ValueError(f"selector kind {kind.name} ({place}) must return {asked}; got {got.removeprefix('torch.')}")


def _check_ranks(kind: Kind, rank: Tensor, classes: Tensor, least: Tensor) -> None:
    """Raise ValueError unless ranks are distinct within each class and at least 0, and enough images have one.

    classes: int64[M] in 0..C-1; least: int64[C], how many images of each class need a rank."""
    wrong = partial(_wrong, kind, kind.function, RANKS, len(rank))
    if int(rank.min()) < 0:
        raise wrong(f"the rank {int(rank.min())}")
    ranked = rank != UNRANKED
    counts = torch.bincount(classes[ranked], minlength=len(least))
    if bool((short := counts < least).any()):
        c = int(short.int().argmax())
        why = "" if kind.stops else " (UNRANKED is for kinds with stops=True)"
        raise wrong(f"ranks of {int(counts[c])} of the {int(least[c])} images of a class that need one{why}")
    order = np.lexsort((rank[ranked].numpy(), classes[ranked].numpy()))
    of, rank = classes[ranked][order], rank[ranked][order]
    if bool(((of[1:] == of[:-1]) & (rank[1:] == rank[:-1])).any()):
        raise wrong("equal ranks in a class")


def _check_importance(kind: Kind, importance: Tensor, bins: Tensor) -> None:
    """Raise ValueError unless importance is finite, above 0 and the same within each bin; bin -1 does not count."""
    kept, of_bin, place = bins >= 0, torch.zeros_like(importance), bins.unique(return_inverse=True)[1]
    of_bin[place] = importance
    if not bool((importance.isfinite() & (importance > 0) & (of_bin[place] == importance))[kept].all()):
        got = "values that are not, or that vary within a bin"
        raise _wrong(kind, kind.importance, IMPORTANCE, len(bins), got)


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
    where the kind gives no weights, all of them are 0, or its function returns something else than finite numbers of at
    least 0.
    """
    chosen = SELECTORS[kind]
    if chosen.weights is None:
        raise ValueError(f"a selector of kind {kind!r} gives its images no weights")
    candidates = _candidates(chosen, pool, pack, embeddings, logits)
    found = _call(chosen, options, 0, chosen.weights, WEIGHTS, candidates, torch.from_numpy(places)).numpy()
    if not (np.isfinite(found) & (found >= 0)).all():
        raise _wrong(chosen, chosen.weights, WEIGHTS, len(places), "values that are not")
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
