"""The processes that share each batch of a training, as seen from one of them."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Group:
    """Made in each of the processes; the default process group must be up."""

    def __init__(self, device: torch.device):
        self.device, self.rank, self.size = device, dist.get_rank(), dist.get_world_size()
        self.control = dist.new_group(backend="gloo")  # on the CPU: no GPU waits for it

    def part(self, n: int) -> slice:
        """This process's part of n images; empty for some processes where n is less than their number."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def wrap(self, model: nn.Module) -> nn.Module:
        """A wrapper for the forward pass; `model` itself keeps the weights, under the same names."""
        devices = None
        if self.device.type == "cuda":
            from timm.layers import convert_sync_batchnorm  # knows torch's classes and timm's own

            convert_sync_batchnorm(model)
            devices = [self.device.index]
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def weight(self, own: int, n: int) -> float:
        """The factor of the mean loss over `own` of the batch's n images, given that gradients are averaged later."""
        return own * self.size / n

    def whole(self, loss: Tensor) -> Tensor:
        """The batch's loss from the weighted losses of all processes; does not wait for the device."""
        total = loss / self.size
        dist.all_reduce(total)
        return total

    def gather(self, right: Tensor, n: int) -> Tensor:
        """bool[n] of the whole batch from each process's part."""
        longest = -(-n // self.size)
        mine = torch.zeros(longest, dtype=torch.uint8, device=self.device)
        mine[: len(right)] = right
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(parts, mine)
        sizes = [(rank + 1) * n // self.size - rank * n // self.size for rank in range(self.size)]
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]).bool()

    def agree(self, asked: int | None) -> int | None:
        """The signal that asked any of the processes to stop, the same for all at the same step; else None."""
        found = torch.tensor(asked or 0)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return int(found) or None
