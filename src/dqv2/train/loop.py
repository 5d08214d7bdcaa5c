"""The training loop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from dqv2.runtime import stop
from dqv2.runtime.logging import logger
from dqv2.runtime.resume import Resume
from dqv2.runtime.seeding import derive_seed, generator, seeded
from dqv2.train.backgrounds import FreshTobias
from dqv2.train.batch import Batches
from dqv2.train.feed import Feed
from dqv2.train.hyperparameters import Hyperparameters
from dqv2.train.step import Stepper

if TYPE_CHECKING:
    from dqv2.train.parallel import Group


class Watch(Protocol):
    """Somebody who looks at a training, batch by batch, and whose state belongs into a checkpoint."""

    def __call__(self, epoch: int, rows: Tensor, right: Tensor) -> None:
        """Epoch from 0; `right` bool[B]: which of the images `rows` int64[B] were classified rightly."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""


@dataclass
class History:
    """What a training printed: the mean loss of each epoch, and seconds spent; `part`: as in `train.step.Stepper`."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    part: int = 0


def fit(
    model: nn.Module,
    images: Tensor | Any,
    labels: Tensor,
    hyperparameters: Hyperparameters,
    *,
    seed: int,
    purpose: str,
    device: torch.device,
    resume: Resume | None = None,
    fresh: FreshTobias | None = None,
    mixed: tuple[Tensor, float] | None = None,
    watch: Watch | None = None,
    devices: int = 1,
    checkpoint_seconds: float = 300.0,
) -> History:
    """Train `model` in place.

    Args:
        model: on any device; moved to `device`.
        images: uint8[N, 3, H, W], a tensor or what is indexed by rows; kept on `device` for the whole training where
            they fit, else read batch by batch (`Feed`).
        labels: int64[N].
        hyperparameters: how.
        seed, purpose: what the order of the images and the augmentation are drawn from.
        device: where.
        resume: where checkpoints go; a training that was cut off goes on from its last and ends in the same weights.
        fresh: backgrounds drawn anew, or None.
        mixed: a second label of each image, int64[N], and the share in [0, 1] of its own, for images that are mixed
            already (not with the hyperparameters' own `mix`).
        watch: told after each batch which of its images were classified rightly.
        devices: how many devices share each batch; with more than one, a process for each (`train.parallel`), and
            the same weights up to the order of sums.
        checkpoint_seconds: at the first step after so many seconds a checkpoint is kept.

    Raises:
        Stopped: the process was asked to stop; after the step at hand a checkpoint was kept.
        FloatingPointError: the loss is not a number; says at which epoch and step.
        RuntimeError: the device's memory does not suffice; names the batch size and the key to change.
    """
    n = len(images)
    if len(labels) != n:
        raise ValueError(f"there are {n} images and {len(labels)} labels; every image needs one")
    if n < 2:
        raise ValueError(f"{n} images are too few to train on: raise keep_ratio")
    if mixed and hyperparameters.mix != "none":
        raise ValueError(f"images that are mixed already cannot be mixed again: mix is {hyperparameters.mix}")
    how: dict[str, Any] = {"seed": seed, "purpose": purpose, "resume": resume, "fresh": fresh, "mixed": mixed}
    how |= {"watch": watch, "checkpoint_seconds": checkpoint_seconds}
    if devices == 1:
        return train(model, images, labels, hyperparameters, device=device, **how)
    from dqv2.train.parallel import fit_on_several

    data = {"images": images, "labels": labels, "hyperparameters": hyperparameters}
    return fit_on_several(model, devices=devices, device=device, **data, **how)


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
    """`fit` in this process, alone or as one of `group`."""
    n = len(images)
    total, per_epoch = hyperparameters.steps(n)
    model.to(device, memory_format=torch.channels_last).train()
    batches = Batches(
        Feed(images, device), labels, hyperparameters, fresh=fresh, mixed=mixed, part=group and group.part
    )
    network = group.wrap(model) if group else model
    if hyperparameters.compile:
        network = torch.compile(network, dynamic=False)  # a batch has but two sizes, the last one's and the others'
    optimiser = _optimiser(model, hyperparameters)
    make_step = Stepper(network, optimiser, hyperparameters, group)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=hyperparameters.learning_rate, total_steps=total, cycle_momentum=False
    )
    # Apart, so that an arm that draws more than another still sees the images in the same order
    order_draws, draws = generator(seed, purpose, "order"), generator(seed, purpose, "augmentation")
    history, step, epoch = History(), 0, 0
    order, losses = None, []  # of the epoch at hand
    state = resume.load() if resume else None
    if state:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        order_draws.set_state(state["order_draws"])
        draws.set_state(state["draws"])
        make_step.part = state.get("part", hyperparameters.batch_size)
        if watch is not None:
            watch.load_state_dict(state["watch"])
        step, epoch, order = state["step"], state["epoch"], state["order"]
        losses = [loss.to(device) for loss in state["epoch_losses"]]
        history = History(state["losses"], state["seconds"])
        logger.info("goes on from the checkpoint at step %d of %d (after epoch %d)", step, total, epoch)
    began, kept = time.monotonic() - history.seconds, time.monotonic()

    def keep(drawn: Tensor) -> None:
        if group and group.rank:
            return  # all have the same state
        resume.save(
            {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "order_draws": order_draws.get_state(),
                "draws": drawn,
                "part": make_step.part,
                "watch": watch.state_dict() if watch is not None else None,
                "step": step,
                "epoch": epoch,
                "order": order,
                "epoch_losses": losses,
                "losses": history.losses,
                "seconds": time.monotonic() - began,
            }
        )

    rank = group.rank if group else 0
    with stop.deferred(), seeded(seed, purpose, "network", device=device):
        while step < total or order is not None:
            if order is None:
                order, losses = torch.randperm(n, generator=order_draws), []
            parts = order.split(hyperparameters.batch_size)[len(losses) : per_epoch][: total - step]
            for batch in batches(parts, draws):
                # Dropout draws from the global generator; set at each step it needs no place in a checkpoint
                torch.manual_seed(derive_seed(seed, purpose, "network", step, rank))
                loss, logits = make_step(batch)
                losses.append(loss)
                if watch is not None:
                    right = logits.argmax(1) == batch.target.labels
                    watch(epoch, batch.rows, group.gather(right, len(batch.rows)) if group else right)
                schedule.step()
                step += 1
                if signum := group.agree(stop.asked()) if group else stop.asked():
                    if resume:
                        keep(batch.draws)
                        logger.info("keeps a checkpoint at step %d of %d", step, total)
                    raise stop.Stopped(signum)
                if resume and step < total and time.monotonic() - kept >= checkpoint_seconds:
                    keep(batch.draws)
                    kept = time.monotonic()
            epoch += 1
            history.losses.append(_mean(losses, epoch, step, total, hyperparameters))
            history.seconds, history.part = time.monotonic() - began, make_step.part
            logger.info("epoch %d, step %d of %d: loss %.4f", epoch, step, total, history.losses[-1])
            order, losses = None, []
    return history


def _mean(losses: list[Tensor], epoch: int, step: int, total: int, hyperparameters: Hyperparameters) -> float:
    """The mean loss of an epoch that ended at `step`."""
    loss = torch.stack(losses)
    if not torch.isfinite(loss).all():
        first = int((~torch.isfinite(loss)).nonzero()[0])
        raise FloatingPointError(
            f"the loss is not a number in epoch {epoch}, step {step - len(losses) + first + 1} of {total}: "
            f"lower learning_rate (now {hyperparameters.learning_rate:g})"
        )
    return float(loss.mean())


def _optimiser(model: nn.Module, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    # Fused: one kernel over all weights
    common = {"lr": hyperparameters.learning_rate, "weight_decay": hyperparameters.weight_decay, "fused": True}
    if hyperparameters.optimiser == "adamw":
        return torch.optim.AdamW(model.parameters(), **common)
    return torch.optim.SGD(
        model.parameters(), momentum=hyperparameters.momentum, nesterov=hyperparameters.momentum > 0, **common
    )
