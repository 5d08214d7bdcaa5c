"""Convolutions of small maps as matrix products, in bfloat16 on a CPU.

For an output of at most 2 x 2 points, as in the last stages of ResNets on images of 32 or 64 px, oneDNN's convolutions
in bfloat16 take 2 to 30 times as long as the product of one matrix, and a third to a half of a whole ResNet-18's time
(docs/performance.md). In float32 they are left as they are, so that weights and features stay the same, bit for bit.
"""

import math
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

POINTS = 4  # of an output, up to which the product is faster


class Conv2d(nn.Conv2d):
    """torch's convolution of one group, without dilation and padded with a number of zeros; see above."""

    def forward(self, x: Tensor) -> Tensor:
        """float[N, C, h, w] -> float[N, O, p, q], as torch's but for rounding."""
        cast = x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and x.dtype != torch.float64
        if cast and x.dim() == 4 and self._is_small(x):
            return self._product(x, torch.get_autocast_dtype("cpu"))
        return super().forward(x)

    def _is_small(self, x: Tensor) -> bool:
        """Whether the product is faster."""
        points = self._points(*x.shape[2:])
        return min(points) > 0 and math.prod(points) <= POINTS

    def _points(self, height: int, width: int) -> list[int]:
        """The size of the output: p and q."""
        sides = zip((height, width), self.kernel_size, self.padding, self.stride, strict=True)
        return [(side + 2 * zeros - kernel) // step + 1 for side, kernel, zeros, step in sides]

    def _product(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """As `forward`, computed in `dtype`."""
        sides = zip(x.shape[2:], self.kernel_size, self.padding, self.stride, self._points(*x.shape[2:]), strict=True)
        sight = _sight if torch.compiler.is_compiling() else _kept_sight  # torch.compile warns of what is kept
        size, *what = sight(*sides)
        found = _Product.apply(x, self.weight, self.bias, *what, dtype)
        # Viewed here, as torch lets nobody change a view from a Function in place
        return found.view(len(x), *size, self.out_channels).permute(0, 3, 1, 2)


def _sight(*sides: tuple[int, int, int, int, int]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """What a convolution sees; each side's input, kernel, padding, stride and output.

    Returns the size of the output, p and q; the places of the kernel that see more than padding, U; and which point of
    the input each of these sees at each point of the output, p * q * U (h * w for padding).
    """
    (height, *_, p), (width, *_, q) = sides
    down, across = (
        [[step * point + place - zeros for place in range(kernel)] for point in range(points)]
        for _, kernel, zeros, step, points in sides
    )
    seen = [
        [y * width + x if 0 <= y < height and 0 <= x < width else height * width for y in rows for x in columns]
        for rows in down
        for columns in across
    ]
    used = tuple(place for place, points in enumerate(zip(*seen, strict=True)) if min(points) < height * width)
    return (p, q), used, tuple(points[place] for points in seen for place in used)


_kept_sight = cache(_sight)


class _Product(torch.autograd.Function):
    """The convolution of x, float[N, C, h, w], in `dtype`: [N * p * q, O].

    Gradients are products in `dtype`, as torch's, and end in the dtypes of x and of the weights; what a point of x gets
    from several places is summed in the weights' dtype.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        used: tuple[int, ...],
        points: tuple[int, ...],
        dtype: torch.dtype,
    ) -> Tensor:
        """used, points: as `_sight` returns them."""
        image, places = x.permute(0, 2, 3, 1).flatten(1, 2).to(dtype), torch.tensor(points)
        if max(points) == image.shape[1]:
            image = F.pad(image, [0, 0, 0, 1])  # padding, as a point of zeros
        seen = image.index_select(1, places).view(-1, len(used) * x.shape[1])  # [N * p * q, U * C]
        kernel = weight.permute(0, 2, 3, 1).flatten(1, 2)
        if len(used) < kernel.shape[1]:
            kernel = kernel.index_select(1, torch.tensor(used))
        kernel = kernel.to(dtype).flatten(1)  # [O, U * C]
        ctx.save_for_backward(seen, kernel, places)
        ctx.used, ctx.of_x, ctx.of_weight = used, (x.shape, x.dtype), (weight.shape, weight.dtype)
        return F.linear(seen, kernel, None if bias is None else bias.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        seen, kernel, places = ctx.saved_tensors
        ((number, channels, height, width), dtype), ((outputs, _, *sides), own) = ctx.of_x, ctx.of_weight
        found: list[Tensor | None] = [None] * 6
        if ctx.needs_input_grad[0]:
            of_seen = (grad @ kernel).view(number, len(places), channels)
            of_image = grad.new_zeros(number, height * width + 1, channels, dtype=own)
            of_image.index_add_(1, places, of_seen.to(own))
            of_image = of_image[:, :-1].to(dtype)
            found[0] = of_image.reshape(number, height, width, channels).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            of_kernel = (grad.T @ seen).view(outputs, len(ctx.used), channels).to(own)
            if len(ctx.used) < math.prod(sides):
                of_used, of_kernel = of_kernel, of_kernel.new_zeros(outputs, math.prod(sides), channels)
                of_kernel.index_copy_(1, torch.tensor(ctx.used), of_used)
            found[1] = of_kernel.view(outputs, *sides, channels).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[2]:
            found[2] = grad.sum(0, dtype=own)
        return tuple(found)


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
