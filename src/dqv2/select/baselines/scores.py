"""Scores of single items: GraNd, EL2N, forgetting, uncertainty. For all of them higher = kept."""

import torch
from torch import Tensor

from dqv2.arguments import as_tensor, check_vector, kind_of
from dqv2.select.similarity import Array, GradientFeatures, check_features, last_layer_residual

UNCERTAINTY = ("least_confidence", "entropy", "margin")


def grand_scores(features: GradientFeatures) -> Tensor:
    """GraNd: the norm of each item's last-layer gradient, float64[N] of at least 0. Higher = kept.

    ‖[b, b ⊗ e]‖ = ‖b‖·√(1 + ‖e‖²). Source: Paul et al. 2021, Deep Learning on a Data Diet, section 2: the
    expectation over initialisations of the gradient norm early in training. One call is one initialisation;
    the mean over several is the caller's. The restriction to the last layer is DeepCore's (Guo et al. 2022).
    Raises TypeError unless `features` is `GradientFeatures`, ValueError for NaN or infinite values.
    """
    if not isinstance(features, GradientFeatures):
        raise TypeError(f"features must be GradientFeatures, got {type(features).__name__}")
    check_features(features, directed=False)
    b, e = (torch.linalg.vector_norm(x.double(), dim=1) for x in (features.residual, features.embedding))
    return b * torch.hypot(torch.ones_like(e), e)


def el2n_scores(logits: Tensor, labels: Tensor) -> Tensor:
    """EL2N: ‖softmax(logits) − onehot‖₂, float64[N] in [0, √2]. Higher = kept.

    Source: Paul et al. 2021, section 2 (the error's L2 norm, which bounds GraNd); the mean over several
    initialisations is the caller's. logits: float[N, C]; labels: int[N] in 0..C-1. Raises ValueError for
    other shapes, labels, and for NaN or infinite logits.
    """
    check_features(logits, "logits", directed=False)
    return torch.linalg.vector_norm(last_layer_residual(logits, labels), dim=1)


def forgetting_scores(correct: Tensor) -> Tensor:
    """Forgetting events: how often an item went from right to wrong, float64[N]. Higher = kept.

    Source: Toneva et al. 2019, An Empirical Study of Example Forgetting, definition in section 3 and
    algorithm 1. An item that was never classified correctly counts as forgotten infinitely often; here T + 1, which is
    above every count and, unlike infinity, can be averaged and divided into strata. (DeepCore gives it 0, the lowest.)

    correct: bool[T, N], whether item n was classified correctly at its t-th presentation. Raises ValueError for another
    dtype or shape.
    """
    correct = as_tensor(correct)
    if not isinstance(correct, Tensor) or correct.dim() != 2 or correct.dtype != torch.bool or 0 in correct.shape:
        raise ValueError(
            f"correct must be bool[T, N] with one row a presentation and one column an item, got {kind_of(correct)}"
        )
    events = (correct[:-1] & ~correct[1:]).sum(0).double()
    return torch.where(correct.any(0), events, float(len(correct) + 1))


def uncertainty_scores(logits: Tensor, kind: str = "least_confidence") -> Tensor:
    """How uncertain the model is about each item, float64[N]. Higher = more uncertain = kept.

    With p = softmax(logits) and p1 ≥ p2 its two largest entries: "least_confidence" is 1 − p1, "entropy"
    −Σ p·log p in nats, "margin" 1 − (p1 − p2). Source: Settles 2009, Active Learning Literature Survey, on
    uncertainty sampling; for coresets Coleman et al. 2020, Selection via Proxy. 1 − p1 is computed as the sum of
    the other entries, so that very confident items still differ.

    logits: float[N, C]. Raises ValueError for other shapes or kinds, C = 1, NaN or infinite logits.
    """
    if kind not in UNCERTAINTY:
        raise ValueError(f"kind must be one of {', '.join(UNCERTAINTY)}, got {kind!r}")
    check_features(logits, "logits", directed=False)
    if logits.shape[1] < 2:
        raise ValueError("logits has one column; uncertainty needs at least 2 classes")
    log_p = torch.log_softmax(logits.double(), dim=1).sort(dim=1, descending=True).values
    p = log_p.exp()
    if kind == "entropy":
        return -(p * log_p.clamp(min=torch.finfo(log_p.dtype).min)).sum(1)  # 0 where p is 0
    others = p[:, 1:].sum(1)
    return others if kind == "least_confidence" else others + p[:, 1]


def rank_by_score(scores: Tensor | Array) -> Tensor:
    """Rank of each item by descending score: int64[N], 0 = chosen first, ties to the lowest index.

    scores: real[N], infinities allowed. The result serves `sample_ranked`, which takes the lowest ranks.
    Raises ValueError for NaN and other shapes.
    """
    scores = as_tensor(scores)
    check_scores(scores, finite=False)
    rank = torch.empty(len(scores), dtype=torch.int64, device=scores.device)
    rank[scores.sort(descending=True, stable=True).indices] = torch.arange(len(scores), device=scores.device)
    return rank


def check_scores(scores: Tensor, *, finite: bool = True) -> None:
    """Raise ValueError unless `scores` is real[N] with N at least 1, without NaN and (if `finite`) infinities."""
    check_vector(scores, "scores", integer=False)
    bad = ~scores.isfinite() if finite else scores.isnan()
    if bool(bad.any()):
        what = "NaN or infinite" if finite else "NaN"
        raise ValueError(
            f"{int(bad.sum())} of {len(scores)} scores are {what}; the first is index {int(bad.int().argmax())}"
        )
