"""GraphCut's greedy steps for many classes at once, on GPUs: whole-tensor operations, nothing read back to the host.

Gives the same result as `greedy.greedy_ranks` class by class, and is tested against it on the CPU, where the same code
runs.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from dqv2.select.greedy import tolerance
from dqv2.select.similarity import Features, take, unit_factors

# Steps in one CUDA graph: one launch instead of about ten kernels a step. Steps beyond a budget change nothing.
_GRAPH_STEPS = 16


def batched_ranks(
    features: Features, classes: Sequence[Tensor], budgets: Sequence[Sequence[int]], lam: float
) -> list[Tensor]:
    """`greedy_ranks` of each class, in the order of `classes`: int64[n] each, on the device of the features.

    classes: item indices of each class. Memory for all of them is held at once: their Gram matrices, padded to the
    largest class, and their features in float64 (`group_bytes`).
    """
    sizes = [len(members) for members in classes]
    gram, width = _gram(features, classes)
    slack = torch.tensor([tolerance(n, width, lam) for n in sizes], dtype=torch.float64)
    rank = _steps(gram, sizes, budgets, slack, lam)
    return [row[:n] for row, n in zip(rank, sizes, strict=True)]


def group_bytes(sizes: Sequence[int], widths: Sequence[int]) -> int:
    """Peak memory of `batched_ranks` in bytes, for classes of these sizes and factors of these numbers of columns."""
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


def _gram(features: Features, classes: Sequence[Tensor]) -> tuple[Tensor, int]:
    """Cosines within each class, float64[B, L, L], zero beyond a class's end; and the columns of all factors."""
    sizes = [len(members) for members in classes]
    factors = list(unit_factors(take(features, torch.cat(list(classes)))))
    device = factors[0].device
    width, gram = sum(factor.shape[1] for factor in factors), None
    # Where each row goes among [B·L] padded ones.
    place = torch.cat([torch.arange(n) + b * max(sizes) for b, n in enumerate(sizes)]).to(device)
    while factors:
        rows = factors.pop(0)
        padded = rows.new_zeros(len(sizes) * max(sizes), rows.shape[1]).index_copy_(0, place, rows)
        del rows
        padded = padded.view(len(sizes), max(sizes), -1)
        product = torch.bmm(padded, padded.mT)
        del padded
        gram = product if gram is None else gram.mul_(product)
    return gram, width


def _steps(gram: Tensor, sizes: Sequence[int], budgets: Sequence[Sequence[int]], slack: Tensor, lam: float) -> Tensor:
    """Place of each item in its class's order of choice, int64[B, L]; sum(budgets) where it is not chosen."""
    device, (count, longest, _) = gram.device, gram.shape
    flat = gram.view(count * longest, longest)
    never = torch.tensor([sum(b) for b in budgets]).to(device)[:, None]
    position = torch.arange(longest, device=device)
    own = torch.arange(count, device=device) * longest
    rank = never.repeat(1, longest)
    free = position < torch.tensor(sizes).to(device)[:, None]
    sums = gram.sum(1)
    slack, base, taken = slack.to(device)[:, None], torch.full_like(sums, -torch.inf), torch.zeros_like(sums)
    done, goal = torch.zeros_like(own), torch.zeros_like(own)

    def step() -> None:
        gain = base - taken
        near = gain >= gain.amax(1, keepdim=True) - slack
        # The lowest index explicitly: which of several equal values argmax returns is unspecified on CUDA.
        i = position.expand(count, -1).masked_fill(~near, longest).amin(1)
        active = done < goal
        hit = (position == i[:, None]) & active[:, None]
        taken.add_(flat.index_select(0, own + i) * active[:, None])
        base.masked_fill_(hit, -torch.inf)
        rank.copy_(torch.where(hit, done[:, None], rank))
        done.add_(active)

    run = _repeated(step, device)
    for part in zip(*budgets, strict=True):
        if max(part) == 0:
            continue
        goal.add_(torch.tensor(part).to(device))
        base.copy_(torch.where(free, sums * (lam / 2), -torch.inf))
        run(max(part))
        free &= rank == never
        sums.sub_(taken)
        taken.zero_()
    return rank


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
        with torch.cuda.graph(graph):
            for _ in range(_GRAPH_STEPS):
                step()

    def replay(times: int) -> None:
        for _ in range(0, times, _GRAPH_STEPS):
            graph.replay()

    return replay
