"""How a network is trained, and the backgrounds that a training draws anew."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dqv2.runtime.device import send
from dqv2.semantic.compose import compose, tobias_cells


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum, or AdamW, under a one-cycle schedule.

    Exactly one of `epochs` and `iterations` is set. `augment` holds the arguments of `train.augment.augment`.

    Attributes:
        on_out_of_memory: what follows where a GPU's memory does not suffice for a batch. "exact": the batch's gradient
            is summed over parts of it, where that is the same gradient; a network with batch normalisation or dropout
            is refused. "approximate": those are taken too; see `train.step`. "fail": none is.
        precision: of the network's arithmetic. "float32"; on GPUs that have it convolutions use TF32, as is PyTorch's
            default. "bfloat16": where autocast finds it safe; weights, sums and the loss stay float32.
        compile: whether torch.compile translates the network, which takes a minute or so first.
    """

    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    augment: dict[str, Any]
    optimiser: str = "sgd"
    label_smoothing: float = 0.0
    mix: str = "none"
    mixup_alpha: float = 0.2
    cutmix_alpha: float = 1.0
    epochs: int | None = None
    iterations: int | None = None
    on_out_of_memory: str = "exact"
    precision: str = "float32"
    compile: bool = False

    @classmethod
    def of(cls, options: dict[str, Any]) -> Recipe:
        """The recipe among a stage's options."""
        names = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in options.items() if key in names})

    def steps(self, n: int) -> tuple[int, int]:
        """(steps in all, steps an epoch) for n images."""
        per_epoch = math.ceil(n / self.batch_size)
        if n % self.batch_size == 1 and n > 1:
            per_epoch -= 1  # batch normalisation cannot learn from a batch of one
        return (self.iterations or self.epochs * per_epoch), per_epoch


class Backgrounds(NamedTuple):
    """What was drawn for a batch of B: int64[B] donors within the batch, their cells int64[B, s·s], bool[B] chosen."""

    donors: Tensor
    cells: Tensor
    chosen: Tensor


@dataclass(frozen=True)
class FreshTobias:
    """Another image's background for a share of each batch, drawn anew at every visit.

    Attributes:
        masks: bool[N, s, s], the foreground of each training image.
        share: of the images of a batch; their donors are other images of the batch.
    """

    masks: Tensor
    share: float

    def draw(self, rows: Tensor, draws: torch.Generator) -> Backgrounds:
        """For the images `rows` int64[B], on the CPU."""
        n = len(rows)
        donors = (torch.arange(n) + int(torch.randint(1, max(n, 2), (1,), generator=draws))) % n
        cells = tobias_cells(self.masks[rows], donors, generator=draws)
        return Backgrounds(donors, cells, torch.rand(n, generator=draws) < self.share)

    @staticmethod
    def compose(images: Tensor, donor_images: Tensor, cells: Tensor, chosen: Tensor) -> Tensor:
        """uint8[B, 3, H, W] twice, the second the donors -> the first with the backgrounds of those chosen replaced."""
        cells = cells.pin_memory() if images.is_cuda else cells
        composed = compose(images, donor_images, cells)
        return torch.where(send(chosen, images.device)[:, None, None, None], composed, images)

    def __call__(self, images: Tensor, rows: Tensor, draws: torch.Generator) -> Tensor:
        """uint8[B, 3, H, W] of `rows` int64[B] -> the same with some backgrounds replaced."""
        drawn = self.draw(rows, draws)
        return self.compose(images, images[send(drawn.donors, images.device)], drawn.cells, drawn.chosen)
