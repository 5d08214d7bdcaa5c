"""GraphCut's threads compute as their caller does."""

import pytest
import torch

from dqv2 import FeatureRows, graphcut_bins, graphcut_order
from dqv2.select import graphcut

X = torch.rand(48, 6, generator=torch.Generator().manual_seed(0)) + 0.1
Y = torch.arange(48) % 4


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("batches", [False, True])
@pytest.mark.parametrize("call", [graphcut_bins, graphcut_order])
@pytest.mark.parametrize(
    "modes",
    [torch.inference_mode, torch.no_grad, torch.enable_grad, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["inference", "no_grad", "grad", "autocast"],
)
def test_rows_are_computed_as_the_caller_computes(two_threads, monkeypatch, modes, call, batches):
    monkeypatch.setattr(graphcut, "_batches", lambda device: batches)
    layer, seen = torch.nn.Linear(6, 5), []

    def rows(index):
        found = layer(X[index]).abs() + 1
        seen.append((found.dtype, found.requires_grad, found.is_inference(), found.tolist()))
        return found

    with modes():
        for label in range(4):
            rows(Y.eq(label).nonzero().flatten())
        call(FeatureRows(48, rows), Y)
        found = call(X, Y).tolist()
    assert sorted(seen[-4:], key=str) == sorted(seen[:4], key=str)
    assert found == call(X, Y).tolist()
