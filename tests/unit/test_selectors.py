"""Every kind of selector in the configuration divides or ranks a pool, and each reads what the plan gives it."""

from typing import get_args

import pytest
import torch

from dqv2.config import Selector
from dqv2.runtime.seeding import generator
from dqv2.select.selectors import apply_selector, features_by_name, scores_by_name
from dqv2.select.similarity import GradientFeatures

KINDS = get_args(Selector.model_fields["kind"].annotation)
LABELS = torch.arange(80) % 4


def pass_of(seed=0):
    embedding = torch.rand(80, 6, generator=generator(seed))
    return embedding, torch.randn(80, 4, generator=generator(seed + 1))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("random", "published")])
@pytest.mark.parametrize("features", ["embedding", "gradient", "gradient_dq"])
def test_each_kind_uses_what_the_configuration_says_it_reads(kind, features):
    score = "el2n" if kind.startswith(("score", "ccs")) else None
    selector = Selector(kind=kind, features=features, score=score)
    embedding, logits = pass_of()
    what, values = apply_selector(
        labels=LABELS,
        embedding=embedding if selector.reads_features else None,
        logits=logits if selector.reads_logits else None,
        scores=torch.rand(80, generator=generator(3)) if selector.reads_scores else None,
        generator=generator(2),
        **selector.used,
    )
    assert values.shape == (80,)
    assert values.dtype == torch.int64
    if what == "rank":
        groups = [values] if kind == "score" else [values[c == LABELS] for c in range(4)]
        for group in groups:
            assert sorted(group.tolist()) == list(range(len(group)))
    elif kind == "ccs":
        assert (values < 0).sum() == 8
    else:
        assert what == "bin"
        assert sorted(set(values.tolist())) == list(range(10))


def test_features_are_what_their_names_say():
    embedding, logits = pass_of()
    assert features_by_name("embedding", embedding, None, LABELS) is embedding
    plain, dq = (features_by_name(name, embedding, logits, LABELS) for name in ("gradient", "gradient_dq"))
    assert isinstance(plain, GradientFeatures)
    want = torch.softmax(logits.double(), 1) - torch.nn.functional.one_hot(LABELS, 4)
    assert torch.allclose(plain.residual, want)
    assert not torch.allclose(plain.residual, dq.residual)


def test_scores_keep_the_hardest_first():
    logits = torch.zeros(3, 2)
    logits[:, 0] = torch.tensor([5.0, 0.1, 2.0])
    labels, embedding = torch.zeros(3, dtype=torch.int64), torch.ones(3, 2)
    for name in ("grand", "el2n", "least_confidence", "entropy", "margin"):
        assert scores_by_name(name, embedding, logits, labels).argsort(descending=True).tolist() == [1, 2, 0], name


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="no selector of kind 'magic'"):
        apply_selector("magic", LABELS, *pass_of(), generator=generator(0))
