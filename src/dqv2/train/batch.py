"""A batch as a network sees it: read, given fresh backgrounds, normalised, augmented, mixed, with its labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dqv2.inputs import normalise
from dqv2.runtime.device import send
from dqv2.train.augment import Augmentation, Mix
from dqv2.train.backgrounds import Backgrounds, FreshTobias
from dqv2.train.feed import Feed
from dqv2.train.hyperparameters import Hyperparameters


class Target(NamedTuple):
    """The training targets of B images."""

    labels: Tensor  # int64[B]
    others: Tensor | None  # int64[B], the labels of the images that each is mixed with
    # Weights of its own label and the other, in [0, 1]; on a GPU they may be tensors, float32[]
    shares: tuple[float, float] | tuple[Tensor, Tensor] = (1.0, 0.0)
    weights: Tensor | None = None  # float[B], factors of each image's loss; None: all equal

    def part(self, where: slice) -> Target:
        """The targets of a part of the batch."""
        others, weights = (None if each is None else each[where] for each in (self.others, self.weights))
        return Target(self.labels[where], others, self.shares, weights)


@dataclass(frozen=True)
class Batch:
    """The input of one training step."""

    rows: Tensor  # int64[n], on the CPU: all images of the batch
    images: Tensor  # float[B, 3, H, W] on the device, channels last: this process's part, or all if it is the only one
    target: Target  # of `images`
    draws: Tensor  # the generator's state after this batch was drawn, for a checkpoint


class _Drawn(NamedTuple):
    """A batch whose rows are known and all of whose random draws are made, on the CPU; places index the batch."""

    rows: Tensor
    own: Tensor  # places that this process trains on
    seen: Tensor  # places that are augmented: `own` and their partners
    read: Tensor  # places that are read: `seen` and their donors
    backgrounds: Backgrounds | None
    augmentation: Augmentation
    mix: Mix | None
    draws: Tensor


class Batches:
    """Makes batches; random draws are always made for the whole batch, whatever part of it is made here.

    Args:
        feed: the N images.
        labels: int64[N].
        hyperparameters: how images are augmented and mixed.
        fresh: backgrounds to redraw, or None.
        mixed: a second label of each image, int64[N], and the weight of its own, or None.
        weights: factors of each image's loss, float[N], or None.
        part: from the number of images in a batch to those that this process trains on; None: all.
    """

    def __init__(
        self,
        feed: Feed,
        labels: Tensor,
        hyperparameters: Hyperparameters,
        *,
        fresh: FreshTobias | None = None,
        mixed: tuple[Tensor, float] | None = None,
        weights: Tensor | None = None,
        part: Callable[[int], slice] | None = None,
    ):
        self.feed, self.labels, self.hyperparameters = feed, labels.cpu(), hyperparameters
        self.fresh, self.part = fresh, part or (lambda n: slice(0, n))
        self.mixed = (mixed[0].cpu(), mixed[1]) if mixed else None
        self.weights = None if weights is None else weights.float().cpu()
        self.size = tuple(feed.images.shape[2:])

    def __call__(self, parts: Iterable[Tensor], draws: torch.Generator) -> Iterator[Batch]:
        """Yield a batch for each int64[B] of `parts`."""
        waiting: list[_Drawn] = []  # the feed may read ahead, so draws may run ahead

        def asked_for() -> Iterator[Tensor]:
            for rows in parts:
                waiting.append(self._draw(rows, draws))
                yield rows[waiting[-1].read]

        for images in self.feed.batches(asked_for()):
            try:
                batch = self._make(images, waiting.pop(0))
            except torch.cuda.OutOfMemoryError as error:
                raise RuntimeError(
                    "the device's memory does not suffice to augment batches of "
                    f"{self.hyperparameters.batch_size} images of {self.size[0]}x{self.size[1]}: "
                    "lower batch_size of the trainer or backbone"
                ) from error
            yield batch

    def _draw(self, rows: Tensor, draws: torch.Generator) -> _Drawn:
        n, hyperparameters = len(rows), self.hyperparameters
        backgrounds = self.fresh.draw(rows, draws) if self.fresh is not None else None
        augmentation = Augmentation.draw(n, self.size, **hyperparameters.augment, generator=draws)
        mix = None
        if hyperparameters.mix != "none":
            alphas = {"mixup_alpha": hyperparameters.mixup_alpha, "cutmix_alpha": hyperparameters.cutmix_alpha}
            mix = Mix.draw(n, self.size, kind=hyperparameters.mix, **alphas, generator=draws)
        own = torch.arange(n)[self.part(n)]
        seen = own if mix is None else torch.cat([own, mix.partner[own]]).unique()
        read = seen if backgrounds is None else torch.cat([seen, backgrounds.donors[seen]]).unique()
        return _Drawn(rows, own, seen, read, backgrounds, augmentation, mix, draws.get_state())

    def _make(self, images: Tensor, drawn: _Drawn) -> Batch:
        rows, own, mix = drawn.rows, drawn.own, drawn.mix
        seen = _at(images, drawn.read, drawn.seen)
        if drawn.backgrounds is not None:
            donors, cells, chosen = (part[drawn.seen] for part in drawn.backgrounds)
            seen = self.fresh.compose(seen, _at(images, drawn.read, donors), cells, chosen)
        seen = drawn.augmentation.take(drawn.seen)(normalise(seen))
        seen = seen.contiguous(memory_format=torch.channels_last)
        weights = None if self.weights is None else send(self.weights[rows[own]], images.device)
        target = Target(send(self.labels[rows[own]], images.device), None, weights=weights)
        batch = _at(seen, drawn.seen, own)
        if mix is not None:
            partner = mix.partner[own]
            batch = mix(batch, _at(seen, drawn.seen, partner))
            target = _mixed(target, send(self.labels[rows[partner]], images.device), mix.share)
        elif self.mixed is not None:
            target = _mixed(target, send(self.mixed[0][rows[own]], images.device), self.mixed[1])
        return Batch(rows, batch, target, drawn.draws)


def _mixed(target: Target, others: Tensor, share: float) -> Target:
    return Target(target.labels, others, (share, 1 - share))


def _at(images: Tensor, held: Tensor, places: Tensor) -> Tensor:
    """The images at `places` of a batch, where `images` holds those at `held` (ascending)."""
    if torch.equal(held, places):
        return images
    return images[send(torch.searchsorted(held, places), images.device)]
