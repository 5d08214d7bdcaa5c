"""The optimiser of a training is torch's, bit for bit, and faster where weights are channels_last."""

import pytest
import torch
import torch.nn.functional as F

from dqv2.train.models import Network, build_model
from dqv2.train.optimiser import optimiser_of
from tests.unit.trainings import hyperparameters

KINDS = {
    "sgd": {"momentum": 0.9},
    "sgd without momentum": {"momentum": 0.0},
    "adamw": {"optimiser": "adamw"},
}
NETWORKS = {
    "resnet18": Network("resnet18", 3, 32),
    "vit": Network("vit_tiny_patch16_224", 3, 16, "standard", {"img_size": 16, "patch_size": 8, "depth": 1}),
}


def ours(model, kind):
    return optimiser_of(model, hyperparameters(learning_rate=0.01, weight_decay=5e-4, **KINDS[kind]))


def plain(model, kind):
    own = {"lr": 0.01, "weight_decay": 5e-4, "fused": True}
    if kind == "adamw":
        return torch.optim.AdamW(model.parameters(), **own)
    momentum = KINDS[kind]["momentum"]
    return torch.optim.SGD(model.parameters(), momentum=momentum, nesterov=momentum > 0, **own)


def made(name, memory_format=torch.channels_last):
    return build_model(NETWORKS[name], seed=0, purpose="t").to(memory_format=memory_format).train()


def steps(model, optimiser, draws, times=3):
    for _ in range(times):
        model.zero_grad(set_to_none=True)
        size = 32 if hasattr(model, "conv1") else 16
        images = torch.randn(4, 3, size, size, generator=draws).contiguous(memory_format=torch.channels_last)
        F.cross_entropy(model(images), torch.tensor([0, 1, 2, 0])).backward()
        optimiser.step()


def same(one, two):
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(two[name], value), name


def same_state(one, two):
    assert one["param_groups"] == two["param_groups"]
    assert one["state"].keys() == two["state"].keys()
    for k, moments in one["state"].items():
        for name, value in moments.items():
            assert torch.equal(two["state"][k][name], value)
            assert two["state"][k][name].stride() == value.stride()


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_and_state_are_those_of_torch_bit_for_bit(name, kind, memory_format):
    found = []
    for optimiser_for in (ours, plain):
        model = made(name, memory_format)
        optimiser = optimiser_for(model, kind)
        steps(model, optimiser, torch.Generator().manual_seed(1))
        found.append((model.state_dict(), optimiser.state_dict()))
    (weights, state), (expected, expected_state) = found
    same(expected, weights)
    same_state(expected_state, state)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", ["ours", "torch's"])
def test_a_state_that_was_saved_is_continued(before, kind, tmp_path):
    """Also a checkpoint that torch's own optimiser wrote, as trainings did before."""
    whole = made("resnet18")
    expected = plain(whole, kind)
    steps(whole, expected, torch.Generator().manual_seed(1), times=4)
    model, draws = made("resnet18"), torch.Generator().manual_seed(1)
    optimiser = ours(model, kind) if before == "ours" else plain(model, kind)
    steps(model, optimiser, draws, times=2)
    torch.save(optimiser.state_dict(), tmp_path / "state.pt")
    again = ours(model, kind)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    steps(model, again, draws, times=2)
    same(whole.state_dict(), model.state_dict())
    same_state(expected.state_dict(), again.state_dict())


def test_a_gradient_in_another_order_is_put_into_that_of_the_weight():
    """torch's kernel would take it for one in the weight's order."""
    found = []
    for memory_format in (torch.channels_last, torch.contiguous_format):
        model = made("resnet18")
        optimiser = ours(model, "sgd")
        draws = torch.Generator().manual_seed(1)
        for weight in model.parameters():
            gradient = torch.randn(weight.shape, generator=draws)
            weight.grad = gradient.contiguous(memory_format=memory_format) if weight.dim() == 4 else gradient
        optimiser.step()
        found.append(model.state_dict())
    same(*found)


def test_weights_without_a_gradient_stay_as_they_are():
    model = made("resnet18")
    frozen = model.conv1.weight.requires_grad_(False).clone()
    optimiser = ours(model, "sgd")
    steps(model, optimiser, torch.Generator().manual_seed(1), times=1)
    given, own = [weight for group in optimiser.param_groups for weight in group["params"]], set(model.parameters())
    assert all(weight.grad is None for weight in given if weight not in own), "the model's are the only ones"
    assert sum(weight not in own for weight in given) > 10
    model.zero_grad(set_to_none=True)
    weights = model.fc.weight.clone()
    optimiser.step()
    assert torch.equal(model.conv1.weight, frozen)
    assert torch.equal(model.fc.weight, weights), "no gradient, no step: not that of the step before"


def test_the_kernel_is_given_memory_in_order(monkeypatch):
    """So that it copies nothing."""
    given = []
    original = torch._fused_sgd_

    def step(*lists, **rest):
        given.extend(tensor for tensors in lists for tensor in tensors)
        return original(*lists, **rest)

    monkeypatch.setattr(torch, "_fused_sgd_", step)
    model = made("resnet18")
    steps(model, ours(model, "sgd"), torch.Generator().manual_seed(1), times=1)
    assert len(given) == 3 * len(list(model.parameters()))
    assert all(tensor.is_contiguous() for tensor in given)
