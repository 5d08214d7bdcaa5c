"""DQ_V2: coreset selection by dataset quantization without pre-trained models.

The public functions are loaded when first used, so `import dqv2` itself costs nothing. Torch tensors in and
out, on any device; every random choice takes a `torch.Generator`.
"""

from importlib import import_module

_HOME = {
    "GradientFeatures": "dqv2.select.similarity",
    "last_layer_residual": "dqv2.select.similarity",
    "graphcut_bins": "dqv2.select.graphcut",
    "graphcut_order": "dqv2.select.graphcut",
    "sample_bins": "dqv2.select.sampling",
    "sample_random": "dqv2.select.sampling",
    "sample_ranked": "dqv2.select.sampling",
    "normalise": "dqv2.pixels",
    "saliency": "dqv2.tobias.saliency",
    "forward_pass": "dqv2.tobias.saliency",
    "foreground": "dqv2.tobias.masks",
    "centre_saliency": "dqv2.tobias.masks",
    "random_saliency": "dqv2.tobias.masks",
    "shuffled": "dqv2.tobias.masks",
    "object_saliency": "dqv2.tobias.masks",
    "mask_iou": "dqv2.tobias.masks",
    "choose_donors": "dqv2.tobias.compose",
    "tobias_cells": "dqv2.tobias.compose",
    "compose": "dqv2.tobias.compose",
}

# `dqv2.tobias` is the sub-package and, called, the function of that name (see dqv2/tobias/__init__.py).
__all__ = [*_HOME, "tobias"]


def __getattr__(name: str):
    if name == "tobias":
        return import_module("dqv2.tobias")
    if name not in _HOME:
        raise AttributeError(f"module 'dqv2' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
