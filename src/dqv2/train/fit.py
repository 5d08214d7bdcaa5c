"""Training a network, on one device or several."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dqv2.arguments import as_classes, as_tensor, check_positive, check_share, kind_of
from dqv2.runtime import stop
from dqv2.runtime.compiler import why_not_compiled
from dqv2.runtime.device import fast_precision
from dqv2.runtime.resume import Resume
from dqv2.runtime.seeding import generator, reseed, seeded
from dqv2.runtime.sentences import counted
from dqv2.train.backgrounds import FreshTobias
from dqv2.train.batch import Batches
from dqv2.train.checkpointed import CHECKPOINT_SECONDS, CheckpointedLoop, Stateful, check_trainable
from dqv2.train.feed import Feed
from dqv2.train.group import Group
from dqv2.train.hyperparameters import Hyperparameters
from dqv2.train.optimiser import optimiser_of
from dqv2.train.parallel import fit_on_several
from dqv2.train.step import Stepper, autocast


class Watch(Stateful, Protocol):
    """An observer of a training, called after every batch, whose state is part of a checkpoint."""

    def __call__(self, epoch: int, rows: Tensor, right: Tensor) -> None:
        """epoch: from 0. right: bool[B], which of the images `rows`, int64[B], were classified correctly."""


@dataclass(frozen=True)
class History:
    """The course of a training: mean loss of each epoch; seconds spent; `part` as in `train.step.Stepper`; and the
    precision that it was trained in, "float32" or "bfloat16"."""

    losses: list[float]
    seconds: float
    part: int
    precision: str


@torch.inference_mode(False)
@torch.enable_grad()
def fit(
    model: nn.Module,
    images: Tensor | Any,
    labels: Any,
    hyperparameters: Hyperparameters,
    *,
    seed: int,
    purpose: str,
    device: torch.device,
    resume: Resume | None = None,
    fresh: FreshTobias | None = None,
    mixed: tuple[Any, float] | None = None,
    weights: Any = None,
    watch: Watch | None = None,
    devices: int = 1,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    group: Group | None = None,
) -> History:
    """Train `model` in place, moved to `device`; one training of a model at a time.

    Labels and weights are tensors, arrays or lists. The precision is that of the hyperparameters, and gradients are
    computed, whatever `torch.autocast`, `no_grad` or `inference_mode` is around the call.

    Args:
        model: a classifier of C classes: float[B, C] for a batch.
        images: uint8[N, 3, H, W], a tensor or anything indexed by rows; kept on `device` for the whole training if they
            fit, else read batch by batch (`Feed`).
        labels: int[N] in 0..C-1.
        hyperparameters: of the training.
        seed, purpose: determine the order of the images and the augmentation.
        resume: where checkpoints go, one at the first step after every `checkpoint_seconds`; an interrupted training
            resumes from its last and ends with the same weights.
        fresh: backgrounds to redraw, or None.
        mixed: a second label of each image, int[N], and the weight in [0, 1] of its own, for images that are already
            mixed (not together with the hyperparameters' `mix`).
        weights: float[N] of at least 0 with mean 1, factors of each image's loss (not for mixed images); None: all
            equal.
        watch: called after each batch with which of its images were classified correctly.
        devices: number of devices that share each batch; if more than one, a process for each (`train.parallel`), with
            the same weights up to the order of sums.
        group: the processes that share each batch, if this is one of them.

    Raises:
        Stopped: the process was asked to stop; a checkpoint is written after the current step.
        FloatingPointError: a loss is not finite (the message has epoch and step), or a weight after the last step.
        RuntimeError: the device's memory does not suffice; the message has the batch size and the key to change.
        ValueError: fewer than two images; labels, weights or masks of another number or with other values than above;
            a combination of `mixed`, `weights` and `mix` that is not possible; a model none of whose weights requires a
            gradient, or that was made under `torch.inference_mode`.
    """
    n, labels = len(images), as_tensor(labels)
    if isinstance(labels, Tensor) and labels.dim() and len(labels) != n:
        raise ValueError(f"there are {n} images and {len(labels)} labels; every image needs one")
    if n < 2:
        few = f"{counted(n, 'image')} {'is' if n == 1 else 'are'} too few to train on"
        raise ValueError(f"{few}: take more, or raise keep_ratio")
    if mixed and hyperparameters.mix != "none":
        raise ValueError(f"images that are mixed already cannot be mixed again: mix is {hyperparameters.mix}")
    if weights is not None and (mixed or hyperparameters.mix != "none"):
        raise ValueError("images that are mixed with others have no weights of their own: mix is none, or no weights")
    labels = as_classes(labels, n)
    classes = int(labels.max()) + 1
    if mixed:
        check_share(mixed[1], "the share of mixed")
        mixed = as_classes(mixed[0], n, "the labels of mixed"), mixed[1]
        classes = max(classes, int(mixed[0].max()) + 1)
    if weights is not None:
        weights = _as_weights(weights, n)
    if fresh is not None and len(fresh.masks) != n:
        raise ValueError(f"fresh has {len(fresh.masks)} masks for {n} images; every image needs one")
    check_positive(devices, "devices")
    check_trainable(model)
    of_images: dict[str, Any] = {"fresh": fresh, "mixed": mixed, "weights": weights}
    if devices > 1:
        job = of_images | {"images": images, "labels": labels, "hyperparameters": hyperparameters, "seed": seed}
        job |= {"purpose": purpose, "resume": resume, "watch": watch}
        return fit_on_several(fit, model, devices=devices, device=device, checkpoint_seconds=checkpoint_seconds, **job)
    if hyperparameters.precision == "auto":
        hyperparameters = replace(hyperparameters, precision=fast_precision(device))
    total, per_epoch = hyperparameters.steps(n)
    model.to(device, memory_format=torch.channels_last).train()
    feed = Feed(images, device)
    batches = Batches(feed, labels, hyperparameters, **of_images, part=group and group.part)
    network = group.wrap(model) if group else model
    if hyperparameters.compile:
        if why := why_not_compiled(device.type):
            raise ValueError(why)
        network = torch.compile(network, dynamic=False)  # only the last batch of an epoch has another size
    optimiser = optimiser_of(model, hyperparameters)
    make_step = Stepper(network, optimiser, hyperparameters, group, classes)
    if hyperparameters.schedule == "cosine":
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
    else:
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=hyperparameters.learning_rate, total_steps=total, cycle_momentum=False
        )
    parts = {"model": model, "optimiser": optimiser, "schedule": schedule, "step": make_step}
    draws, rank = generator(seed, purpose, "augmentation"), group.rank if group else 0
    loop = CheckpointedLoop(
        n,
        hyperparameters.batch_size,
        per_epoch=per_epoch,
        total=total,
        parts=parts if watch is None else parts | {"watch": watch},
        # A separate generator, so that arms with different numbers of draws see the images in the same order
        order_draws=generator(seed, purpose, "order"),
        draws=draws,
        device=device,
        remedy=f"lower learning_rate (now {hyperparameters.learning_rate:g})",
        resume=resume,
        seconds=checkpoint_seconds,
        group=group,
    )
    with stop.deferred(), seeded(seed, purpose, "network", device=device), autocast(device, "float32"):
        for rows in loop.epochs():
            for batch in batches(rows, draws):
                # Dropout draws from the global generator; seeded at each step, it is not needed in a checkpoint
                reseed(seed, purpose, "network", loop.step, rank, device=device)
                loss, logits = make_step(batch)
                if watch is not None:
                    right = logits.argmax(1) == batch.target.labels
                    watch(loop.epoch, batch.rows, group.gather(right, len(batch.rows)) if group else right)
                schedule.step()
                loop.stepped(loss, batch.draws)
    model.zero_grad(set_to_none=True)  # gradients lie in the graph's memory
    return History(loop.losses, loop.seconds, make_step.part, hyperparameters.precision)


def _as_weights(weights: Any, n: int) -> Tensor:
    """The weights of n images, float64[n]."""
    weights = as_tensor(weights)
    if not isinstance(weights, Tensor) or weights.is_complex() or tuple(weights.shape) != (n,):
        raise ValueError(f"weights must be real numbers, one for each of {n} images, got {kind_of(weights)}")
    weights = weights.double()
    if not (weights.isfinite() & (weights >= 0)).all():
        raise ValueError("weights must be finite and at least 0")
    if abs((mean := float(weights.mean())) - 1) > 1e-3:
        raise ValueError(f"weights must have the mean 1, got {mean:g}: divide them by it")
    return weights
