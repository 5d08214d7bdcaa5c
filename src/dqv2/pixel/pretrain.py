"""Pre-training a masked autoencoder on the dataset itself, where no published weights are available."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dqv2.arguments import check_positive, check_share
from dqv2.inputs import normalise
from dqv2.pixel.autoencoder import grid_of
from dqv2.runtime import stop
from dqv2.runtime.device import send
from dqv2.runtime.resume import Resume
from dqv2.runtime.seeding import generator
from dqv2.train.checkpointed import CHECKPOINT_SECONDS, CheckpointedLoop, check_trainable
from dqv2.train.step import autocast


@dataclass(frozen=True)
class Pretraining:
    """How a masked autoencoder is trained: AdamW under a cosine schedule with a warm-up (He et al. 2022, table 8).

    `learning_rate` is the rate itself, not per 256 images; `mask_ratio` the share of hidden patches; `flip` whether
    each image is mirrored with probability 1/2 at each visit. (The authors also crop.) Biases and normalisation layers
    have no weight decay.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    mask_ratio: float = 0.75
    flip: bool = True

    def __post_init__(self) -> None:
        check_positive(self.epochs, "epochs")
        check_positive(self.batch_size, "batch_size")
        check_share(self.mask_ratio, "mask_ratio")


class Trained(NamedTuple):
    """Mean loss of the last epoch, the squared error of normalised pixels; and seconds, including those before a
    resumed checkpoint."""

    loss: float
    seconds: float


@torch.inference_mode(False)
@torch.enable_grad()
def pretrain(
    model: nn.Module,
    images: Tensor,
    hyperparameters: Pretraining,
    *,
    seed: int,
    device: torch.device,
    resume: Resume | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Trained:
    """Train `model` (from `pixel.autoencoder`) in place, moved to `device`, to reconstruct hidden patches.

    images: uint8[N, 3, H, W], H the model's image size. seed: determines the order, the hidden patches and the flips.
    resume: where checkpoints go, one at the first step after every `checkpoint_seconds`; an interrupted training
    resumes and ends with the same weights. Raises Stopped where the process was asked to stop (a checkpoint is written
    after the current step); FloatingPointError as `CheckpointedLoop.epochs` does; ValueError for a model that cannot be
    trained, as it was made under `torch.inference_mode`.
    """
    check_trainable(model)
    model.to(device).train()
    images = images.to(device)
    model.config.mask_ratio = hyperparameters.mask_ratio
    patches = grid_of(model) ** 2
    per_epoch = math.ceil(len(images) / hyperparameters.batch_size)
    total, warm = hyperparameters.epochs * per_epoch, max(1, hyperparameters.epochs * per_epoch // 10)
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in learnt if weight.dim() > 1], "weight_decay": hyperparameters.weight_decay},
        {"params": [weight for weight in learnt if weight.dim() == 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=hyperparameters.learning_rate, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min((i + 1) / warm, 0.5 * (1 + math.cos(math.pi * i / total)))
    )
    draws = generator(seed, "autoencoder", "draws")
    loop = CheckpointedLoop(
        len(images),
        hyperparameters.batch_size,
        per_epoch=per_epoch,
        total=total,
        parts={"model": model, "optimiser": optimiser, "schedule": schedule},
        order_draws=draws,
        draws=draws,
        device=device,
        remedy=f"lower the autoencoder's learning_rate (now {hyperparameters.learning_rate:g})",
        resume=resume,
        seconds=checkpoint_seconds,
    )
    with stop.deferred(), autocast(device, "float32"):
        for batches in loop.epochs():
            for rows in batches:
                batch = normalise(images[send(rows, device)])
                if hyperparameters.flip:
                    mirrored = send(torch.rand(len(rows), generator=draws) < 0.5, device)
                    batch = torch.where(mirrored[:, None, None, None], batch.flip(3), batch)
                noise = send(torch.rand(len(rows), patches, generator=draws), device)
                loss = model(batch, noise=noise).loss
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                loop.stepped(loss.detach())
    return Trained(loop.losses[-1], loop.seconds)
