"""DQ_V2: coreset selection by dataset quantization without pre-trained models.

Where to start:

    one pass of a network       forward_pass (embedding, logits and saliency), saliency
    masks and Tobias images     foreground, choose_donors, tobias
    features from gradients     last_layer_residual, GradientFeatures; FeatureRows, to read them class by class
    division into bins          graphcut_bins; random_bins, uniform_bins, score_bins
    drawing the coreset         sample_bins, sample_random, sample_ranked
    orders to rank by           graphcut_order, herding_order, k_center_order, craig_order, gradmatch_order
    scores to rank by           grand_scores, el2n_scores, forgetting_scores, uncertainty_scores, with rank_by_score
    control masks               centre_saliency, random_saliency, shuffled; object_saliency and mask_iou, for true ones

docs/extend.md makes a coreset with them. The public functions are loaded when first used, so `import dqv2` itself
costs nothing. Torch tensors in and out, on any device; every random choice takes a `torch.Generator`.
"""

from importlib import import_module

_HOME = {
    "FeatureRows": "dqv2.select.similarity",
    "GradientFeatures": "dqv2.select.similarity",
    "last_layer_residual": "dqv2.select.similarity",
    "graphcut_bins": "dqv2.select.graphcut",
    "graphcut_order": "dqv2.select.graphcut",
    "sample_bins": "dqv2.select.sampling",
    "sample_random": "dqv2.select.sampling",
    "sample_ranked": "dqv2.select.sampling",
    "grand_scores": "dqv2.select.baselines.scores",
    "el2n_scores": "dqv2.select.baselines.scores",
    "forgetting_scores": "dqv2.select.baselines.scores",
    "uncertainty_scores": "dqv2.select.baselines.scores",
    "rank_by_score": "dqv2.select.baselines.scores",
    "herding_order": "dqv2.select.baselines.geometry",
    "k_center_order": "dqv2.select.baselines.geometry",
    "gradmatch_order": "dqv2.select.baselines.gradient",
    "gradmatch": "dqv2.select.baselines.gradient",
    "craig_order": "dqv2.select.baselines.gradient",
    "score_bins": "dqv2.select.baselines.bins",
    "random_bins": "dqv2.select.baselines.bins",
    "uniform_bins": "dqv2.select.baselines.bins",
    "ccs_strata": "dqv2.select.baselines.bins",
    "sample_strata": "dqv2.select.sampling",
    "ccs_sample": "dqv2.select.baselines.bins",
    "texture_levels": "dqv2.select.baselines.adaptive",
    "bin_importance": "dqv2.select.baselines.adaptive",
    "adaptive_bin_counts": "dqv2.select.sampling",
    "sample_adaptive": "dqv2.select.sampling",
    "normalise": "dqv2.inputs",
    "saliency": "dqv2.semantic.saliency",
    "forward_pass": "dqv2.semantic.saliency",
    "write_pass": "dqv2.semantic.saliency",
    "foreground": "dqv2.semantic.masks",
    "centre_saliency": "dqv2.semantic.masks",
    "random_saliency": "dqv2.semantic.masks",
    "shuffled": "dqv2.semantic.masks",
    "object_saliency": "dqv2.semantic.masks",
    "mask_iou": "dqv2.semantic.masks",
    "choose_donors": "dqv2.semantic.compose",
    "tobias_cells": "dqv2.semantic.compose",
    "compose": "dqv2.semantic.compose",
    "tobias": "dqv2.semantic.compose",
}

__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'dqv2' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
