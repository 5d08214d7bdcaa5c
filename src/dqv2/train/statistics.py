"""Batch normalisation over the parts of a batch that several processes hold, on any device.

torch's SyncBatchNorm does the same, but on GPUs only. This one uses plain operations, so it is slower.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class GlobalStatistics(nn.Module):
    """A network whose batch normalisations, in training, use the statistics of all processes' images.

    The modules of `model` are not changed: the function that they call is replaced.
    """

    def __init__(self, model: nn.Module, group: dist.ProcessGroup | None = None):
        super().__init__()
        self.model, self.group = model, group

    def forward(self, x: Tensor) -> Tensor:
        """Run `model`; x may be empty where other processes have images."""
        with _Mode(self.group):
            return self.model(x)


class _Mode(TorchFunctionMode):
    def __init__(self, group: dist.ProcessGroup | None):
        super().__init__()
        self.group = group

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if function is nn.functional.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        x: Tensor,
        mean: Tensor | None,
        variance: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """Arguments as of torch.nn.functional.batch_norm."""
        if not training:
            return nn.functional.batch_norm(x, mean, variance, weight, bias, False, momentum, eps)
        y, batch_mean, batch_variance = _Normalise.apply(x, eps, self.group)
        if mean is not None:
            mean.lerp_(batch_mean.to(mean.dtype), momentum)
            variance.lerp_(batch_variance.to(variance.dtype), momentum)
        shape = [1, -1] + [1] * (x.dim() - 2)
        y = y if weight is None else y * weight.view(shape)
        return y if bias is None else y + bias.view(shape)


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps), mean and variance over all images of all processes and all pixels.

    float[N, C, ...] -> the same, and the mean and the unbiased variance, float[C]. Ioffe & Szegedy 2015, with the sums
    of its backward pass over all processes too.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, group: dist.ProcessGroup | None) -> tuple[Tensor, Tensor, Tensor]:
        axes, shape = [0, *range(2, x.dim())], [1, -1] + [1] * (x.dim() - 2)
        count = x.new_full((1,), x.numel() // x.shape[1])
        total = _sum(torch.cat([x.sum(axes), count]), group)
        n = total[-1]
        mean = total[:-1] / n
        centred = x - mean.view(shape)
        squares = _sum((centred * centred).sum(axes), group)
        scale = torch.rsqrt(squares / n + eps)
        y = centred * scale.view(shape)
        ctx.save_for_backward(y, scale, n)
        ctx.group = group
        unbiased = squares / (n - 1)
        ctx.mark_non_differentiable(mean, unbiased)
        return y, mean, unbiased

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        y, scale, n = ctx.saved_tensors
        axes, shape = [0, *range(2, y.dim())], [1, -1] + [1] * (y.dim() - 2)
        sums = _sum(torch.stack([dy.sum(axes), (dy * y).sum(axes)]), ctx.group) / n
        return (dy - sums[0].view(shape) - y * sums[1].view(shape)) * scale.view(shape), None, None


def _sum(part: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Sum over all processes, in the order of their ranks, so that all get the same bits."""
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, part.contiguous(), group=group)
    return torch.stack(parts).sum(0)
