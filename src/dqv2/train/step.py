"""One training step: forward, backward, optimiser; and gradient accumulation where the device's memory does not
suffice.

Where a batch does not fit, its gradient can be summed over parts of it: the step is repeated from the same state with
parts of half the size, which later steps keep. All random draws were made for the whole batch before, each part's loss
is weighted by its share of the images, and the optimiser makes one step per batch. So the gradient is that of the
batch, up to the order of sums, for a network that treats images independently.

Batch normalisation does not: it would use each part's mean and variance instead of the batch's, and update its running
statistics once per part. Dropout would draw its zeros part by part. Such a network is refused, unless the
hyperparameters say `on_out_of_memory: approximate`. On several devices it is never tried, as the other processes wait
for the one that failed.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from dqv2.arguments import kind_of
from dqv2.declared import check_choice
from dqv2.runtime.logging import logger
from dqv2.train.batch import Batch, Target
from dqv2.train.graphed import GraphedGradient
from dqv2.train.group import Group
from dqv2.train.hyperparameters import Hyperparameters


class Stepper:
    """Makes training steps of a model in train mode, on its device.

    group: the processes that share each batch. classes: how many the labels count.

    `part` is the number of images that go through the network at once: the batch size, until memory does not suffice.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        hyperparameters: Hyperparameters,
        group: Group | None = None,
        classes: int = 1,
    ):
        self.classes = classes
        self.model, self.optimiser, self.hyperparameters, self.group = model, optimiser, hyperparameters, group
        first = next(model.parameters())
        self.dtype, self.part = first.dtype, hyperparameters.batch_size
        self.changes = not_kept(model)
        # Whether a whole batch may be recorded as a CUDA graph; their number so far; and the graph
        self.may_record, self.whole, self.graph = not group and first.device.type == "cuda", 0, None
        # Buffers that a forward pass changes, and that must be restored after a failed attempt
        policy = hyperparameters.on_out_of_memory
        again = not group and (policy == "approximate" or (policy == "exact" and not self.changes))
        self.buffers = list(model.buffers()) if again or self.may_record else []
        self.before = [torch.empty_like(buffer) for buffer in self.buffers]

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Make one step; returns the loss, not yet read from the device, and the logits, float[B, C].

        Raises RuntimeError, with the batch size and the key to change, where the device's memory does not suffice.
        """
        if self.buffers:
            torch._foreach_copy_(self.before, self.buffers)
        while True:
            try:
                loss, logits = self._gradient(batch)
                break
            except torch.cuda.OutOfMemoryError as error:
                smaller = None if self.graph else self._smaller(batch, error)
            # Outside the except block, as the error keeps the tensors of the attempt alive
            if smaller is None:
                self._give_up_graph("another batch does not fit beside it")
                continue
            self._take_back()
            self.part = smaller
            logger.info(
                "the device's memory does not suffice for %d images at once: the same step again, in parts of at most "
                "%d whose gradients are summed%s",
                len(batch.images),
                smaller,
                f" ({self.changes})" if self.changes else "",
            )
        try:
            self.optimiser.step()
        except torch.cuda.OutOfMemoryError as error:
            raise RuntimeError(
                "the device's memory does not suffice for the optimiser's state: "
                f"lower batch_size (now {self.hyperparameters.batch_size}) of the trainer or backbone"
            ) from error
        return loss, logits

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"part": self.part}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.part = state["part"]

    def _gradient(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute the gradient of the batch's mean loss, into the parameters."""
        self.model.zero_grad(set_to_none=True)
        images = batch.images.to(self.dtype)
        n = len(images)
        if self.group:
            logits = self._forward(images)
            if n:
                loss = mean_loss(logits, batch.target, self.hyperparameters.label_smoothing)
                loss = loss * self.group.weight(n, len(batch.rows))
            else:
                loss = 0 * logits.sum()  # so that this process takes part in the collective operations
            loss.backward()
            return self.group.whole(loss.detach()), logits.detach()
        count = math.ceil(n / self.part)
        if self.changes:
            count = max(1, min(count, n // 2))  # batch normalisation cannot learn from one image
        if count == 1:
            graphed = self._graphed(images, batch.target)
            return graphed(images, batch.target) if graphed else self._mean_gradient(images, batch.target)
        losses, outputs = [], []
        edges = [round(k * n / count) for k in range(count + 1)]
        for where in map(slice, edges, edges[1:]):
            share = (where.stop - where.start) / n
            loss, logits = self._mean_gradient(images[where], batch.target.part(where), share)
            losses.append(loss)
            outputs.append(logits)
        return torch.stack(losses).sum(), torch.cat(outputs)

    def _mean_gradient(self, images: Tensor, target: Target, share: float = 1.0) -> tuple[Tensor, Tensor]:
        """Add the gradient of the images' mean loss, times `share`; returns that loss, and the logits."""
        logits = self._forward(images)
        loss = mean_loss(logits, target, self.hyperparameters.label_smoothing) * share
        loss.backward()
        return loss.detach(), logits.detach()

    def _graphed(self, images: Tensor, target: Target) -> GraphedGradient | None:
        """The gradient as a CUDA graph, for whole batches on a GPU; None where it is computed kernel by kernel.

        So is the first whole batch: whatever a graph needs is then known to come on top of a training that fits.
        """
        if not self.may_record or len(images) != self.hyperparameters.batch_size:
            return None
        self.whole += 1
        if self.graph is None and self.whole > 1:
            why = ""
            try:
                self.graph = GraphedGradient(self._mean_gradient, self.model, images, target)
            except RuntimeError as error:  # also where there is no memory for it
                why = str(error) or type(error).__name__
            if why:  # outside the except block, as above
                self._give_up_graph(why)
        return self.graph

    def _give_up_graph(self, why: str) -> None:
        """Compute all later gradients kernel by kernel, from the state before the step."""
        self.may_record, self.graph = False, None
        self._take_back()
        logger.info("the gradient is computed kernel by kernel, not as a CUDA graph: %s", why)

    def _forward(self, images: Tensor) -> Tensor:
        # Without images, SyncBatchNorm would send sums in autocast's dtype, while the others send float32
        with autocast(images.device, self.hyperparameters.precision if len(images) else "float32"):
            logits = self.model(images)
        check_logits(logits, self.classes)
        return logits.float() if logits.dtype == torch.bfloat16 else logits

    def _smaller(self, batch: Batch, error: Exception) -> int:
        """The size of the parts to try next; raises RuntimeError where there is none."""
        n, (height, width) = len(batch.images), batch.images.shape[2:]
        size, policy = self.hyperparameters.batch_size, self.hyperparameters.on_out_of_memory
        what = f"the device's memory does not suffice for batches of {size} images of {height}x{width}"
        remedy = "lower batch_size of the trainer or backbone"
        if self.group:
            raise RuntimeError(f"{what} on {self.group.size} devices: {remedy}, or raise devices") from error
        if policy == "fail":
            raise RuntimeError(f"{what}: {remedy}, or set on_out_of_memory: exact") from error
        if self.changes and policy == "exact":
            raise RuntimeError(
                f"{what}, and to sum gradients over smaller parts would not be the same training ({self.changes}): "
                f"{remedy}, or allow it by on_out_of_memory: approximate"
            ) from error
        least = 2 if self.changes else 1
        smaller = math.ceil(min(self.part, n) / 2)
        if smaller == min(self.part, n) or smaller < least:
            raise RuntimeError(f"{what}, nor for {min(self.part, n)} at once: {remedy}, or input_size") from error
        return smaller

    def _take_back(self) -> None:
        """Restore the state before the step, for whose dropout the caller has seeded torch's generators."""
        torch.manual_seed(torch.initial_seed())
        self.model.zero_grad(set_to_none=True)
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.before)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """The autocast context for "float32" (disabled) or "bfloat16", whatever autocast is around it."""
    check_choice(precision, "precision", ("float32", "bfloat16"))
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            yield
    finally:  # torch keeps the weights that it has cast until the outermost autocast ends, and a training changes them
        torch.clear_autocast_cache()


def check_logits(logits: Any, classes: int) -> None:
    """Raise ValueError unless a model's outputs are float[B, C], with C at least `classes`, those that labels count."""
    if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[1] < classes:
        raise ValueError(
            f"labels go up to {classes - 1}, so the model must return a logit for each of {classes} classes or more, "
            f"got {kind_of(logits)} for a batch"
        )


def not_kept(model: nn.Module) -> str:
    """Why a batch's gradient would differ if computed in parts, as a clause; empty where it would not."""
    modules = list(model.modules())
    changed = []
    if any(isinstance(module, _BatchNorm) for module in modules):
        changed.append("batch normalisation would use the statistics of each part")
    if any(isinstance(module, _DropoutNd) and module.p > 0 for module in modules) or any(
        getattr(module, "drop_prob", None) for module in modules
    ):
        changed.append("dropout would be drawn part by part")
    return " and ".join(changed)


def mean_loss(logits: Tensor, target: Target, smoothing: float) -> Tensor:
    """Mean cross-entropy of logits, float[B, C]. For mixed images: the first share times that of their own labels plus
    the second times that of the others'. For weighted images: the mean of each loss times its weight (not divided by
    the weights' sum, so that an image counts the same in every batch)."""
    labels, others, shares, weights = target
    if weights is not None:
        return (weights * F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")).mean()
    own = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    if others is None:
        return own
    return shares[0] * own + shares[1] * F.cross_entropy(logits, others, label_smoothing=smoothing)
