"""The optimiser of a training.

On a CPU, torch's fused kernels copy each weight, gradient and moment whose memory is not in the order of its axes, as
that of convolutions is not (channels_last), and copy weights and moments back: for ResNet-18 twice as long as the step
itself. There the optimiser is given the same memory with its axes in order. The step is the same, bit for bit.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dqv2.train.hyperparameters import Hyperparameters

State = dict[str, Any]


def optimiser_of(model: nn.Module, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW, of a model on its device; fused: one kernel over all weights.

    Clear gradients by `model.zero_grad`. `state_dict` is that of an optimiser of `model.parameters()`.
    """
    weights = list(model.parameters())
    in_order = weights[0].device.type == "cpu"
    common = {"lr": hyperparameters.learning_rate, "weight_decay": hyperparameters.weight_decay, "fused": True}
    given = [_in_order(weight) for weight in weights] if in_order else weights
    if hyperparameters.optimiser == "adamw":
        optimiser = torch.optim.AdamW(given, **common)
    else:
        momentum = hyperparameters.momentum
        optimiser = torch.optim.SGD(given, momentum=momentum, nesterov=momentum > 0, **common)
    if not in_order:
        return optimiser

    def take_gradients(*_: object) -> None:
        for own, weight in zip(given, weights, strict=True):
            own.grad = None if weight.grad is None else _in_order(weight.grad)

    def leave_gradients(*_: object) -> None:
        for own in given:
            own.grad = None

    optimiser.register_step_pre_hook(take_gradients)
    optimiser.register_step_post_hook(leave_gradients)
    optimiser.register_state_dict_post_hook(lambda _, state: _each_moment(state, _back))
    optimiser.register_load_state_dict_pre_hook(lambda _, state: _each_moment(state, _in_order))
    return optimiser


def _in_order(tensor: Tensor) -> Tensor:
    """A weight, its gradient or moment without history; of a convolution, [O, C, h, w] -> [O, h, w, C]."""
    return tensor.detach().permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor.detach()


def _back(tensor: Tensor) -> Tensor:
    """[O, h, w, C] -> [O, C, h, w], of a convolution."""
    return tensor.permute(0, 3, 1, 2) if tensor.dim() == 4 else tensor


def _each_moment(state: State, change: Callable[[Tensor], Tensor]) -> State:
    """An optimiser's state dict with each moment changed."""
    moments = {k: {name: change(value) for name, value in own.items()} for k, own in state["state"].items()}
    return {**state, "state": moments}
