"""The greedy steps of GraphCut, one class at a time on the host; `batched` does many classes at once on a GPU."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from dqv2.select.similarity import Cosine

_ROWS_AHEAD = 128


def tolerance(n: int, width: int, lam: float) -> float:
    """Gains of n items that differ by less are equal: rounding alone makes them differ.

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
    """Place of each item in the order of choice, int64[n]; sum(budgets) for items that are not chosen.

    One greedy run after the other, of as many items as each budget says, from what the runs before left. Only
    differences of gains count, so cosines stand for similarities, and half of each gain is computed.

    similarity: of the n items; may be used up, as it holds fewer items after a run.
    max_bytes: above n²·8 rows are computed as they are needed (`_RowsAhead`); the result is the same.
    turn: held during the steps. Of threads that took steps at once each would wait for the interpreter several
        times a step (four times as long in all for classes of 500), while matrices are made beside them at no cost.
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
            # In O(n) but for factored gradients, whose columns are far more than the rows of a matrix at hand.
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
    """Rows of the similarity where all of them do not fit: those of the next candidates, many at a time.

    One row takes a pass over all features, limited by memory; a block of rows takes hardly longer. A row stays
    what it is, so those of the items with the largest gains are computed ahead and kept until they are chosen.
    """

    def __init__(self, similarity: Cosine, max_bytes: int):
        self.similarity = similarity
        self.kept = np.empty((max(1, min(max_bytes // (8 * len(similarity)), 4 * _ROWS_AHEAD)), len(similarity)))
        self._forget()

    def _forget(self) -> None:
        self.place: dict[int, int] = {}  # where in `kept` the row of an item is
        self.empty = list(range(len(self.kept)))

    def row(self, i: int, gain: np.ndarray) -> np.ndarray:
        """Row of item i, which is chosen now, valid until the next call; `gain` says who may be chosen soon."""
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
