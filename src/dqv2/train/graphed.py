"""The gradient of a batch as one CUDA graph, for GPUs that compute it faster than a host can launch its kernels.

ResNet-50's gradient takes over a thousand kernels. For images of 64 px they compute for less time than their launches
take one by one; a graph launches them all at once. They are the same kernels in the same order, so the weights are the
same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from dqv2.runtime.device import send
from dqv2.train.batch import Target

# From images, float[B, 3, H, W], and their targets to the mean loss and the logits, float[B, C]; writes the parameters'
# gradients, which must be None before
Gradient = Callable[[Tensor, Target], tuple[Tensor, Tensor]]
_WARM_UPS = 2  # libraries choose and load their kernels in the first calls, which a graph could not record


class GraphedGradient:
    """`gradient`, recorded for batches of one size with the same kinds of targets.

    Args:
        gradient: of the model; must not wait for the device. What it does in Python (counting its calls, say) is done
            while it is recorded, and not again.
        model: in train mode, on a GPU.
        images, target: a batch, as an example. The model's buffers are as before afterwards, its gradients None.

    Raises RuntimeError where the network cannot be recorded (it reads values back from the GPU, say), and
    torch.cuda.OutOfMemoryError where the device has no memory for the recorded activations.
    """

    def __init__(self, gradient: Gradient, model: nn.Module, images: Tensor, target: Target):
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.images = images.clone()
        self.parts = {name: part.clone() for name, part in _parts(target, images.device).items()}
        shares = tuple(self.parts["shares"].unbind()) if "shares" in self.parts else target.shares
        self.target = Target(self.parts["labels"], self.parts.get("others"), shares, self.parts.get("weights"))
        self._clear()
        with torch.cuda.device(images.device), torch.random.fork_rng([images.device]):
            self._warm_up(gradient, list(model.buffers()))
            self.graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
            # On a stream of this device: torch's own is of the first device that recorded. Other threads, which read
            # the next batch, may allocate memory meanwhile
            how = {"pool": pool, "stream": _side(images.device), "capture_error_mode": "thread_local"}
            try:
                # The stream is set again here, as torch leaves the other in place where recording fails
                with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(self.graph, **how):
                    self.loss, self.logits = gradient(self.images, self.target)
            except RuntimeError:
                _clean_up(images.device.index, pool, self.graph)
                raise
        self.gradients = [parameter.grad for parameter in self.parameters]
        self._clear()

    def __call__(self, images: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """As `gradient` does; does not wait for the device."""
        self.images.copy_(images)
        for name, part in _parts(target, images.device).items():
            self.parts[name].copy_(part)
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.loss.clone(), self.logits.clone()  # the next call overwrites both

    def _warm_up(self, gradient: Gradient, buffers: list[Tensor]) -> None:
        """On a stream of its own, as recording requires; afterwards running statistics are as before."""
        before = [buffer.clone() for buffer in buffers]
        side = _side(self.images.device)
        side.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(side):
                for _ in range(_WARM_UPS):
                    gradient(self.images, self.target)
                    self._clear()
        finally:  # also where there is no memory for it
            torch.cuda.current_stream().wait_stream(side)
            if buffers:
                torch._foreach_copy_(buffers, before)

    def _clear(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


@cache
def _side(device: torch.device) -> torch.cuda.Stream:
    """One stream for all recordings: matrix products keep 64 MiB for each stream that they have run on."""
    return torch.cuda.Stream(device)


_abandoned: list[torch.cuda.CUDAGraph] = []


def _clean_up(device: int, pool: tuple[int, int], graph: torch.cuda.CUDAGraph) -> None:
    """What torch 2.11 leaves undone where CUDA ended a recording itself (pytorch#180395, #190348)."""
    # The generator would still count as recording, and refuse to draw for dropout: it gets a copy
    generator = torch.cuda.default_generators[device]
    generator.graphsafe_set_state(generator.clone_state())
    # The allocator of pinned memory will ask this graph whether it records, and cannot be told not to
    _abandoned.append(graph)
    # That of the device would too, and never again free what it keeps in reserve where memory does not suffice
    try:
        torch._C._cuda_endAllocateToPool(device, pool)
    except RuntimeError:  # torch did so itself; to release the pool as well could be once too often
        return
    torch._C._cuda_releasePool(device, pool)


def _parts(target: Target, device: torch.device) -> dict[str, Tensor]:
    """The parts of a target that differ from batch to batch, as tensors: a graph keeps the value of a number forever.

    Shares in float32, as an arithmetic of float32 rounds numbers to.
    """
    parts = {name: getattr(target, name) for name in ("labels", "others", "weights")}
    if target.others is not None:
        parts["shares"] = send(torch.tensor(target.shares, dtype=torch.float32), device)
    return {name: part for name, part in parts.items() if part is not None}
