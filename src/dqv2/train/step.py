"""One step of a training: forward, backward, optimiser; and what is done where the device's memory does not suffice.

Where a batch does not fit, its gradient can be summed over parts of it (gradient accumulation): the step is done again
from the same state with parts of half the size, and later steps keep to it. Everything random was drawn for the whole
batch before, each part's loss counts for its share of the images, and the optimiser makes one step for the batch. So
the gradient is the batch's, up to the order of its sums, for a network that looks at each image by itself.

Batch normalisation does not: it would use each part's mean and variance in place of the batch's, and move its running
statistics once a part. Dropout would draw its zeros part by part. Such a network is refused, unless the hyperparameters
say `on_out_of_memory: approximate`. On several devices none is tried: the others wait for the one that failed.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from dqv2.runtime.logging import logger
from dqv2.train.batch import Batch, Target
from dqv2.train.group import Group
from dqv2.train.hyperparameters import Hyperparameters


class Stepper:
    """Makes steps of a model in train mode, on its device; group: the processes that share each batch.

    `part` is how many images go through the network at once: the batch size until memory did not suffice.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        hyperparameters: Hyperparameters,
        group: Group | None = None,
    ):
        self.model, self.optimiser, self.hyperparameters, self.group = model, optimiser, hyperparameters, group
        self.dtype = next(model.parameters()).dtype
        self.part = hyperparameters.batch_size
        self.changes = not_kept(model)
        # What a forward pass changes, and an attempt that failed must leave as it was
        policy = hyperparameters.on_out_of_memory
        again = not group and (policy == "approximate" or (policy == "exact" and not self.changes))
        self.buffers = list(model.buffers()) if again else []
        self.before = [torch.empty_like(buffer) for buffer in self.buffers]

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One step; the loss, not yet read from the device, and the logits, float[B, C].

        Raises RuntimeError where the device's memory does not suffice; names the batch size and the key to change.
        """
        if self.buffers:
            torch._foreach_copy_(self.before, self.buffers)
        while True:
            try:
                loss, logits = self._gradient(batch)
                break
            except torch.cuda.OutOfMemoryError as error:
                smaller = self._smaller(batch, error)
            # Out of the except block: the error held on to what the attempt had on the device
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
        """What a checkpoint keeps."""
        return {"part": self.part}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.part = state["part"]

    def _gradient(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The gradient of the batch's mean loss, in the parameters."""
        self.optimiser.zero_grad(set_to_none=True)
        images = batch.images.to(self.dtype)
        n = len(images)
        if self.group:
            logits = self._forward(images)
            if n:
                loss = mean_loss(logits, batch.target, self.hyperparameters.label_smoothing)
                loss = loss * self.group.weight(n, len(batch.rows))
            else:
                loss = 0 * logits.sum()  # takes part in the sums of the others
            loss.backward()
            return self.group.whole(loss.detach()), logits.detach()
        count = math.ceil(n / self.part)
        if self.changes:
            count = max(1, min(count, n // 2))  # batch normalisation cannot learn from one image
        losses, outputs = [], []
        edges = [round(k * n / count) for k in range(count + 1)]
        for where in map(slice, edges, edges[1:]):
            logits = self._forward(images[where])
            loss = mean_loss(logits, batch.target.part(where), self.hyperparameters.label_smoothing)
            loss = loss * ((where.stop - where.start) / n)
            loss.backward()
            losses.append(loss.detach())
            outputs.append(logits.detach())
        return torch.stack(losses).sum(), torch.cat(outputs)

    def _forward(self, images: Tensor) -> Tensor:
        # Without an image, SyncBatchNorm would send sums of the autocast's type, where the others send float32
        with autocast(images.device, self.hyperparameters.precision if len(images) else "float32"):
            logits = self.model(images)
        return logits.float() if logits.dtype == torch.bfloat16 else logits

    def _smaller(self, batch: Batch, error: Exception) -> int:
        """The size of parts to try next, or RuntimeError."""
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
        """Everything as before the step."""
        self.optimiser.zero_grad(set_to_none=True)
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.before)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The network's forward pass in "float32" (as it is) or "bfloat16"."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def not_kept(model: nn.Module) -> str:
    """What of a batch's mathematics parts of it would change, in words; empty where nothing is."""
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
    """Cross-entropy; of images that are mixed, `share` of it with their own labels and the rest with the others'. Of
    images with weights the mean of each one's times its weight, so that an image counts alike in every batch."""
    labels, others, share, weights = target
    if weights is not None:
        return (weights * F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")).mean()
    own = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    if others is None:
        return own
    return share * own + (1 - share) * F.cross_entropy(logits, others, label_smoothing=smoothing)
