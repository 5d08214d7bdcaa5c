"""Networks with published weights: files in timm's or torchvision's format, loaded completely or refused."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dqv2.runtime.seeding import seeded
from dqv2.train.choices import SMALL
from dqv2.train.models import Network, adapted, build_model
from dqv2.weights import WeightsError, fill, read_weights

State = dict[str, Tensor]


def load_pretrained(
    path: Path,
    network: Network,
    *,
    hub: str = "",
    layers: str = "by_name",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    fresh_head: int | None = None,
) -> tuple[nn.Module, Network]:
    """A network with the weights of a file, in eval mode on the CPU, and its resulting architecture.

    Args:
        path: a safetensors or torch file: a state_dict, alone or under one of the usual keys of training checkpoints.
        network: the architecture; the number of classes is taken from the file.
        hub: name and tag of the weights on timm's hub, if they are from there.
        layers: "by_name" with timm's names (torchvision's ResNets use the same); "by_order" assigns the weights in
            order, whatever their names, if all shapes agree.
        mean, std: normalisation of its input, per channel; by default timm's for these weights, or for the model's
            usual ones. The interpolation for resizing is timm's, too.
        fresh_head: the seed of a new last layer with `network.n_classes` outputs; None keeps the file's own.

    Raises WeightsError where the file is truncated, of another kind or network, or lacks weights.
    """
    from timm import get_pretrained_cfg

    known = None if network.name in SMALL else get_pretrained_cfg(hub or network.name, allow_unregistered=True)
    classifier = known.classifier if known else "fc"
    classifier = classifier if isinstance(classifier, str) else classifier[0]
    state = _state_of(path)
    bare = known is not None and known.num_classes == 0  # features alone, as for self-supervised networks
    n_classes = 0 if bare else _classes(_unwrapped(state), classifier, layers, path)
    own = replace(network, n_classes=n_classes, input_size=None)
    # Resizing and normalisation are added outside, below, so that the weights' names are those in the file
    fixed = {"img_size": network.input_size} if known and known.fixed_input_size else {}
    model = build_model(replace(own, args=fixed | own.args), seed=0, purpose="pretrained")
    ours = model.state_dict()
    state = _in_order(state, model, path) if layers == "by_order" else _named(_unwrapped(state, ours), model)
    counters = {key: value for key, value in ours.items() if key.endswith("num_batches_tracked")}
    fill(model, counters | state, path, network.name)  # old files lack the counters, and they do not matter
    if fresh_head is not None:
        own = put_fresh_head(model, own, network.n_classes, seed=fresh_head, purpose="backbone")
    if mean is None and std is None and known:
        mean, std = list(known.mean), list(known.std)
    interpolation = "bicubic" if known and known.interpolation == "bicubic" else "bilinear"
    given = {"input_size": network.input_size, "interpolation": interpolation, "mean": mean, "std": std}
    found = replace(own, published=True, **given)
    return adapted(model, found).eval(), found


def put_fresh_head(model: nn.Module, network: Network, n_classes: int, *, seed: int, purpose: str) -> Network:
    """Give a network a new last layer, determined by `seed` and `purpose`; returns the new architecture."""
    model = getattr(model, "model", model)
    with seeded(seed, purpose, "head"):
        if network.name in SMALL:
            model.fc = nn.Linear(model.fc.in_features, n_classes)  # type: ignore[union-attr, arg-type]
        else:
            model.reset_classifier(n_classes)  # type: ignore[operator]
    return replace(network, n_classes=n_classes)


def _state_of(path: Path) -> State:
    """The weights in a file by name, without the keys that training checkpoints add."""
    from timm.models import clean_state_dict

    kept = read_weights(path)
    for key in ("state_dict_ema", "model_ema", "state_dict", "model"):  # in timm's order
        if isinstance(kept, dict) and isinstance(kept.get(key), dict):
            kept = kept[key]
            break
    else:
        inner = [value for value in kept.values() if _is_state(value)] if isinstance(kept, dict) else []
        kept = inner[0] if len(inner) == 1 else kept  # model_state_dict, net and the like
    if not _is_state(kept):
        keys = f"; its keys are {', '.join(map(str, list(kept)[:5]))}" if isinstance(kept, dict) and kept else ""
        raise WeightsError(f"{path} holds a {type(kept).__name__} that is not a state_dict (weights by name){keys}.")
    return clean_state_dict(kept)


def _unwrapped(state: State, own: Collection[str] = ()) -> State:
    """The weights without the prefixes that all have, such as Lightning's model.; a prefix of `own`, the network's own
    names, is none: some networks without a last layer have all other layers in one module."""
    while not {*own} & {*state} and all("." in n for n in state) and len({n.partition(".")[0] for n in state}) == 1:
        state = {name.partition(".")[2]: value for name, value in state.items()}
    return state


def _is_state(kept: Any) -> bool:
    return (
        isinstance(kept, dict)
        and bool(kept)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in kept.items())
    )


def _classes(state: State, classifier: str, layers: str, path: Path) -> int:
    """How many classes the last layer in a file has."""
    if layers == "by_order":
        heads = [weight for weight in state.values() if weight.dim() == 2]
    else:
        heads = [state[name] for name in (f"{classifier}.weight", f"{classifier}.fc.weight") if name in state]
    if not heads or heads[-1].dim() == 0 or heads[-1].numel() == 0:
        some = ", ".join(list(state)[:3])
        raise WeightsError(
            f"{path} has no last layer {classifier}.weight (it begins with {some}): it is of another network, or named "
            "in another way; layers: by_order takes them in their order."
        )
    return len(heads[-1])


def _named(state: State, model: nn.Module) -> State:
    """The weights under the model's own names, renamed by timm's filter for the architecture if it has one."""
    rename: Any = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    return rename(state, model) if rename else state


def _in_order(state: State, model: nn.Module, path: Path) -> State:
    """The weights under the model's own names, assigned in order; batch counters do not count."""
    theirs = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    ours = {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    for (name, value), (other, given) in zip(ours.items(), theirs.items(), strict=False):
        if value.shape != given.shape:
            raise WeightsError(
                f"{path} is of another network: where {name} is {list(value.shape)}, it has {other} of "
                f"{list(given.shape)}."
            )
    if len(ours) != len(theirs):
        raise WeightsError(f"{path} is of another network: it has {len(theirs)} weights, the network {len(ours)}.")
    return dict(zip(ours, theirs.values(), strict=True))
