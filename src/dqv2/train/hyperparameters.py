"""How a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from dqv2.arguments import check_positive, is_number, is_whole
from dqv2.declared import check_choice
from dqv2.train.choices import CHOICES

_WORDS = ("optimiser", "schedule", "mix", "on_out_of_memory", "precision")
_NUMBERS = {  # what the settings must be -> whether a number is that, and the settings
    "a positive, finite number": (lambda x: 0 < x < math.inf, ("learning_rate", "mixup_alpha", "cutmix_alpha")),
    "a finite number of at least 0": (lambda x: 0 <= x < math.inf, ("weight_decay",)),
    "a number of at least 0 and below 1": (lambda x: 0 <= x < 1, ("momentum", "label_smoothing")),
}
_AUGMENT = {"crop", "pad", "flip"}


@dataclass(frozen=True)
class Hyperparameters:
    """How a network is trained: SGD with Nesterov momentum, or AdamW, under a one-cycle or a cosine schedule.

    Exactly one of `epochs` and `iterations` is set. Raises ValueError for a setting that is not possible.
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

    def __post_init__(self) -> None:
        for name in _WORDS:
            check_choice(getattr(self, name), name, CHOICES[name])
        for wanted, (holds, names) in _NUMBERS.items():
            for name in names:
                if not is_number(value := getattr(self, name)) or not holds(value):
                    raise ValueError(f"{name} must be {wanted}, got {value!r}")
        check_positive(self.batch_size, "batch_size")
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("give either epochs or iterations, not both and not neither")
        length = "iterations" if self.epochs is None else "epochs"
        check_positive(getattr(self, length), length)
        if not isinstance(self.augment, dict) or set(self.augment) != _AUGMENT:
            raise ValueError(f"augment must be a dict of crop, pad and flip, got {self.augment!r}")
        check_choice(self.augment["crop"], "crop of augment", CHOICES["crop"])
        if not is_whole(pad := self.augment["pad"]) or pad < 0:
            raise ValueError(f"pad of augment must be an integer of at least 0, got {pad!r}")
        for name, value in {"flip of augment": self.augment["flip"], "compile": self.compile}.items():
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, got {value!r}")

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
