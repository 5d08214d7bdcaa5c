"""Scores by early training: how hard each training image is for a network at the beginning of its training."""

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dqv2.runtime.resume import Resume
from dqv2.select.baselines.scores import UNCERTAINTY, el2n_scores, forgetting_scores, grand_scores, uncertainty_scores
from dqv2.select.similarity import GradientFeatures, last_layer_residual
from dqv2.semantic.saliency import forward_pass
from dqv2.train.fit import fit
from dqv2.train.hyperparameters import Hyperparameters


class Presentations:
    """Records whether each image was classified correctly each time it was shown, for counting forgetting events."""

    def __init__(self, n: int):
        self._correct = torch.zeros(0, n, dtype=torch.bool)
        self._noted: list[tuple[int, Tensor, Tensor]] = []  # still on the device, as reading makes the host wait

    def __call__(self, epoch: int, rows: Tensor, right: Tensor) -> None:
        """Record a batch of epoch `epoch` (from 0): `right`, bool[B], for the images `rows`, int64[B]."""
        self._noted.append((epoch, rows, right))

    @property
    def correct(self) -> Tensor:
        """bool[T, N], one row per epoch. An image that was not shown in an epoch keeps its last value."""
        for epoch, rows, right in self._noted:
            while len(self._correct) <= epoch:
                n = self._correct.shape[1]
                last = self._correct[-1:] if len(self._correct) else torch.zeros(1, n, dtype=torch.bool)
                self._correct = torch.cat([self._correct, last])
            self._correct[epoch, rows] = right.cpu()
        self._noted.clear()
        return self._correct

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"correct": self.correct}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self._correct = state["correct"]
        self._noted.clear()


def score_by_training(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    hyperparameters: Hyperparameters,
    *,
    seed: int,
    purpose: str,
    device: torch.device,
    resume: Resume | None = None,
) -> tuple[dict[str, np.ndarray], float]:
    """Train `model` in place for a few epochs and score every image; returns name -> float64[N], higher = kept first,
    and the seconds that both took.

    GraNd, EL2N and the uncertainties are those of the trained network on the unaugmented images; forgetting events are
    counted over the presentations during training, with augmentation, as in Toneva et al. 2019.

    images: uint8[N, 3, H, W]; labels: int64[N]; other arguments and errors as in `fit`.
    """
    shown = Presentations(len(images))
    history = fit(
        model, images, labels, hyperparameters, seed=seed, purpose=purpose, device=device, resume=resume, watch=shown
    )
    began = time.monotonic()
    found = forward_pass(model, images)
    values = {
        "grand": grand_scores(GradientFeatures(last_layer_residual(found.logits, labels), found.embedding)),
        "el2n": el2n_scores(found.logits, labels),
        "forgetting": forgetting_scores(shown.correct),
        **{name: uncertainty_scores(found.logits, name) for name in UNCERTAINTY},
    }
    seconds = history.seconds + time.monotonic() - began
    return {name: value.numpy() for name, value in values.items()}, seconds
