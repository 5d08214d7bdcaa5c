"""Grad-CAM++: the regions of an image that a network's decision is based on."""

import torch
from torch import Tensor, nn

from dqv2.arguments import check_differentiable
from dqv2.semantic.saliency import Images, as_map, batches, evaluating, require_places


@torch.inference_mode(False)
def grad_cam_pp(model: nn.Module, images: Images, *, batch_size: int = 256) -> Tensor:
    """Grad-CAM++ map of each image at the last feature map: float32[N, h, w] of at least 0, on the CPU.

    With A the feature map, S the logit of the class that the model predicts, as in DQ's code, and g = ∂S/∂A, the map is
    ReLU(Σ_k w_k·A_k), with w_k = Σ_ij α_ij·ReLU(g_ij) and α = g² / (2·g² + g³·Σ_ab A_ab). Source: Chattopadhay et al.
    2018, Grad-CAM++, equations 7 and 19 (the common positive factor exp(S) is left out). Where g > 0, the only entries
    that ReLU keeps, α is 1 / (2 + g·ΣA); it is computed in this form, without a small constant in the denominator,
    which would dominate where gradients are as small as after global pooling. Images are independent of each other,
    whatever the batches.

    model: with timm's `forward_features` and `forward_head`; runs in eval mode without autocast, its flags are
    restored. images: uint8[N, 3, H, W], or floats, used unchanged; a NumPy array is read batch by batch.

    Raises TypeError for another model; ValueError for other images, and where the model has no last layer, its decision
    does not depend on that map (as with a transformer's class token), the map is a single point, or the model was made
    under `torch.inference_mode`.
    """
    if not hasattr(model, "forward_features") or not hasattr(model, "forward_head"):
        raise TypeError(f"{type(model).__name__} has no forward_features and forward_head, as timm's networks do")
    if getattr(getattr(model, "model", model), "num_classes", None) == 0:
        raise ValueError(f"{type(model).__name__} has no last layer, so it decides on nothing: take a classifier")
    check_differentiable(model)
    maps, rests = [], False
    with evaluating(model):
        for _, batch in batches(model, images, batch_size):
            with torch.no_grad(), torch.autocast(batch.device.type, enabled=False):
                features = model.forward_features(batch)
            with torch.enable_grad(), torch.autocast(batch.device.type, enabled=False):
                features = features.detach().requires_grad_()
                logits = model.forward_head(features)
                decided = logits.gather(1, logits.argmax(1, keepdim=True))
                (gradient,) = torch.autograd.grad(decided.sum(), features)
            activation, gradient = as_map(model, features.detach()), as_map(model, gradient)
            require_places(activation, type(model).__name__, batch.shape[-1])
            rests |= bool(gradient.any())
            maps.append(weigh(activation, gradient).float().cpu())
    if not rests:
        raise ValueError(
            f"{type(model).__name__} does not decide by its last feature map (a transformer that pools by its class "
            "token does not): take a network that pools its map as the pixel step's backbone"
        )
    return torch.cat(maps)


def weigh(activation: Tensor, gradient: Tensor) -> Tensor:
    """The Grad-CAM++ map of each image from its feature map and the gradient there, both float[N, C, h, w]:
    float[N, h, w].

    Negative activations can make a denominator vanish; such a position contributes nothing.
    """
    positive = gradient.clamp(min=0)
    denominator = 2 + gradient * activation.sum((2, 3), keepdim=True)
    share = torch.where(denominator.abs() > 1e-12, positive / denominator, torch.zeros_like(positive))
    return (share.sum((2, 3), keepdim=True) * activation).sum(1).clamp(min=0)
