"""DQ_V2: coreset selection by dataset quantization without pre-trained models.

Where to start:

    one pass over a network     forward_pass (embedding, logits and saliency), saliency
    masks and Tobias images     foreground, choose_donors, tobias
    features from gradients     last_layer_residual, GradientFeatures; FeatureRows, to read them class by class
    dividing into bins          graphcut_bins; random_bins, uniform_bins, score_bins
    drawing the coreset         sample_bins, sample_random, sample_ranked
    orders to rank by           graphcut_order, herding_order, k_center_order, craig_order, gradmatch_order
    scores to rank by           grand_scores, el2n_scores, forgetting_scores, uncertainty_scores, with rank_by_score
    control masks               centre_saliency, random_saliency, shuffled; object_saliency and mask_iou, for true masks

docs/code.md builds a coreset with them. The public functions are loaded on first use, so `import dqv2` itself costs
nothing. They take and return torch tensors on any device, while torch's default device is the CPU. Features for orders
and bins may also be NumPy arrays, memory-mapped or not; labels, bins, ranks and scores may be NumPy arrays or lists.
Every random choice takes a `torch.Generator`.
"""

from importlib import import_module

_NAMES = {
    "dqv2.select.similarity": "FeatureRows GradientFeatures last_layer_residual",
    "dqv2.select.graphcut": "graphcut_bins graphcut_order",
    "dqv2.select.sampling": "sample_bins sample_random sample_ranked sample_strata adaptive_bin_counts sample_adaptive",
    "dqv2.select.baselines.scores": "grand_scores el2n_scores forgetting_scores uncertainty_scores rank_by_score",
    "dqv2.select.baselines.geometry": "herding_order k_center_order",
    "dqv2.select.baselines.gradient": "gradmatch_order gradmatch craig_order",
    "dqv2.select.baselines.bins": "score_bins random_bins uniform_bins ccs_strata ccs_sample",
    "dqv2.select.baselines.adaptive": "texture_levels bin_importance",
    "dqv2.inputs": "normalise",
    "dqv2.semantic.saliency": "saliency forward_pass write_pass",
    "dqv2.semantic.masks": "foreground centre_saliency random_saliency shuffled object_saliency mask_iou",
    "dqv2.semantic.compose": "choose_donors tobias_cells compose tobias",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'dqv2' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
