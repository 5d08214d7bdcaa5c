"""The loop shared by all trainings: epochs over a shuffled order, with checkpoints possible after every step."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dqv2.arguments import check_differentiable
from dqv2.runtime import stop
from dqv2.runtime.logging import logger
from dqv2.runtime.resume import Resume
from dqv2.train.group import Group
from dqv2.weights import trained_values

CHECKPOINT_SECONDS = 300.0


class Stateful(Protocol):
    """An object whose state a checkpoint can hold."""

    def state_dict(self) -> dict[str, Any]:
        """The current state."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Restore a state."""


def check_trainable(model: nn.Module) -> None:
    """Raise ValueError where nothing of a model can be trained."""
    check_differentiable(model)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError(f"no weight of {type(model).__name__} requires a gradient, so there is nothing to train")


class CheckpointedLoop:
    """Counts the steps of a training, and saves what is needed to resume after any of them, bit for bit.

    The caller makes the steps:

        with stop.deferred():
            for batches in loop.epochs():
                for rows in batches:
                    ...
                    loop.stepped(loss)

    Args:
        n: number of images.
        batch_size: images per step.
        per_epoch, total: batches per epoch (images left over are not trained on), and total number of steps.
        parts: name -> other objects with a state: "model", optimiser, schedule, ...
        order_draws, draws: generators of each epoch's order, and of the steps; may be the same.
        device: of the losses.
        remedy: what to do where a loss is not finite, as a clause for the message.
        resume: where checkpoints are saved and loaded; None: no checkpoints.
        seconds: a checkpoint is saved at the first step after this many.
        group: the processes that have the same state, if there are several: the first saves checkpoints, and all stop
            after the same step.

    `step` and `epoch` count those completed, `losses` has the mean loss of each epoch.
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
        group: Group | None = None,
    ):
        self.n, self.batch_size, self.per_epoch, self.total = n, batch_size, per_epoch, total
        self.parts, self.order_draws, self.draws, self.remedy = parts, order_draws, draws, remedy
        self.resume, self.every, self.group = resume, seconds, group
        self.step, self.epoch, self.losses = 0, 0, []
        self._order: Tensor | None = None
        self._epoch_losses: list[Tensor] = []  # of the current epoch, not read from the device
        before = 0.0
        if resume and (state := resume.load()):
            for name, part in parts.items():
                part.load_state_dict(state["parts"][name])
            order_draws.set_state(state["order_draws"])
            draws.set_state(state["draws"])
            self.step, self.epoch, self.losses = state["step"], state["epoch"], state["losses"]
            self._order, before = state["order"], state["seconds"]
            self._epoch_losses = [loss.to(device) for loss in state["epoch_losses"]]
            logger.info("resumes from the checkpoint at step %d of %d (after epoch %d)", self.step, total, self.epoch)
        self._kept = time.monotonic()
        self._began = self._kept - before

    @property
    def seconds(self) -> float:
        """Seconds spent so far, including those of interrupted runs up to their checkpoint."""
        return time.monotonic() - self._began

    def epochs(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield for each epoch the rows, int64[B], of its remaining batches; call `stepped` after each batch.

        Raises FloatingPointError, with epoch and step, where a loss is not finite, or the model after the last step.
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
        # No loss tells of the last step, nor of running statistics, which only evaluation uses
        for name, value in trained_values(self.parts["model"]).items():
            if not torch.isfinite(value).all():
                raise FloatingPointError(
                    f"after the last step, {self.step} of {self.total}, {name} of the network is not finite: "
                    f"{self.remedy}"
                )

    def stepped(self, loss: Tensor, drawn: Tensor | None = None) -> None:
        """Count a step.

        loss: of the step; not read before the epoch ends. drawn: state of `draws` after the step, if more has been
        drawn ahead. Raises Stopped where the process was asked to stop, after saving a checkpoint.
        """
        self._epoch_losses.append(loss)
        self.step += 1
        if signum := self.group.agree(stop.asked()) if self.group else stop.asked():
            if self.resume:
                self._keep(drawn)
                logger.info("saved a checkpoint at step %d of %d", self.step, self.total)
            raise stop.Stopped(signum)
        if self.resume and self.step < self.total and time.monotonic() - self._kept >= self.every:
            self._keep(drawn)
            self._kept = time.monotonic()

    def _keep(self, drawn: Tensor | None) -> None:
        if self.group and self.group.rank > 0:
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
