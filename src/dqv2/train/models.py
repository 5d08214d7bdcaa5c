"""Networks by name: timm's, and one small enough for a laptop's CPU."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from dqv2.runtime.seeding import seeded
from dqv2.train.small import SMALL


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """float[N, inputs, h, w] -> float[N, outputs, h/stride, w/stride]."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """The CIFAR form of ResNet (He et al. 2016, section 4.2): depth 6n + 2, widths 16, 32, 64.

    timm and torchvision have none this small; its interface is timm's. With `stride` 2 in the first convolution it
    costs a quarter.
    """

    def __init__(self, depth: int, n_classes: int, stride: int = 1):
        super().__init__()
        n = (depth - 2) // 6
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        blocks, inputs = [], 16
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            for i in range(n):
                blocks.append(BasicBlock(inputs, width, stride if i == 0 else 1))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(64, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        """float[N, 3, H, W] -> the last feature map, float[N, 64, H/4, W/4] (H/8, W/8 with stride 2)."""
        return self.blocks(self.stem(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Feature map -> logits float[N, C], or the embedding float[N, 64] when `pre_logits`."""
        x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """float[N, 3, H, W] -> logits float[N, C]."""
        return self.forward_head(self.forward_features(x))


def build_model(name: str, n_classes: int, *, stem: str = "standard", seed: int, purpose: str) -> nn.Module:
    """A network with random weights.

    Args:
        name: resnet8, resnet20 (small, for 32 px) or a model of timm.
        n_classes: C of the last layer.
        stem: "standard" is the network as published (the small ones begin with stride 2). "small" keeps the resolution,
            for images of 64 px or less: a first convolution of 3x3 and stride 1, and no max-pool after it.
        seed, purpose: what the initial weights are drawn from.

    Raises:
        ValueError: timm has no such model, or it has no stem to change.
    """
    with seeded(seed, purpose, "weights"):
        if name in SMALL:
            return SmallResNet(SMALL[name], n_classes, stride=1 if stem == "small" else 2)
        return _timm_model(name, n_classes, stem)


def check_models(names: list[str]) -> None:
    """Raise ValueError for the first name that is no model of timm, with the nearest that are."""
    import timm

    for name in names:
        if not timm.is_model(name):
            close = difflib.get_close_matches(name, timm.list_models(), n=3)
            raise ValueError(
                f"model {name!r}: neither {', '.join(SMALL)} nor a model of timm"
                + (f"; did you mean {', '.join(close)}?" if close else "")
            )


def _timm_model(name: str, n_classes: int, stem: str) -> nn.Module:
    import timm

    check_models([name])
    # timm zeroes the last normalisation of each block, which would silence the branches of a random network
    extra: dict[str, Any] = {"zero_init_last": False} if name.startswith(("resnet", "resnext", "wide_resnet")) else {}
    model = timm.create_model(name, pretrained=False, num_classes=n_classes, **extra)
    if stem == "small":
        if not (isinstance(getattr(model, "conv1", None), nn.Conv2d) and hasattr(model, "maxpool")):
            raise ValueError(f"stem: small needs a ResNet with a plain stem (conv1, maxpool); {name} has none")
        old = model.conv1
        model.conv1 = nn.Conv2d(3, old.out_channels, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    return model


def save_model(path: Any, model: nn.Module, *, name: str, n_classes: int, stem: str) -> None:
    """Weights with what is needed to build the network again."""
    state = {key: value.cpu() for key, value in model.state_dict().items()}
    torch.save({"model": name, "n_classes": n_classes, "stem": stem, "state": state}, path)


def load_model(path: Any, device: torch.device) -> nn.Module:
    """A network that `save_model` wrote, in eval mode on `device`."""
    kept = torch.load(path, map_location="cpu", weights_only=True)
    model = build_model(kept["model"], kept["n_classes"], stem=kept["stem"], seed=0, purpose="load")
    model.load_state_dict(kept["state"])
    return model.eval().to(device)
