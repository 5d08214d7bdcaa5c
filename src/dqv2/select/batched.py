"""GraphCut's greedy steps for many classes at once, on GPUs: whole-tensor operations, nothing read back to the host.

Gives the same result as `greedy.greedy_ranks` class by class, and is tested against it on the CPU, where the same code
runs.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from dqv2.select.greedy import tolerance
from dqv2.select.similarity import Features, device_of, take, unit_factors
from dqv2.select.threads import as_here

# Steps in one CUDA graph: one launch instead of about ten kernels a step. Steps beyond a budget change nothing.
_GRAPH_STEPS = 16


class Groups:
    """Ranks groups of classes, one after another; what a group needs on the device is used again by the next one of the
    same shape.

    threads: classes whose features are read at once.
    """

    def __init__(self, features: Features, lam: float, threads: int):
        self.features, self.lam, self.threads = features, lam, threads
        self.steps: _Steps | None = None

    def ranks(self, classes: Sequence[Tensor], budgets: Sequence[Sequence[int]]) -> list[Tensor]:
        """`greedy_ranks` of each class, in the order of `classes`: int64[n] each, on the device of the features.

        classes: item indices of each class. Memory for all of them is held at once: their Gram matrices, padded to the
        largest class, and their features in float64 (`group_bytes`).
        """
        sizes = [len(members) for members in classes]
        shape = len(classes), max(sizes)
        if self.steps and self.steps.shape != shape:
            self.steps = None  # a GPU frees its memory before more is read
        device = device_of(self.features)
        stream = torch.cuda.current_stream(device) if device.type == "cuda" else None

        def read(members: Tensor) -> list[Tensor]:
            with torch.cuda.stream(stream):  # it belongs to a thread
                return list(unit_factors(take(self.features, members)))

        with ThreadPoolExecutor(self.threads, "graphcut", torch.set_num_threads, (1,)) as pool:
            factors = list(pool.map(as_here(read), classes))
        width = sum(factor.shape[1] for factor in factors[0])
        self.steps = self.steps or _Steps(*shape, device)
        for k in range(len(factors[0])):
            _multiply_gram(self.steps.gram, [own[k] for own in factors], first=k == 0)
        slack = torch.tensor([tolerance(n, width, self.lam) for n in sizes], dtype=torch.float64)
        rank = self.steps(sizes, budgets, slack, self.lam)
        return [row[:n].clone() for row, n in zip(rank, sizes, strict=True)]


def group_bytes(sizes: Sequence[int], widths: Sequence[int]) -> int:
    """Peak memory of `Groups.ranks` in bytes, for classes of these sizes and factors of these numbers of columns."""
    longest = max(sizes)
    padded = len(sizes) * longest * 8
    # Per factor: its columns, once padded and once or twice unpadded; and at most two Gram matrices at a time.
    return padded * (3 * max(widths) + sum(widths) + min(2, len(widths)) * longest + 8)


def groups(sizes: Sequence[int], widths: Sequence[int], max_bytes: int) -> Iterator[list[int]]:
    """Group classes of similar size, so that little is padding; each group fits into max_bytes or is a single class.

    Yields lists of indices into `sizes`.
    """
    group: list[int] = []
    for c in sorted(range(len(sizes)), key=lambda c: -sizes[c]):
        if group and group_bytes([sizes[k] for k in [*group, c]], widths) > max_bytes:
            yield group
            group = []
        group.append(c)
    if group:
        yield group


def _multiply_gram(gram: Tensor, factors: Sequence[Tensor], *, first: bool) -> None:
    """Multiply `gram`, float64[B, L, L], by the dot products of each class's rows, float64[n, d]; `first`: overwrite
    it. Entries beyond a class's end are zero."""
    padded = gram.new_zeros(len(gram), gram.shape[1], factors[0].shape[1])
    for rows, factor in zip(padded, factors, strict=True):
        rows[: len(factor)] = factor
    if first:
        torch.bmm(padded, padded.mT, out=gram)
    else:
        gram.mul_(torch.bmm(padded, padded.mT))


class _Steps:
    """The greedy steps of B classes of up to L items at once; `gram`, float64[B, L, L], is theirs to be filled."""

    def __init__(self, count: int, longest: int, device: torch.device):
        self.shape = count, longest
        self.gram = torch.zeros(count, longest, longest, dtype=torch.float64, device=device)
        self.position = torch.arange(longest, device=device)
        self.own = torch.arange(count, device=device) * longest
        self.slack = torch.zeros(count, 1, dtype=torch.float64, device=device)
        self.base, self.taken = (torch.zeros(count, longest, dtype=torch.float64, device=device) for _ in range(2))
        self.rank = torch.zeros(count, longest, dtype=torch.int64, device=device)
        self.done, self.goal = torch.zeros_like(self.own), torch.zeros_like(self.own)
        self.run = _repeated(self._step, device)

    def __call__(self, sizes: Sequence[int], budgets: Sequence[Sequence[int]], slack: Tensor, lam: float) -> Tensor:
        """Place of each item in its class's order of choice, int64[B, L]; sum(budgets) where it is not chosen.

        The result is overwritten by the next call.
        """
        device = self.gram.device
        never = torch.tensor([sum(b) for b in budgets]).to(device)[:, None]
        free = self.position < torch.tensor(sizes).to(device)[:, None]
        sums = self.gram.sum(1)
        self.slack.copy_(slack[:, None])
        self.rank.copy_(never.expand_as(self.rank))
        for state in (self.taken, self.done, self.goal):
            state.zero_()
        for part in zip(*budgets, strict=True):
            if max(part) == 0:
                continue
            self.goal.add_(torch.tensor(part).to(device))
            self.base.copy_(torch.where(free, sums * (lam / 2), -torch.inf))
            self.run(max(part))
            free &= self.rank == never
            sums.sub_(self.taken)
            self.taken.zero_()
        return self.rank

    def _step(self) -> None:
        count, longest = self.shape
        gain = self.base - self.taken
        near = gain >= gain.amax(1, keepdim=True) - self.slack
        # The lowest index explicitly: which of several equal values argmax returns is unspecified on CUDA.
        i = self.position.expand(count, -1).masked_fill(~near, longest).amin(1)
        active = self.done < self.goal
        hit = (self.position == i[:, None]) & active[:, None]
        flat = self.gram.view(count * longest, longest)
        self.taken.add_(flat.index_select(0, self.own + i) * active[:, None])
        self.base.masked_fill_(hit, -torch.inf)
        self.rank.copy_(torch.where(hit, self.done[:, None], self.rank))
        self.done.add_(active)


def _repeated(step: Callable[[], None], device: torch.device) -> Callable[[int], None]:
    """A function that calls `step` at least the given number of times (more must be harmless); on CUDA as a graph."""
    if device.type != "cuda":

        def run(times: int) -> None:
            for _ in range(times):
                step()

        return run
    # A warm-up on a side stream loads the kernels before the capture, as CUDA requires; with all goals 0 it changes
    # nothing.
    with torch.cuda.device(device):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):  # torch's own stream is of the first device that recorded
            for _ in range(_GRAPH_STEPS):
                step()

    def replay(times: int) -> None:
        for _ in range(0, times, _GRAPH_STEPS):
            graph.replay()

    return replay
