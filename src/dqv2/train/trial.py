"""Trying networks before the first job: built, trained for one step and run as the stages will, without weights."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqv2.semantic.saliency import as_map, require_places
from dqv2.train.models import Network, build_model

CLASSES = 10  # the real number is known only once the set is packed; a network takes any


class Unfit(ValueError):
    """A network cannot be used as configured; the message is a sentence."""


def check_networks(options: Mapping[str, dict[str, Any]], mapped: Mapping[str, str] | None = None) -> None:
    """Try each network once.

    options: place in the configuration -> the options of a stage that builds it. mapped: place -> what the network's
    last feature map is used for: "masks", or "importance" (of patches, by Grad-CAM++). Two images of the run's own size
    go through the network on PyTorch's meta device, which computes only shapes, and if that fails, on the CPU.

    Raises ValueError, with the place and the key, where a network cannot be built, trained or run, does not return one
    logit per class, or has no such map.
    """
    seen: set[str] = set()
    for place, wanted in options.items():
        network, trained = Network.of(wanted, n_classes=CLASSES), bool(wanted.get("epochs") or wanted.get("iterations"))
        use = (mapped or {}).get(place, "")
        key = f"{network!r} {trained} {use}"
        if key in seen:
            continue
        try:
            try:
                check_network(network, "meta", trained=trained, use=use)
            except Exception:  # not every network runs on the meta device
                check_network(network, "cpu", trained=trained, use=use)
        except Unfit as error:
            raise ValueError(f"{place}: {error}") from error
        seen.add(key)


def check_network(network: Network, device: str, *, trained: bool = False, use: str = "") -> None:
    """Build a network on a device, make a training step with two images if it will be trained, and run it on them;
    raises Unfit where anything of that fails."""
    with torch.device(device):
        try:
            model = build_model(network, seed=0, purpose="check")
        except Exception as error:  # timm's networks refuse invalid arguments in many ways
            raise Unfit(_sentence(error, network, "cannot be built", "change model or args")) from error
        size = network.image_size
        images, labels = torch.zeros(2, 3, size, size), torch.zeros(2, dtype=torch.int64)
        remedy = "set input_size to the pixels a side that it is made for, or change model or args"
        try:
            if trained:  # a step, without the optimiser
                with torch.inference_mode(False), torch.enable_grad():
                    F.cross_entropy(_logits(model.train()(images), network), labels).backward()
            with torch.inference_mode():
                features = _run(model.eval(), network, images)
        except Unfit:
            raise
        except Exception as error:  # likewise for images
            raise Unfit(_sentence(error, network, f"cannot take images of {size} px", remedy)) from error
        if use:
            try:
                require_places(as_map(model, features), network.name, size)
            except (TypeError, ValueError) as error:
                raise Unfit(f"model {network.name!r} gives no {use}: {error}") from error
    if use == "importance" and features.dim() == 3 and not _decides(network):
        raise Unfit(
            f"model {network.name!r} gives no importance: it does not decide by its last feature map (a transformer "
            "that pools by its class token does not); take a network that pools its map, for some of timm by "
            "args: {global_pool: avg}"
        )


def _run(model: nn.Module, network: Network, images: Tensor) -> Tensor:
    """The last features; also runs the rest of the network."""
    _logits(model(images), network)
    if not hasattr(model, "forward_features") or not hasattr(model, "forward_head"):
        raise Unfit(f"model {network.name!r} has no last layer apart from its features: change model or args")
    features = model.forward_features(images)
    if not isinstance(features, Tensor):
        raise Unfit(f"model {network.name!r} gives a {type(features).__name__} of features: change model or args")
    embedding = model.forward_head(features, pre_logits=True)
    if not isinstance(embedding, Tensor) or len(embedding) != 2:
        raise Unfit(f"model {network.name!r} gives no embedding of an image: change model or args")
    _logits(model.forward_head(features), network)
    return features


def _logits(found: Any, network: Network) -> Tensor:
    if isinstance(found, Tensor) and found.shape == (2, network.n_classes):
        return found
    what = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
    raise Unfit(
        f"model {network.name!r} with args {network.args} gives {what} for two images, not a logit for each of "
        f"{network.n_classes} classes: change model or args"
    )


def _decides(network: Network) -> bool:
    """Whether the embedding of a transformer depends on its patch tokens; this needs actual values."""
    model = build_model(network, seed=0, purpose="check").eval()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        images = torch.randn(1, 3, network.image_size, network.image_size, generator=draws)
        features = model.forward_features(images)
    with torch.enable_grad():
        features.requires_grad_()
        embedding = model.forward_head(features, pre_logits=True)
        weights = torch.randn(embedding.shape, generator=draws)  # a plain sum is constant after a normalisation
        (gradient,) = torch.autograd.grad((embedding * weights).sum(), features)
    return bool(as_map(model, gradient).any())


def _sentence(error: Exception, network: Network, what: str, remedy: str) -> str:
    words = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    words = words if " " in words else f"{type(error).__name__}: {words}"  # a KeyError says the key alone
    about = f" with args {network.args}" if network.args else ""
    return (
        words if words.startswith(("model ", "stem:")) else f"model {network.name!r}{about} {what} ({words}): {remedy}"
    )
