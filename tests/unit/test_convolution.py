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


def _tried():
    """Convolutions of float64 with images of the shapes above; weights as trainings have them, or not."""
    for number, (k, width, s, t, zeros, h, w) in enumerate(SHAPES):
        if zeros < k and h + 2 * zeros >= k and w >= width:
            plain = nn.Conv2d(3, 5, (k, width), (s, t), (zeros, 0), bias=number % 2 == 0).double()
            plain = plain.to(memory_format=[torch.channels_last, torch.contiguous_format][number % 3 == 0])
            images = torch.randn(2, 3, h, w, dtype=torch.double, generator=generator(number))
            yield plain, images.contiguous(memory_format=torch.channels_last) if number % 5 else images


def test_the_product_and_its_gradients_are_those_of_the_convolution():
    tried = 0
    for plain, images in _tried():
        each = []
        wanted = nn.Conv2d.forward(plain, images)
        direction = torch.randn(wanted.shape, dtype=torch.double, generator=generator(0))
        for product in (False, True):
            module, seen = with_small_maps(copy.deepcopy(plain)), images.clone().requires_grad_()
            assert type(module) is Conv2d
            found = module._product(seen, seen.dtype) if product else nn.Conv2d.forward(module, seen)
            found.backward(direction)
            each.append([found, seen.grad, *(parameter.grad for parameter in module.parameters())])
        assert module._points(*images.shape[2:]) == [*wanted.shape[2:]]
        for found, expected in zip(each[1], each[0], strict=True):
            assert torch.allclose(found, expected, atol=1e-12)
        if plain.weight.is_contiguous(memory_format=torch.channels_last):
            assert module.weight.grad.is_contiguous(memory_format=torch.channels_last), "else torch would copy it"
        tried += 1
    assert tried > 500


@pytest.mark.parametrize("needed", [(True, False, False), (False, True, False), (False, False, True)])
def test_a_gradient_that_is_not_needed_is_left_out(needed):
    module, x = with_small_maps(nn.Conv2d(3, 5, 3, padding=1)), torch.randn(2, 3, 2, 2, generator=generator(0))
    tensors = (x, module.weight, module.bias)
    for tensor, wanted in zip(tensors, needed, strict=True):
        tensor.requires_grad_(wanted)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(x)
    found.float().sum().backward()
    assert found.dtype == torch.bfloat16
    for tensor, wanted in zip(tensors, needed, strict=True):
        assert (tensor.grad is not None) == wanted
        assert tensor.grad is None or tensor.grad.dtype == torch.float32


def test_only_small_maps_in_bfloat16_are_products(monkeypatch):
    seen = []
    monkeypatch.setattr(Conv2d, "_product", lambda self, x, _: seen.append(x.shape[2]) or nn.Conv2d.forward(self, x))
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


def test_a_compiled_network_is_one_graph_still():
    model = build_model(Network("test_resnet", 3, 32), seed=0, purpose="x")
    images = torch.randn(4, 3, 32, 32, generator=generator(0))
    with torch.autocast("cpu", torch.bfloat16):
        wanted = model.eval()(images)
        found = torch.compile(model, backend="aot_eager", fullgraph=True)(images)
    found.float().sum().backward()
    assert torch.allclose(found, wanted, rtol=0.02, atol=0.02)


SMALL = ["mobilenetv3_small_100", "regnety_002", "ghostnet_050", "densenet121", "convnext_atto"]


@pytest.mark.parametrize("name", SMALL)
def test_networks_that_change_outputs_in_place_or_shrink_maps_to_a_point(name):
    model = build_model(Network(name, 3, 32), seed=0, purpose="x").to(memory_format=torch.channels_last).train()
    images = torch.randn(4, 3, 32, 32, generator=generator(0)).contiguous(memory_format=torch.channels_last)
    assert _gradient(model, images, bfloat16=True).isfinite().all()


def _small(**more) -> Conv2d:
    torch.manual_seed(0)
    return with_small_maps(nn.Conv2d(3, 5, 3, padding=1, **more))


def test_what_torch_allows_under_autocast_is_allowed():
    module, x = _small(), torch.randn(2, 3, 2, 2, generator=generator(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.relu_(module(x))
        x.zero_()  # nothing of it is needed any more, as torch keeps it in bfloat16
        with torch.no_grad():
            module.weight.zero_()
        found.float().sum().backward()
        with torch.inference_mode():
            inferred = torch.randn(2, 3, 2, 2)
        module(inferred).float().sum().backward()
        empty = module(torch.zeros(0, 3, 2, 2).requires_grad_())
        assert empty.shape == (0, 5, 2, 2)
        empty.float().sum().backward()
        assert module(torch.randn(3, 2, 2)).shape == (5, 2, 2)
        double = copy.deepcopy(module).double()
        assert double(x.double()).dtype == torch.float64


def test_what_a_point_gets_from_several_places_is_summed_in_float32():
    """And so is the gradient of the bias: 1 + 2^-9 is not of bfloat16."""
    module = _small()
    with torch.no_grad():
        module.weight.fill_(2**-9)
        module.weight[:, :, 1, 1] = 1
    x = torch.zeros(1, 3, 2, 2, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(x)
    direction = torch.zeros(1, 5, 2, 2)
    direction[:, 0] = 1
    found.backward(direction.bfloat16())
    assert (x.grad == 1 + 3 * 2**-9).all()
    direction = torch.full((1, 5, 2, 2), 2**-9)
    direction[:, :, 0, 0] = 1
    module.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        module(x).backward(direction.bfloat16())
    assert (module.bias.grad == 1 + 3 * 2**-9).all()
