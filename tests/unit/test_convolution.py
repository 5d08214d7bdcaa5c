"""Convolutions of small maps as matrix products: the same values, in bfloat16 on a CPU alone."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn

from dqv2.runtime.seeding import generator
from dqv2.train.convolution import Conv2d, with_small_maps
from dqv2.train.models import Network, build_model

SHAPES = itertools.product((1, 2, 3, 5), (1, 3), (1, 2, 3), (1, 2), (0, 1, 2), (1, 2, 3, 4, 7), (1, 2, 5))


def _gradient(model: nn.Module, images: torch.Tensor, *, bfloat16: bool) -> torch.Tensor:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = model(images)
    nn.functional.cross_entropy(logits.float(), torch.arange(len(images)) % logits.shape[1]).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def _plain(model: nn.Module) -> nn.Module:
    """The model with torch's own convolutions."""
    plain = copy.deepcopy(model)
    for module in plain.modules():
        if type(module) is Conv2d:
            module.__class__ = nn.Conv2d
    return plain


def test_the_product_is_the_convolution():
    tried = 0
    for number, (k, width, s, t, zeros, h, w) in enumerate(SHAPES):
        if zeros >= k or h + 2 * zeros < k or w < width:
            continue
        plain = nn.Conv2d(3, 5, (k, width), (s, t), (zeros, 0), bias=number % 2 == 0).double()
        images = torch.randn(2, 3, h, w, dtype=torch.double, generator=generator(number))
        wanted = plain(images)
        found = with_small_maps(plain)
        assert type(found) is Conv2d
        assert found._places(h, w) == [*wanted.shape[2:]]
        assert torch.allclose(found._product(images), wanted, atol=1e-12)
        tried += 1
    assert tried > 500


def test_only_small_maps_in_bfloat16_are_products(monkeypatch):
    seen = []
    monkeypatch.setattr(Conv2d, "_product", lambda self, x: seen.append(x.shape[2]) or nn.Conv2d.forward(self, x))
    model = build_model(Network("test_resnet", 3, 32), seed=0, purpose="x")
    images = torch.randn(4, 3, 32, 32, generator=generator(0))
    model(images)
    assert not seen
    with torch.autocast("cpu", torch.bfloat16):
        model(images)
    assert seen
    assert max(seen) <= 4
    seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        build_model(Network("resnet8", 3, 32), seed=0, purpose="x")(images)  # its last map is 4 x 4
    assert not seen


def test_in_float32_a_network_computes_the_same_bits():
    model = build_model(Network("test_resnet", 3, 32), seed=0, purpose="x")
    assert any(type(module) is Conv2d for module in model.modules())
    images = torch.randn(8, 3, 32, 32, generator=generator(0))
    found, wanted = (_gradient(each, images, bfloat16=False) for each in (model, _plain(model)))
    assert torch.equal(found, wanted)


def test_in_bfloat16_its_gradient_is_as_near_to_the_exact_one():
    model = build_model(Network("test_resnet", 3, 32), seed=0, purpose="x")
    images = torch.randn(16, 3, 32, 32, generator=generator(0))
    exact = _gradient(model, images, bfloat16=False)
    product, convolution = ((_gradient(each, images, bfloat16=True) - exact).norm() for each in (model, _plain(model)))
    assert product != convolution
    assert product < 1.05 * convolution


OTHERS = [{"groups": 2}, {"dilation": 2}, {"padding": "same"}, {"padding_mode": "reflect"}, {"padding": 3}]


@pytest.mark.parametrize("more", OTHERS)
def test_other_convolutions_are_left_alone(more):
    plain = nn.Conv2d(4, 4, 3, **({"padding": 1} | more))
    assert type(with_small_maps(plain)) is nn.Conv2d


def test_weights_have_the_same_names_and_the_network_can_be_pickled():
    model = build_model(Network("test_resnet", 3, 32), seed=0, purpose="x")
    assert list(model.state_dict()) == list(_plain(model).state_dict())
    again = pickle.loads(pickle.dumps(model))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_an_image_smaller_than_the_kernel_is_refused_as_by_torch():
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match="Kernel size"):
        with_small_maps(nn.Conv2d(3, 4, 5))(torch.zeros(1, 3, 3, 3))
