"""Convolutions of small maps as matrix products, in bfloat16 on a CPU.

For an output of at most 2 x 2 points, as in the last stage of ResNets on images of 32 or 64 px, oneDNN's convolutions
in bfloat16 take 2 to 30 times as long as the product of one matrix, and a third to a half of a whole ResNet-18's time
(docs/performance.md). In float32 they are left as they are, so that weights and features stay the same, bit for bit.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POINTS = 4  # of an output, up to which the product is faster


class Conv2d(nn.Conv2d):
    """torch's convolution of one group, without dilation and padded with a number of zeros; see above."""

    def forward(self, x: Tensor) -> Tensor:
        """float[N, C, h, w] -> float[N, O, p, q], as torch's but for rounding."""
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and self._is_small(x):
            return self._product(x)
        return super().forward(x)

    def _is_small(self, x: Tensor) -> bool:
        """Whether the product is faster."""
        places = self._places(*x.shape[2:])
        return min(places) > 0 and math.prod(places) <= POINTS

    def _places(self, height: int, width: int) -> list[int]:
        """The places of the kernel along each side: the size of the output, p and q."""
        sides = zip((height, width), self.kernel_size, self.padding, self.stride, strict=True)
        return [(side + 2 * zeros - kernel) // step + 1 for side, kernel, zeros, step in sides]

    def _product(self, x: Tensor) -> Tensor:
        """As `forward`: what the kernel sees at each place, times the kernel, both without rows and columns of the
        kernel that see padding at every place."""
        x, kernel = x.permute(0, 2, 3, 1), self.weight.permute(0, 2, 3, 1)
        padding: list[int] = []
        sides = zip(self._places(*x.shape[1:3]), self.padding, self.stride, strict=True)
        for axis, (places, zeros, step) in enumerate(sides, start=1):
            first, end = max(0, zeros - step * (places - 1)), min(kernel.shape[axis], zeros + x.shape[axis])
            kernel, before = kernel.narrow(axis, first, end - first), zeros - first
            padding = [before, step * (places - 1) + end - first - x.shape[axis] - before, *padding]
        (_, height, width, _), (down, right) = kernel.shape, self.stride
        seen = F.pad(x, [0, 0, *padding]).unfold(1, height, down).unfold(2, width, right)
        return F.linear(seen.permute(0, 1, 2, 4, 5, 3).flatten(3), kernel.flatten(1), self.bias).permute(0, 3, 1, 2)


def with_small_maps(model: nn.Module) -> nn.Module:
    """The model, whose plain convolutions are `Conv2d` from now on: the same weights, under the same names."""
    for module in model.modules():
        if type(module) is nn.Conv2d and _plain(module):
            module.__class__ = Conv2d
    return model


def _plain(convolution: nn.Conv2d) -> bool:
    """Whether `Conv2d` can compute it."""
    named = isinstance(convolution.padding, str) or convolution.padding_mode != "zeros"
    if named or convolution.groups > 1 or set(convolution.dilation) != {1}:
        return False
    return all(zeros < kernel for zeros, kernel in zip(convolution.padding, convolution.kernel_size, strict=True))
