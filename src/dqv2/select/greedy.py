"""GraphCut's greedy steps, one class at a time on the host; `batched` does many classes at once on a GPU."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from dqv2.select.similarity import Cosine

_ROWS_AHEAD = 128


def tolerance(n: int, width: int, lam: float) -> float:
    """The difference below which gains of n items count as equal, being within rounding error.

    Rounding moves a gain (below n·max(1, lam) in size) by about eps/2·n in each of up to n updates, and its cosines
    by about eps·√width, in random directions: about eps·n·√(n + width) in all, here with a margin of 4. At n = 5000
    that is 3e-10, where the two best gains differ by less than 1e-3 in about 4 % of the steps, so by less than the
    tolerance in about one step in 10^8, unless the items are duplicates.
    """
    return 4 * np.finfo(np.float64).eps * n * math.sqrt(n + width) * max(1.0, lam)


def greedy_ranks(
    similarity: Cosine,
    budgets: Sequence[int],
    lam: float,
    max_bytes: int,
    turn: AbstractContextManager[object] = nullcontext(),  # noqa: B008 (holds nothing)
) -> np.ndarray:
    """Position of each item in the order of choice, int64[n]; sum(budgets) for items that are not chosen.

    One greedy run per budget, each choosing that many items from those that earlier runs left. Only differences of
    gains matter, so cosines stand for similarities, and half of each gain is computed.

    similarity: of the n items; modified, as it keeps only the items left after a run.
    max_bytes: where n²·8 exceeds it, rows are computed as needed (`_RowsAhead`), with the same result.
    turn: a lock held during the steps. Threads stepping at the same time would each wait for the GIL several times a
        step (four times as long in total for classes of 500), while matrix products run alongside at no cost.
    """
    n = len(similarity)
    slack = tolerance(n, similarity.width, lam)
    rank = np.full(n, sum(budgets), dtype=np.int64)
    items = np.arange(n)  # the item of each row of `similarity`
    free = np.ones(n, dtype=bool)  # which rows no closed run has taken
    sums = matrix = None  # of each row to all free ones
    done = 0
    for budget in filter(None, budgets):
        if matrix is None:
            if not free.all():
                kept = np.flatnonzero(free)
                similarity.keep(kept)
                items, sums, free = items[kept], sums[kept], free[kept]
            if len(items) ** 2 * 8 <= max_bytes:
                matrix = similarity.matrix()
            ahead = _RowsAhead(similarity, max_bytes) if matrix is None else None
        if sums is None:
            # O(n), except for factored gradients, whose columns outnumber by far the rows of a matrix already there.
            cheap = matrix is None or len(similarity.factors) == 1
            sums = similarity.column_sums(torch.from_numpy(free)) if cheap else matrix.sum(0)
        base = np.where(free, lam / 2 * sums, -np.inf)
        taken = np.zeros(len(items))  # sum of the chosen items' rows
        gain, best = base.copy(), np.empty(len(items), dtype=bool)
        chosen = np.empty(budget, dtype=np.int64)
        with turn:
            for step in range(budget):
                np.greater_equal(gain, gain[gain.argmax()] - slack, out=best)
                chosen[step] = i = best.argmax()
                np.add(taken, matrix[i] if ahead is None else ahead.row(i, gain), out=taken)
                base[i] = -np.inf
                np.subtract(base, taken, out=gain)
        free[chosen] = False
        sums -= taken
        rank[items[chosen]] = np.arange(done, done + budget)
        done += budget
    return rank


class _RowsAhead:
    """Rows of the similarity matrix where it does not fit into memory: those of the next candidates, many at a time.

    Computing one row takes a pass over all features, bound by memory bandwidth; a block of rows takes hardly longer.
    Rows never change, so those of the items with the largest gains are computed ahead and kept until chosen.
    """

    def __init__(self, similarity: Cosine, max_bytes: int):
        self.similarity = similarity
        self.kept = np.empty((max(1, min(max_bytes // (8 * len(similarity)), 4 * _ROWS_AHEAD)), len(similarity)))
        self._forget()

    def _forget(self) -> None:
        self.place: dict[int, int] = {}  # where in `kept` the row of an item is
        self.empty = list(range(len(self.kept)))

    def row(self, i: int, gain: np.ndarray) -> np.ndarray:
        """Row of item i, chosen in this step; valid until the next call. `gain` tells which items may be next."""
        if i not in self.place:
            block = min(_ROWS_AHEAD, len(self.kept), len(gain))
            if len(self.empty) < block:
                self._forget()
            wanted = gain.copy()
            wanted[list(self.place)] = -np.inf
            wanted[i] = np.inf
            index = np.argpartition(wanted, -block)[-block:]
            index = index[wanted[index] > -np.inf]
            places = [self.empty.pop() for _ in index]
            self.kept[places] = self.similarity.rows_of(index)
            self.place.update(zip(index.tolist(), places, strict=True))
        place = self.place.pop(i)
        self.empty.append(place)
        return self.kept[place]
