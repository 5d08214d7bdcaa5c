"""Training a network, on one device or several."""

from typing import Any

import torch
from torch import Tensor, nn

from dqv2.runtime.resume import Resume
from dqv2.train.backgrounds import FreshTobias
from dqv2.train.checkpointed import CHECKPOINT_SECONDS
from dqv2.train.hyperparameters import Hyperparameters
from dqv2.train.loop import History, Watch, train
from dqv2.train.parallel import fit_on_several


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
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
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
    data = {"images": images, "labels": labels, "hyperparameters": hyperparameters}
    return fit_on_several(model, devices=devices, device=device, **data, **how)
