"""The loop that every training goes through: epochs over a shuffled order, with checkpoints between any two steps."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from dqv2.runtime import stop
from dqv2.runtime.logging import logger
from dqv2.runtime.resume import Resume

CHECKPOINT_SECONDS = 300.0


class Stateful(Protocol):
    """What a checkpoint can keep."""

    def state_dict(self) -> dict[str, Any]:
        """What has changed since it was made."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Go on from there."""


class CheckpointedLoop:
    """Counts the steps of a training, and keeps what it takes to go on after any of them, bit for bit.

    The caller makes the steps:

        with stop.deferred():
            for batches in loop.epochs():
                for rows in batches:
                    ...
                    loop.stepped(loss)

    Args:
        n: images.
        per_epoch, total: batches of an epoch (what is left over then is not trained on), and steps in all.
        parts: by name, what else has a state: network, optimiser, schedule, ...
        order_draws, draws: what the order of each epoch, and the steps, are drawn from; may be the same generator.
        remedy: what to do where a loss is not a number, in words.
        resume: where checkpoints go, and where the training goes on from; None keeps none.
        seconds: a checkpoint is kept at the first step after so many.
        saves: whether this process keeps checkpoints; of several with the same state one does.
        agree: from the signal that asked this process to stop, or None, to the one that all of them act on.

    `step` and `epoch` say how many are done, `losses` has the mean loss of each epoch.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        per_epoch: int,
        total: int,
        parts: Mapping[str, Stateful],
        order_draws: torch.Generator,
        draws: torch.Generator,
        device: torch.device,
        remedy: str,
        resume: Resume | None = None,
        seconds: float = CHECKPOINT_SECONDS,
        saves: bool = True,
        agree: Callable[[int | None], int | None] = lambda asked: asked,
    ):
        self.n, self.batch_size, self.per_epoch, self.total = n, batch_size, per_epoch, total
        self.parts, self.order_draws, self.draws, self.remedy = parts, order_draws, draws, remedy
        self.resume, self.every, self.saves, self.agree = resume, seconds, saves, agree
        self.step, self.epoch, self.losses = 0, 0, []
        self._order: Tensor | None = None
        self._epoch_losses: list[Tensor] = []  # of the epoch at hand, not read from the device
        before = 0.0
        if resume and (state := resume.load()):
            for name, part in parts.items():
                part.load_state_dict(state["parts"][name])
            order_draws.set_state(state["order_draws"])
            draws.set_state(state["draws"])
            self.step, self.epoch, self.losses = state["step"], state["epoch"], state["losses"]
            self._order, before = state["order"], state["seconds"]
            self._epoch_losses = [loss.to(device) for loss in state["epoch_losses"]]
            logger.info("goes on from the checkpoint at step %d of %d (after epoch %d)", self.step, total, self.epoch)
        self._kept = time.monotonic()
        self._began = self._kept - before

    @property
    def seconds(self) -> float:
        """Spent so far, in a try that was cut off up to its checkpoint."""
        return time.monotonic() - self._began

    def epochs(self) -> Iterator[tuple[Tensor, ...]]:
        """For each epoch, int64[B] of each batch that is still to do; after each of them call `stepped`.

        Raises FloatingPointError where the loss is not a number; says in which epoch and step.
        """
        while self.step < self.total or self._order is not None:
            if self._order is None:
                self._order, self._epoch_losses = torch.randperm(self.n, generator=self.order_draws), []
            batches = self._order.split(self.batch_size)[len(self._epoch_losses) : self.per_epoch]
            yield batches[: self.total - self.step]
            self.epoch += 1
            self.losses.append(self._mean())
            self._order = None
            logger.info("epoch %d, step %d of %d: loss %.4f", self.epoch, self.step, self.total, self.losses[-1])

    def stepped(self, loss: Tensor, drawn: Tensor | None = None) -> None:
        """Count a step.

        loss: of the step; not waited for before the epoch ends. drawn: state of `draws` after the step, where more was
        drawn ahead since. Raises Stopped where the process was asked to stop; a checkpoint was kept.
        """
        self._epoch_losses.append(loss)
        self.step += 1
        if signum := self.agree(stop.asked()):
            if self.resume:
                self._keep(drawn)
                logger.info("keeps a checkpoint at step %d of %d", self.step, self.total)
            raise stop.Stopped(signum)
        if self.resume and self.step < self.total and time.monotonic() - self._kept >= self.every:
            self._keep(drawn)
            self._kept = time.monotonic()

    def _keep(self, drawn: Tensor | None) -> None:
        if not self.saves:
            return
        self.resume.save(
            {
                "parts": {name: part.state_dict() for name, part in self.parts.items()},
                "order_draws": self.order_draws.get_state(),
                "draws": self.draws.get_state() if drawn is None else drawn,
                "step": self.step,
                "epoch": self.epoch,
                "order": self._order,
                "epoch_losses": self._epoch_losses,
                "losses": self.losses,
                "seconds": self.seconds,
            }
        )

    def _mean(self) -> float:
        """The mean loss of the epoch that has just ended."""
        losses = torch.stack(self._epoch_losses)
        if not torch.isfinite(losses).all():
            first = int((~torch.isfinite(losses)).nonzero()[0])
            step = self.step - len(losses) + first + 1
            raise FloatingPointError(
                f"the loss is not a number in epoch {self.epoch}, step {step} of {self.total}: {self.remedy}"
            )
        return float(losses.mean())
