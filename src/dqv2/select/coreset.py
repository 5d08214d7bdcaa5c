"""The pool of originals and Tobias images, and the coreset drawn from it; all by sample ids."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dqv2.arguments import check_share, random_order
from dqv2.data import Pack
from dqv2.data.errors import DataError
from dqv2.data.lazy import LazyArray
from dqv2.runtime.device import fits_memory
from dqv2.runtime.files import atomic_path, csv_writer
from dqv2.select.baselines.class_adaptive import sample_class_adaptive
from dqv2.select.budget import UNRANKED
from dqv2.select.sampling import sample_adaptive, sample_bins, sample_ranked, sample_strata
from dqv2.semantic.recipe import Recipe

REMEDY = "Remove it; the next run makes it again."
COLUMNS = ("id", "kind", "class", "bin", "rank", "importance")
WEIGHTED = (*COLUMNS, "weight")


@dataclass(frozen=True)
class Pool:
    """Images to choose from, or a coreset chosen from them."""

    rows: np.ndarray  # int64[M], the row of each image's original in the training pack
    tobias: np.ndarray  # bool[M], whether it is the Tobias image of that original
    bins: np.ndarray  # int64[M], the bin of each (-1: left out by the selector); all 0 where there is only one
    rank: np.ndarray  # int64[M], the place in a selector's order; -1 where there is none, as beyond its budget
    importance: np.ndarray | None = None  # float64[M], of each image's bin; None where bins give equal shares
    weight: np.ndarray | None = None  # float64[M] with mean 1, factors of the training loss; None: all equal

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: np.ndarray) -> Pool:
        """The images at `index`."""
        importance, weight = (None if each is None else each[index] for each in (self.importance, self.weight))
        return Pool(self.rows[index], self.tobias[index], self.bins[index], self.rank[index], importance, weight)


def mix(n: int, *, originals: float, tobias: float, generator: torch.Generator) -> Pool:
    """A share of the originals and a share of the Tobias images, each drawn at random (paper, section 3.4, step 2).

    n: number of training images, each with one Tobias image. originals, tobias: shares in [0, 1]; round(share * n)
    images of each are taken. The pool lists the originals first, each part in ascending order. Raises ValueError for
    other shares, and where one above 0 rounds to no image; TypeError unless `generator` is a `torch.Generator`.
    """
    shares = {"originals": originals, "tobias": tobias}
    for name, share in shares.items():
        check_share(share, name)
        if share > 0 and round(share * n) == 0:
            raise ValueError(f"a share of {share:g} of {name} comes to none of {n} images: raise it in the mixture")
    counts = (round(share * n) for share in shares.values())
    parts = [random_order(n, generator).cpu()[:count].sort().values.numpy() for count in counts]
    rows = np.concatenate(parts)
    kind = np.arange(len(rows)) >= len(parts[0])
    return Pool(rows, kind, np.zeros_like(rows), np.full_like(rows, -1))


def draw_places(
    pool: Pool,
    labels: np.ndarray,
    count: int,
    *,
    sampler: str = "bins",
    generator: torch.Generator,
    embedding: torch.Tensor | None = None,
) -> np.ndarray:
    """Draw exactly `count` images of the pool: ascending positions in it, int64[count].

    labels: int64[N] of the originals. sampler: a key of `dqv2.select.table.SAMPLERS`. generator: used by every sampler
    but "rank". embedding: float[M, E] of the pool, needed by "classes" alone. Images in bin -1 are never drawn, except
    by rank, which has no bins. Raises ValueError where fewer than `count` images are left, or the sampler is unknown.
    """
    if count > len(pool):
        asked = f"the keep ratio asks for {count} images and the pool holds {len(pool)}"
        raise ValueError(f"{asked}: lower keep_ratio, or raise the shares of the mixture")
    left = np.flatnonzero(pool.bins >= 0)
    if len(left) < len(pool) and sampler in ("bins", "adaptive", "classes"):
        if count > len(left):
            out = f"the selector leaves out {len(pool) - len(left)} of {len(pool)} images (bin -1)"
            raise ValueError(f"the keep ratio asks for {count} images, and {out}: lower keep_ratio")
        rest = None if embedding is None else embedding[left]
        how = {"sampler": sampler, "generator": generator, "embedding": rest}
        return left[draw_places(pool.take(left), labels, count, **how)]
    own, bins = torch.from_numpy(labels[pool.rows]), torch.from_numpy(pool.bins)
    if sampler == "rank":
        chosen = sample_ranked(np.where(pool.rank < 0, UNRANKED, pool.rank), own, count)
    elif sampler == "bins":
        chosen = sample_bins(bins, own, count, generator=generator)
    elif sampler == "strata":
        chosen = sample_strata(bins, count, generator=generator)
    elif sampler == "classes":
        chosen = sample_class_adaptive(bins, own, embedding, count, generator=generator)
    elif sampler == "adaptive":
        _, first, bins = np.unique(pool.bins, return_index=True, return_inverse=True)
        importance = torch.from_numpy(pool.importance[first])
        chosen = sample_adaptive(torch.from_numpy(bins), own, importance, count, generator=generator)
    else:
        raise ValueError(f"there is no sampler {sampler!r}")
    return chosen.numpy()


def coreset_images(
    coreset: Pool, pack: Pack, recipe: Recipe | None, *, whole: bool = False
) -> tuple[torch.Tensor | CoresetImages, torch.Tensor]:
    """The images of a coreset, uint8[K, 3, H, W], and their labels, int64[K].

    The images are a tensor where they fit into memory (or, with `whole`, always), else a `CoresetImages`, which
    composes them when indexed. Raises ValueError where the coreset has Tobias images and `recipe` is None.
    """
    if coreset.tobias.any() and recipe is None:
        raise ValueError("the coreset names Tobias images, and no recipe was given")
    images = CoresetImages(coreset, pack, recipe)
    at_once = whole or fits_memory(int(np.prod(images.shape)))
    found = torch.from_numpy(np.array(images)) if at_once else images
    return found, torch.from_numpy(pack.labels[coreset.rows])


class CoresetImages(LazyArray):
    """The images of a coreset as a lazy uint8[K, 3, H, W]: read and composed when indexed."""

    def __init__(self, coreset: Pool, pack: Pack, recipe: Recipe | None):
        self.coreset, self.pack, self.recipe = coreset, pack, recipe
        self.shape = (len(coreset), *pack.images.shape[1:])

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        """uint8[B, 3, H, W] for int64[B] or a slice."""
        rows, tobias = self.coreset.rows[index], self.coreset.tobias[index]
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        if not tobias.all():
            images[~tobias] = self.pack.images[rows[~tobias]]
        if tobias.any():
            images[tobias] = self.recipe.images(self.pack.images, rows[tobias])
        return images


def write_pool(path: str | Path, pool: Pool, pack: Pack) -> None:
    """Write a CSV with one row per image: id, kind (original or tobias), class, bin, rank and importance (empty where
    there is none), and weight where the pool has weights."""
    with atomic_path(Path(path)) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv_writer(file)
        writer.writerow(COLUMNS if pool.weight is None else WEIGHTED)
        weights = [[]] * len(pool) if pool.weight is None else [[repr(float(value))] for value in pool.weight]
        values = [""] * len(pool) if pool.importance is None else [repr(float(value)) for value in pool.importance]
        own = (pool.rows, pool.tobias, pool.bins, pool.rank, values, weights)
        for row, tobias, bin_, rank, importance, weight in zip(*own, strict=True):
            kind, name = "tobias" if tobias else "original", pack.classes[pack.labels[row]]
            writer.writerow([pack.ids[row], kind, name, bin_, "" if rank < 0 else rank, importance, *weight])


def read_pool(path: str | Path, pack: Pack) -> Pool:
    """Read the CSV of a pool or coreset, resolving its ids in a pack.

    Raises ValueError for other columns, a kind that is neither original nor tobias, a bin or rank that is not whole, an
    importance or weight that is not finite or missing in part; DataError (a ValueError) for an id that is not in the
    pack, or is of another class there. All name the file, and the line where there is one.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        columns = tuple(next(reader, ()))
        if columns not in (COLUMNS, WEIGHTED):
            raise ValueError(f"{path}: the columns should be {', '.join(COLUMNS)}, and weight where they have weights")
        table = list(reader)
    for line, row in enumerate(table, 2):
        if len(row) != len(columns):
            raise ValueError(f"{path}, line {line}: {len(row)} columns instead of {len(columns)}. {REMEDY}")
    own = dict(zip(columns, zip(*table, strict=True) if table else ((),) * len(columns), strict=True))
    ids, kinds = own["id"], own["kind"]
    if strange := set(kinds) - {"original", "tobias"}:
        raise ValueError(f"{path}: kind {min(strange)!r} is neither original nor tobias")
    try:
        rows = pack.index(list(ids))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    classes = [pack.classes[label] for label in pack.labels[rows]]
    for line, (name, told, known) in enumerate(zip(ids, own["class"], classes, strict=True), 2):
        if told != known:
            raise DataError(f"{path}, line {line}: {name} is of class {told!r}, and in the pack of {known!r}. {REMEDY}")
    return Pool(
        np.asarray(rows, np.int64),
        np.array([kind == "tobias" for kind in kinds], bool),
        _numbers(path, "bin", own["bin"], np.int64),
        _numbers(path, "rank", [rank or "-1" for rank in own["rank"]], np.int64),
        _numbers(path, "importance", own["importance"], np.float64) if any(own["importance"]) else None,
        _numbers(path, "weight", own["weight"], np.float64) if "weight" in own else None,
    )


def _numbers(path: str | Path, column: str, cells: Sequence[str], dtype: type) -> np.ndarray:
    """A column of finite numbers; raises ValueError with the line of the first cell that is none."""

    def read(cells: Sequence[str]) -> np.ndarray | None:
        try:
            found = np.array(cells, dtype)
        except (ValueError, OverflowError):
            return None
        return found if np.isfinite(found).all() else None

    if (found := read(cells)) is None:
        line, cell = next((line, cell) for line, cell in enumerate(cells, 2) if read([cell]) is None)
        kind = "whole number of 64 bits" if dtype is np.int64 else "finite number"
        raise ValueError(f"{path}, line {line}: {column} {cell!r} is not a {kind}. {REMEDY}")
    return found
