"""The optimiser of a training.

On a CPU, torch's fused kernels copy each gradient whose memory is not in the order of its axes, as that of convolutions
is not (channels_last), and then read the original in the order of memory after all. For ResNet-18 the copies take
longer than the step. Here the optimiser is given the same memory with its axes in order: the step is the same, bit for
bit, and copies nothing.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dqv2.train.hyperparameters import Hyperparameters

State = dict[str, Any]


def optimiser_of(model: nn.Module, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW; fused: one kernel over all weights.

    Clear gradients by `model.zero_grad`, and do not move or convert the model afterwards: the optimiser would go on
    with the memory that it had. `state_dict` is that of an optimiser of `model.parameters()`.
    """
    weights = list(model.parameters())
    turned = [_is_turned(weight) for weight in weights]
    given = [_in_order(weight) if turn else weight for turn, weight in zip(turned, weights, strict=True)]
    common = {"lr": hyperparameters.learning_rate, "weight_decay": hyperparameters.weight_decay, "fused": True}
    if hyperparameters.optimiser == "adamw":
        optimiser = torch.optim.AdamW(given, **common)
    else:
        momentum = hyperparameters.momentum
        optimiser = torch.optim.SGD(given, momentum=momentum, nesterov=momentum > 0, **common)
    pairs = [(own, weight) for turn, own, weight in zip(turned, given, weights, strict=True) if turn]

    def take_gradients(*_: object) -> None:
        for own, weight in pairs:
            own.grad = None if weight.grad is None else _in_order(weight.grad)

    def leave_gradients(*_: object) -> None:
        for own, _weight in pairs:
            own.grad = None

    def each_moment(change: Callable[[Tensor], Tensor], state: State) -> State:
        moments = {
            k: {name: change(value) if turned[k] and value.dim() == 4 else value for name, value in own.items()}
            for k, own in state["state"].items()
        }
        return {**state, "state": moments}

    optimiser.register_step_pre_hook(take_gradients)
    optimiser.register_step_post_hook(leave_gradients)
    optimiser.register_state_dict_post_hook(lambda _, state: each_moment(_back, state))
    optimiser.register_load_state_dict_pre_hook(lambda _, state: each_moment(_in_order, state))
    return optimiser


def _is_turned(weight: Tensor) -> bool:
    """Whether a weight is on a CPU, and in memory as [O, h, w, C] alone."""
    last = weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return weight.device.type == "cpu" and last and not weight.is_contiguous()


def _in_order(tensor: Tensor) -> Tensor:
    """A convolution's weight, its gradient or moment without history: [O, C, h, w] -> [O, h, w, C]. The same memory if
    that is its order; torch's kernels would take any other for this one."""
    return tensor.detach().permute(0, 2, 3, 1).contiguous()


def _back(tensor: Tensor) -> Tensor:
    """[O, h, w, C] -> [O, C, h, w]."""
    return tensor.permute(0, 3, 1, 2)
