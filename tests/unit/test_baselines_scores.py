"""Scores against autograd, hand-written loops and closed forms; each direction with a case."""

import itertools
import math

import pytest
import torch

from dqv2 import (
    GradientFeatures,
    el2n_scores,
    forgetting_scores,
    grand_scores,
    last_layer_residual,
    rank_by_score,
    sample_ranked,
    uncertainty_scores,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_grand_is_the_norm_of_the_last_layers_gradient_by_autograd():
    embedding, weight, bias = normal(7, 5), normal(4, 5, seed=1), normal(4, seed=2)
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    expected = []
    for e, label in zip(embedding, labels, strict=True):
        w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
        torch.nn.functional.cross_entropy((w @ e + b)[None], label[None]).backward()
        expected.append(torch.cat([w.grad.flatten(), b.grad]).norm())
    features = GradientFeatures(last_layer_residual(embedding @ weight.T + bias, labels), embedding)
    torch.testing.assert_close(grand_scores(features), torch.stack(expected), rtol=1e-12, atol=0)


def test_wrong_items_have_the_higher_grand_and_el2n():
    logits, labels = torch.tensor([[4.0, 0.0], [4.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1, 0])
    scores = el2n_scores(logits, labels)
    p = 1 / (1 + math.exp(-4))
    expected = torch.tensor([(1 - p) * 2**0.5, p * 2**0.5, 0.5 * 2**0.5], dtype=torch.float64)
    torch.testing.assert_close(scores, expected, rtol=1e-12, atol=0)
    grand = grand_scores(GradientFeatures(last_layer_residual(logits, labels), torch.ones(3, 2)))
    torch.testing.assert_close(grand, expected * 3**0.5, rtol=1e-12, atol=0)
    assert sample_ranked(rank_by_score(scores), None, 1).tolist() == [1]


def test_a_zero_gradient_scores_zero_and_nan_is_refused():
    assert grand_scores(GradientFeatures(torch.zeros(2, 3), torch.ones(2, 4))).tolist() == [0, 0]
    with pytest.raises(ValueError, match="1 of 2 rows of embedding hold NaN or infinite values; the first is index 1"):
        grand_scores(GradientFeatures(torch.ones(2, 3), torch.tensor([[1.0], [math.inf]])))
    with pytest.raises(ValueError, match="logits hold NaN"):
        el2n_scores(torch.tensor([[math.nan, 0.0]]), torch.tensor([0]))


def test_forgetting_counts_losses_and_never_learned_comes_first():
    histories = ["1111", "1010", "0101", "0000", "0001", "0100", "0110"]
    correct = torch.tensor([[c == "1" for c in h] for h in histories]).T
    assert forgetting_scores(correct).tolist() == [0, 2, 1, 5, 0, 1, 1]
    assert rank_by_score(forgetting_scores(correct)).tolist() == [5, 1, 2, 0, 6, 3, 4]
    assert forgetting_scores(correct[:1]).tolist() == [0, 0, 2, 2, 2, 2, 2]


def test_forgetting_equals_a_loop():
    correct = normal(30, 50) > 0
    for n, score in enumerate(forgetting_scores(correct).tolist()):
        h = correct[:, n].tolist()
        assert score == sum(a and not b for a, b in itertools.pairwise(h))
    with pytest.raises(ValueError, match=r"correct must be bool\[T, N\]"):
        forgetting_scores(correct.int())


def test_uncertainty_of_known_probabilities():
    p = torch.tensor([[0.5, 0.3, 0.2], [0.7, 0.2, 0.1], [0.45, 0.45, 0.1], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
    logits = p.log() + 3
    expected = {
        "least_confidence": 1 - p.amax(1),
        "entropy": -(p * p.log()).sum(1),
        "margin": torch.tensor([0.8, 0.5, 1, 1], dtype=torch.float64),
    }
    for kind, scores in expected.items():
        torch.testing.assert_close(uncertainty_scores(logits, kind), scores, rtol=1e-12, atol=1e-15)
        assert int(scores.argmin()) == 1
    assert int(uncertainty_scores(logits, "entropy").argmax()) == 3


def test_very_sure_items_still_differ():
    logits = torch.tensor([[60.0, 0.0], [50.0, 0.0], [70.0, 0.0]])
    for kind in ("least_confidence", "entropy", "margin"):
        assert rank_by_score(uncertainty_scores(logits, kind)).tolist() == [1, 0, 2]


@pytest.mark.parametrize("kind", ["least_confidence", "entropy", "margin"])
def test_what_is_certain_has_no_uncertainty(kind):
    for size in (1e3, 1e308):
        assert uncertainty_scores(torch.tensor([[size, -size, 0.0]], dtype=torch.float64), kind).tolist() == [0]


def test_uncertainty_errors():
    with pytest.raises(ValueError, match="kind must be one of least_confidence, entropy, margin, got 'Entropy'"):
        uncertainty_scores(torch.ones(2, 2), "Entropy")
    with pytest.raises(ValueError, match="at least 2 classes"):
        uncertainty_scores(torch.ones(2, 1))


def test_rank_puts_the_highest_first_and_ties_in_index_order():
    rank = rank_by_score(torch.tensor([1.0, 3.0, -math.inf, 3.0, math.inf]))
    assert rank.dtype == torch.int64
    assert rank.tolist() == [3, 1, 4, 2, 0]
    assert rank_by_score(torch.zeros(5)).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="1 of 2 scores are NaN; the first is index 1"):
        rank_by_score(torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match="one dimension"):
        rank_by_score(torch.ones(2, 2))
