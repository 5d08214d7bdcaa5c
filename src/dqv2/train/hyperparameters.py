"""How a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Hyperparameters:
    """How a network is trained: SGD with Nesterov momentum, or AdamW, under a one-cycle or a cosine schedule.

    Exactly one of `epochs` and `iterations` is set.
    """

    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    augment: dict[str, Any]  # crop, pad and flip, as `Augmentation.draw` takes them
    optimiser: str = "sgd"
    schedule: str = "one_cycle"
    label_smoothing: float = 0.0
    mix: str = "none"
    mixup_alpha: float = 0.2
    cutmix_alpha: float = 1.0
    epochs: int | None = None
    iterations: int | None = None
    # What to do where a batch does not fit into GPU memory. "exact": sum its gradient over parts of it, where that is
    # the same gradient; "approximate": also with batch normalisation or dropout (see `train.step`); "fail": never
    on_out_of_memory: str = "exact"
    # "float32": convolutions use TF32 on GPUs that support it, PyTorch's default. "bfloat16": where autocast considers
    # it safe; weights, sums and the loss stay float32. "auto": the fastest (`runtime.device.fast_precision`)
    precision: str = "float32"
    compile: bool = False  # whether to compile the network with torch.compile, which first takes about a minute

    @classmethod
    def of(cls, options: dict[str, Any]) -> Hyperparameters:
        """The hyperparameters among a stage's options."""
        names = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in options.items() if key in names})

    def steps(self, n: int) -> tuple[int, int]:
        """(total steps, steps per epoch) for n images."""
        per_epoch = math.ceil(n / self.batch_size)
        if n % self.batch_size == 1 and n > 1:
            per_epoch -= 1  # batch normalisation cannot learn from a batch of one
        return (self.iterations or self.epochs * per_epoch), per_epoch
