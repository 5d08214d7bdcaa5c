"""FLOPs, weights and shapes of networks, counted on torch's meta device without computing anything."""

from dataclasses import replace
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dqv2.cost.rates import Facts, Net
from dqv2.train.models import Network, build_model

BATCH = 2  # batch normalisation needs more than one image


def count(net: Net, classes: int = 10) -> Facts:
    """FLOPs per image, bytes of weights, and output shapes of a network; the same for every precision.

    Counted are the FLOPs of matrix products and convolutions, 2 per multiply-add; `train` is forward and backward as
    autograd does them. Nothing is computed, and no memory is allocated for weights.

    Raises ValueError for an unknown network.
    """
    seen = net.input_size or net.size  # images are resized to it, which takes no FLOPs that are counted
    return _count(replace(net, size=seen, input_size=None, precision="float32", compile=False), classes)


@cache
def _count(net: Net, classes: int) -> Facts:
    images = torch.empty(BATCH, 3, net.size, net.size, device="meta")
    if net.model.startswith("mae-"):
        return _autoencoder(net, images)
    with torch.device("meta"):
        model = build_model(Network(net.model, classes, net.size, net.stem, dict(net.args)), seed=0, purpose="count")
    with FlopCounterMode(display=False) as counter:
        features = model.train().forward_features(images)
        logits = model.forward_head(features)
        forward = counter.get_total_flops()
        (logits[0] if isinstance(logits, tuple) else logits).sum().backward()
    with torch.no_grad():
        embedding = model.forward_head(features, pre_logits=True).flatten(1)
    cells = features.shape[2:].numel() if features.dim() == 4 else features.shape[1]
    return _facts(forward, counter, model, embedding.shape[1], cells)


def _autoencoder(net: Net, images: torch.Tensor) -> Facts:
    from dqv2.pixel.autoencoder import build_autoencoder

    args = dict(net.args)
    with torch.device("meta"):
        model = build_autoencoder(net.model.removeprefix("mae-"), image_size=net.size, grid=args["grid"])
    model.config.mask_ratio = args["hidden"]
    noise = torch.empty(BATCH, args["grid"] ** 2, device="meta")
    with FlopCounterMode(display=False) as counter:
        loss = model.train()(images, noise=noise).loss
        forward = counter.get_total_flops()
        loss.backward()
    return _facts(forward, counter, model, 0, 0)


def _facts(forward: float, both: FlopCounterMode, model: nn.Module, embedding: int, cells: int) -> Facts:
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return Facts(forward / BATCH, both.get_total_flops() / BATCH, weights, embedding, cells)
