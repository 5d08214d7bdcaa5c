"""Networks by name: timm's, and one small enough for a laptop's CPU."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqv2.arguments import check_positive
from dqv2.declared import check_choice
from dqv2.inputs import IMAGENET_MEAN, IMAGENET_STD, normalise, resized
from dqv2.runtime.files import save_weights
from dqv2.runtime.seeding import seeded
from dqv2.train.choices import CHOICES, SMALL
from dqv2.train.convolution import with_small_maps
from dqv2.weights import WeightsError, fill, read_weights


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
        y = torch.relu_(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)  # in place, like the activations: the normalisation's output is not needed again
        return torch.relu_(y)


class SmallResNet(nn.Module):
    """The CIFAR form of ResNet (He et al. 2016, section 4.2): depth 6n + 2, widths 16, 32, 64, but with
    convolutions in shortcuts that change the shape (their option B, as in their ImageNet networks; for CIFAR they pad
    with zeros).

    timm and torchvision have none this small; its interface is timm's. With `stride` 2 in the first convolution its
    cost is a quarter.
    """

    def __init__(self, depth: int, n_classes: int, stride: int = 1):
        super().__init__()
        n = (depth - 2) // 6
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True))
        blocks, inputs = [], 16
        for width, first in ((16, 1), (32, 2), (64, 2)):  # `first`: the stride of the first block
            for i in range(n):
                blocks.append(BasicBlock(inputs, width, first if i == 0 else 1))
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


class Adapted(nn.Module):
    """A network that gets its images resized and normalised in its own way; the interface is timm's.

    Args:
        model: with timm's `forward_features` and `forward_head`.
        size: pixels a side that images are resized to (antialiased); None: not resized.
        interpolation: "bilinear" or "bicubic".
        mean, std: per channel, as the network was trained with; None: those of `dqv2.inputs.normalise`.
        published: whether its weights are published ones, so that it should compute as timm does.
    """

    def __init__(
        self,
        model: nn.Module,
        size: int | None,
        interpolation: str = "bilinear",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        published: bool = False,
    ):
        super().__init__()
        self.model, self.size, self.interpolation, self.published = model, size, interpolation, published
        self.reads_pixels = mean is not None  # a network with its own normalisation takes images as stored
        values = (mean or IMAGENET_MEAN, std or IMAGENET_STD, IMAGENET_MEAN, IMAGENET_STD)
        own, spread, given, given_spread = (torch.tensor(each).view(1, 3, 1, 1) for each in values)
        buffers = {"mean": own, "std": spread, "scale": given_spread / spread, "shift": (given - own) / spread}
        for name, values in buffers.items():
            self.register_buffer(name, values, persistent=False)
        for name in ("patch_embed", "num_prefix_tokens", "num_features"):  # by which features are interpreted
            if hasattr(model, name):
                object.__setattr__(self, name, getattr(model, name))

    def forward_features(self, x: Tensor) -> Tensor:
        """The network's features of the adapted images.

        x: float[N, 3, H, W], normalised by `dqv2.inputs.normalise`; or, where the network has its own normalisation,
        uint8[N, 3, H, W], which avoids the rounding of two normalisations, and which for published weights is resized
        as it was in their training.
        """
        if stored := x.dtype == torch.uint8:
            if self.published and self.size and x.shape[2:] != (self.size, self.size):
                x = resized(x, self.size, self.interpolation)
            x = normalise(x, (self.mean, self.std)).to(self.mean.dtype)
        if self.size and x.shape[2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode=self.interpolation, align_corners=False, antialias=True)
        if self.reads_pixels and not stored:
            x = x * self.scale + self.shift
        return self.model.forward_features(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features -> logits float[N, C], or the embedding when `pre_logits`."""
        return self.model.forward_head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """float[N, 3, H, W] -> logits float[N, C]."""
        return self.forward_head(self.forward_features(x))


@dataclass(frozen=True)
class Network:
    """A network's architecture, and the images that it is for; raises ValueError for what is not possible."""

    name: str  # resnet8, resnet20 (small, for 32 px) or a model of timm
    n_classes: int  # C of the last layer; 0: none (timm's models alone)
    image_size: int  # pixels a side; also the size of a transformer's positions, unless `input_size` is given
    # "standard" is the network as published (the small ones begin with stride 2). "small" keeps the resolution, for
    # images of 64 px or less: a first convolution of 3x3 and stride 1, and no max-pool after it
    stem: str = "standard"
    args: dict[str, Any] = field(default_factory=dict)  # further arguments of timm's model, such as {"patch_size": 4}
    input_size: int | None = None  # pixels a side that images are resized to for it; None: not resized
    interpolation: str = "bilinear"  # or "bicubic"
    mean: Sequence[float] | None = None  # per channel of its input; None: that of `dqv2.inputs.normalise`
    std: Sequence[float] | None = None
    published: bool = False  # whether its weights are published ones

    def __post_init__(self) -> None:
        check_choice(self.stem, "stem", CHOICES["stem"])
        check_choice(self.interpolation, "interpolation", CHOICES["interpolation"])
        check_positive(self.image_size, "image_size")
        if self.input_size is not None:
            check_positive(self.input_size, "input_size")
        if self.name in SMALL and self.args:
            raise ValueError(f"args are for a model of timm's, and {self.name} takes none: leave them out")
        if self.name in SMALL or self.n_classes != 0:
            check_positive(self.n_classes, "n_classes")
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both mean and std, or neither")

    @classmethod
    def of(cls, options: dict[str, Any], n_classes: int) -> Network:
        """The network that a stage's options name."""
        more = {"args": dict(options["args"]), "input_size": options["input_size"]}
        more |= {key: options[key] for key in ("mean", "std") if key in options}
        return cls(options["model"], n_classes, options["image_size"], options["stem"], **more)


def build_model(network: Network, *, seed: int, purpose: str) -> nn.Module:
    """A network with random weights, determined by `seed` and `purpose`.

    Raises ValueError where timm does not have the model, does not accept the arguments, or stem is "small" and the
    network has no ResNet stem.
    """
    with seeded(seed, purpose, "weights"):
        if network.name in SMALL:
            small = network.stem == "small"
            model: nn.Module = SmallResNet(SMALL[network.name], network.n_classes, stride=1 if small else 2)
        else:
            model = _timm_model(network)
        return adapted(with_small_maps(model), network)


def adapted(model: nn.Module, network: Network) -> nn.Module:
    """The model, wrapped in `Adapted` if its images must be resized or normalised."""
    if not network.input_size and network.mean is None:
        return model
    return Adapted(model, network.input_size, network.interpolation, network.mean, network.std, network.published)


def _timm_model(network: Network) -> nn.Module:
    import timm

    name = network.name
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        meant = f"; did you mean {', '.join(close)}?" if close else ""
        raise ValueError(f"model {name!r}: neither {', '.join(SMALL)} nor a model of timm{meant}")
    # timm zeroes the last normalisation of each block, which would silence the branches of a random network
    extra: dict[str, Any] = {"zero_init_last": False} if name.startswith(("resnet", "resnext", "wide_resnet")) else {}
    if timm.get_pretrained_cfg(name, allow_unregistered=True).fixed_input_size:
        extra["img_size"] = network.input_size or network.image_size
    try:
        model = timm.create_model(name, pretrained=False, num_classes=network.n_classes, **(extra | network.args))
    except (TypeError, AssertionError, ValueError) as error:
        raise ValueError(
            f"model {name!r} with args {network.args} on images of {network.image_size} px: {error}"
        ) from error
    if network.stem == "small":
        if not (isinstance(getattr(model, "conv1", None), nn.Conv2d) and hasattr(model, "maxpool")):
            raise ValueError(
                f"stem: small needs a ResNet with a plain stem (conv1, maxpool); {name} has none: set stem: standard "
                "for the dataset, or leave its stem out"
            )
        old = model.conv1
        model.conv1 = nn.Conv2d(3, old.out_channels, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    return model


def save_model(path: Any, model: nn.Module, network: Network) -> None:
    """Write the weights, with what is needed to rebuild the network."""
    about = {key: value for key, value in asdict(network).items() if key != "published" or value}
    save_weights(path, {"network": about}, model)


def load_model(path: Any, device: torch.device) -> nn.Module:
    """Load a network written by `save_model`, in eval mode on `device`; raises WeightsError for a damaged file."""
    return load_network(path)[0].eval().to(device)


def load_network(path: Any) -> tuple[nn.Module, Network]:
    """Load a network written by `save_model` on the CPU, with its architecture; raises WeightsError for a damaged file
    or one of another kind."""
    kept = read_weights(Path(path))
    kept = kept if isinstance(kept, dict) else {}
    try:
        network, state = Network(**kept["network"]), dict(kept["state"])
        model = build_model(network, seed=0, purpose="load")
    except (KeyError, TypeError, ValueError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else error
        raise WeightsError(f"{path} is not a network as save_model writes it ({why}): make the file again.") from error
    fill(model, state, Path(path), network.name)
    return model, network
