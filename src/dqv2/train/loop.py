"""A training in this process."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dqv2.runtime import stop
from dqv2.runtime.resume import Resume
from dqv2.runtime.seeding import derive_seed, generator, seeded
from dqv2.train.backgrounds import FreshTobias
from dqv2.train.batch import Batches
from dqv2.train.checkpointed import CheckpointedLoop, Stateful
from dqv2.train.feed import Feed
from dqv2.train.group import Group
from dqv2.train.hyperparameters import Hyperparameters
from dqv2.train.step import Stepper


class Watch(Stateful, Protocol):
    """Somebody who looks at a training, batch by batch, and whose state belongs into a checkpoint."""

    def __call__(self, epoch: int, rows: Tensor, right: Tensor) -> None:
        """Epoch from 0; `right` bool[B]: which of the images `rows` int64[B] were classified rightly."""


@dataclass(frozen=True)
class History:
    """What a training printed: the mean loss of each epoch, and seconds spent; `part`: as in `train.step.Stepper`."""

    losses: list[float]
    seconds: float
    part: int


def train(
    model: nn.Module,
    images: Tensor | Any,
    labels: Tensor,
    hyperparameters: Hyperparameters,
    *,
    seed: int,
    purpose: str,
    device: torch.device,
    resume: Resume | None,
    fresh: FreshTobias | None,
    mixed: tuple[Tensor, float] | None,
    watch: Watch | None,
    checkpoint_seconds: float,
    group: Group | None = None,
) -> History:
    """`train.fit.fit` in this process, alone or as one of `group`."""
    total, per_epoch = hyperparameters.steps(len(images))
    model.to(device, memory_format=torch.channels_last).train()
    feed = Feed(images, device)
    batches = Batches(feed, labels, hyperparameters, fresh=fresh, mixed=mixed, part=group and group.part)
    network = group.wrap(model) if group else model
    if hyperparameters.compile:
        network = torch.compile(network, dynamic=False)  # a batch has but two sizes, the last one's and the others'
    optimiser = _optimiser(model, hyperparameters)
    make_step = Stepper(network, optimiser, hyperparameters, group)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=hyperparameters.learning_rate, total_steps=total, cycle_momentum=False
    )
    parts = {"model": model, "optimiser": optimiser, "schedule": schedule, "step": make_step}
    draws, rank = generator(seed, purpose, "augmentation"), group.rank if group else 0
    loop = CheckpointedLoop(
        len(images),
        hyperparameters.batch_size,
        per_epoch=per_epoch,
        total=total,
        parts=parts if watch is None else parts | {"watch": watch},
        # Apart, so that an arm that draws more than another still sees the images in the same order
        order_draws=generator(seed, purpose, "order"),
        draws=draws,
        device=device,
        remedy=f"lower learning_rate (now {hyperparameters.learning_rate:g})",
        resume=resume,
        seconds=checkpoint_seconds,
        saves=rank == 0,
        **({"agree": group.agree} if group else {}),
    )
    with stop.deferred(), seeded(seed, purpose, "network", device=device):
        for rows in loop.epochs():
            for batch in batches(rows, draws):
                # Dropout draws from the global generator; set at each step it needs no place in a checkpoint
                torch.manual_seed(derive_seed(seed, purpose, "network", loop.step, rank))
                loss, logits = make_step(batch)
                if watch is not None:
                    right = logits.argmax(1) == batch.target.labels
                    watch(loop.epoch, batch.rows, group.gather(right, len(batch.rows)) if group else right)
                schedule.step()
                loop.stepped(loss, batch.draws)
    return History(loop.losses, loop.seconds, make_step.part)


def _optimiser(model: nn.Module, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    # Fused: one kernel over all weights
    common = {"lr": hyperparameters.learning_rate, "weight_decay": hyperparameters.weight_decay, "fused": True}
    if hyperparameters.optimiser == "adamw":
        return torch.optim.AdamW(model.parameters(), **common)
    return torch.optim.SGD(
        model.parameters(), momentum=hyperparameters.momentum, nesterov=hyperparameters.momentum > 0, **common
    )
