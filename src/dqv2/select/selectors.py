"""Selectors by name: bins to draw shares of, or ranks to take the first of, from features, logits and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dqv2.select.baselines.adaptive import bin_importance, texture_levels
from dqv2.select.baselines.bins import ccs_strata, random_bins, score_bins, uniform_bins
from dqv2.select.baselines.geometry import herding_order, k_center_order
from dqv2.select.baselines.gradient import craig_order, gradmatch_order
from dqv2.select.baselines.scores import el2n_scores, grand_scores, rank_by_score, uncertainty_scores
from dqv2.select.coreset import Pool, coreset_images
from dqv2.select.graphcut import graphcut_bins, graphcut_order
from dqv2.select.scores import Scores
from dqv2.select.similarity import FeatureRows, Features, GradientFeatures, last_layer_residual

if TYPE_CHECKING:
    from dqv2.data import Pack
    from dqv2.semantic.recipe import Recipe


class PoolRows:
    """Stands for the rows of a pool's images, float[M, D], which are read from its arrays when they are indexed.

    Args:
        pool: M images.
        arrays: float[N, D], tensors or memory-mapped arrays: of the originals where the pool has any, then of the
            Tobias images where it has any.

    Raises:
        ValueError: the arrays are not as many as kinds of images.
    """

    def __init__(self, pool: Pool, arrays: Sequence[Tensor | np.ndarray]):
        if len(arrays) != bool((~pool.tobias).any()) + bool(pool.tobias.any()):
            raise ValueError(f"{len(arrays)} feature arrays do not fit a pool with these kinds of images")
        self.pool, self.arrays = pool, [np.asarray(array) for array in arrays]

    def __len__(self) -> int:
        return len(self.pool)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """float[k, D] for int64[k] or a slice; new memory."""
        index = index if isinstance(index, slice) else index.numpy()
        rows, tobias = self.pool.rows[index], self.pool.tobias[index]
        values = np.empty((len(rows), *self.arrays[0].shape[1:]), self.arrays[0].dtype)
        for kind, array in ((~tobias, self.arrays[0]), (tobias, self.arrays[-1])):
            if kind.any():
                values[kind] = array[rows[kind]]
        return torch.from_numpy(values)


def features_by_name(
    name: str, embedding: Tensor | PoolRows, logits: Tensor | PoolRows | None, labels: Tensor
) -> Features:
    """What a selector compares images by.

    Args:
        name: "embedding"; "gradient" (last-layer gradients of the cross-entropy, as DeepCore has them, factorised) or
            "gradient_dq" (the same with DQ's softmax before the loss).
        embedding: float[M, E]. Rows that are read as they are indexed give features that are made class by class.
        logits: float[M, C], for the gradients.
        labels: int64[M].
    """
    if isinstance(embedding, PoolRows):

        def rows(index: Tensor) -> Features:
            values = logits[index] if name != "embedding" else None
            return features_by_name(name, embedding[index], values, labels[index])

        return FeatureRows(len(embedding), rows)
    if name == "embedding":
        return embedding
    residual = last_layer_residual(logits, labels, softmax_in_loss=name == "gradient_dq")
    return GradientFeatures(residual=residual, embedding=embedding)


BY_CLASS = ("graphcut", "graphcut_bins", "adaptive_bins")
"""Kinds that need the features of one class, or one bin, at a time."""


def scores_by_name(name: str, embedding: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """A score of each image by one early-trained network, the higher the sooner kept: float64[M]."""
    if name == "grand":
        return grand_scores(GradientFeatures(residual=last_layer_residual(logits, labels), embedding=embedding))
    if name == "el2n":
        return el2n_scores(logits, labels)
    return uncertainty_scores(logits, name)


def apply_selector(
    kind: str,
    labels: Tensor,
    embedding: Tensor | PoolRows | None = None,
    logits: Tensor | PoolRows | None = None,
    scores: Tensor | None = None,
    *,
    generator: torch.Generator,
    n_bins: int = 10,
    lam: float = 1.0,
    features: str = "embedding",
    score: str | None = None,
    n_strata: int = 50,
    prune_hardest: float = 0.1,
) -> tuple[str, Tensor]:
    """Divide or rank M images, class by class (ccs: over all classes, as its source has it).

    Args:
        kind: a kind of the configuration's selectors, but "random".
        labels: int64[M].
        embedding, logits: float[M, E] and float[M, C] of one network, for kinds in `BY_CLASS` also as `PoolRows`; what
            the kind does not read may be None.
        scores: float64[M], the named `score` as a mean over several trainings, for score and ccs.
        generator: for random bins.
        n_bins, lam, features, score, n_strata, prune_hardest: as in the configuration.

    Returns:
        ("bin", int64[M], -1: left out) or ("rank", int64[M], 0 is kept first).

    Raises:
        ValueError: there is no such kind, or what it reads is not there or not finite.
    """
    if kind == "random_bins":
        return "bin", random_bins(len(labels), n_bins=n_bins, generator=generator, labels=labels)
    if kind == "uniform_bins":
        return "bin", uniform_bins(len(labels), n_bins=n_bins, labels=labels)
    if kind == "score_bins":
        return "bin", score_bins(scores_by_name(score, embedding, logits, labels), labels, n_bins=n_bins)
    if kind == "score":
        return "rank", rank_by_score(scores)
    if kind == "ccs":
        return "bin", ccs_strata(scores, n_strata=n_strata, prune_hardest=prune_hardest)
    compared = features_by_name(features, embedding, logits, labels)
    if kind in ("graphcut_bins", "adaptive_bins"):
        return "bin", graphcut_bins(compared, labels, n_bins=n_bins, lam=lam)
    if kind == "graphcut":
        return "rank", graphcut_order(compared, labels, lam=lam)
    orders = {"herding": herding_order, "k_center": k_center_order}
    orders |= {"craig": craig_order, "gradmatch": gradmatch_order}
    if kind not in orders:
        raise ValueError(f"there is no selector of kind {kind!r}")
    return "rank", orders[kind](compared, labels)


def divide(
    pool: Pool,
    pack: Pack,
    embeddings: Sequence[Tensor | np.ndarray],
    logits: Sequence[Tensor | np.ndarray],
    *,
    scores: Scores | None = None,
    recipe: Recipe | None = None,
    generator: torch.Generator,
    kind: str,
    **options: Any,
) -> Pool:
    """Divide the pool into bins, or rank it, class by class.

    A pool that Tobias images enlarge is cut into more bins, so that a bin keeps the size that it has in DQ
    (paper, section 4.3).

    Args:
        pool: what to divide.
        pack: the N originals.
        embeddings: float[N, E] of the originals where the pool has any, then of the Tobias images where it has any;
            empty for a selector that reads none. Of memory-mapped arrays GraphCut reads a class at a time.
        logits: float[N, C], likewise.
        scores: of the originals, for score and ccs.
        recipe: of the Tobias images, for a selector that looks at the images themselves.
        generator: for a selector that draws.
        kind, options: the selector, as `apply_selector` takes it; `n_bins` is for a pool of N images. "random" leaves
            the pool as one bin.

    Returns:
        The pool with bins (-1: left out) or ranks.
    """
    if kind == "random":
        return pool
    if "n_bins" in options:
        options["n_bins"] = max(1, round(options["n_bins"] * len(pool) / len(pack)))
    own = torch.from_numpy(pack.labels[pool.rows])
    embedding, values = (PoolRows(pool, arrays) if arrays else None for arrays in (embeddings, logits))
    if kind not in BY_CLASS:
        embedding, values = (rows[:] if rows else None for rows in (embedding, values))
    scored = torch.from_numpy(scores.values[options["score"]][pool.rows]) if scores else None
    what, found = apply_selector(kind, own, embedding, values, scored, generator=generator, **options)
    if what == "rank":
        return replace(pool, rank=found.numpy())
    divided = replace(pool, bins=found.numpy())
    if kind == "adaptive_bins":
        compared = features_by_name(options["features"], embedding, values, own)
        return replace(divided, importance=_importance(divided, pack, recipe, compared))
    return divided


def _importance(pool: Pool, pack: Pack, recipe: Recipe | None, features: Features) -> np.ndarray:
    """ADQ's importance of each image's bin; bins that DQ's sizes leave empty do not count."""
    texture = torch.cat(
        [
            texture_levels(coreset_images(pool.take(part), pack, recipe)[0])
            for part in np.array_split(np.arange(len(pool)), max(1, len(pool) // 1024))
        ]
    )
    _, bins = np.unique(pool.bins, return_inverse=True)
    return bin_importance(torch.from_numpy(bins), texture, features).numpy()[bins]
