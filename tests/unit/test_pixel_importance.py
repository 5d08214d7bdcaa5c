"""Grad-CAM++ against a float64 evaluation of the published equations, image by image."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from dqv2.pixel.importance import grad_cam_pp, weigh
from dqv2.train.models import Network, build_model

SMALL_VIT = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
POOLED = SMALL_VIT | {"global_pool": "avg", "class_token": False}


def by_the_paper(activation, gradient):
    """Equations 7 and 19 of Chattopadhay et al. 2018, as they stand, for one image: float64[C, h, w] twice."""
    total = np.zeros(activation.shape[1:])
    for a, g in zip(activation, gradient, strict=True):
        weight = 0.0
        for i in range(a.shape[0]):
            for j in range(a.shape[1]):
                if g[i, j] > 0:
                    alpha = g[i, j] ** 2 / (2 * g[i, j] ** 2 + a.sum() * g[i, j] ** 3)
                    weight += alpha * g[i, j]
        total += weight * a
    return np.maximum(total, 0)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-9])
def test_weights_are_the_published_ones_at_any_scale_of_the_gradient(scale):
    draws = torch.Generator().manual_seed(0)
    activation = torch.rand(3, 5, 4, 6, generator=draws, dtype=torch.float64)
    gradient = scale * torch.randn(3, 5, 4, 6, generator=draws, dtype=torch.float64)
    ours = weigh(activation, gradient).numpy()
    for i in range(3):
        expected = by_the_paper(activation[i].numpy(), gradient[i].numpy())
        np.testing.assert_allclose(ours[i], expected, rtol=1e-10, atol=0)
        assert expected.max() > 0


def test_gradients_are_those_of_the_predicted_class(images):
    """A linear head on a pooled map has the gradient w / (h·w): the whole map in closed form."""
    model = build_model(Network("resnet8", 4, 32), seed=0, purpose="test").double().eval()
    with torch.no_grad():
        features = model.forward_features(images)
        model.fc.bias -= model.forward_head(features).mean(0)  # or all images are of one class
        classes = model.forward_head(features).argmax(1)
    assert len(classes.unique()) > 2
    gradient = model.fc.weight[classes].detach()[:, :, None, None].expand_as(features) / features[0, 0].numel()
    ours = grad_cam_pp(model, images)
    for i in range(len(images)):
        expected = by_the_paper(features[i].numpy(), gradient[i].numpy())
        np.testing.assert_allclose(ours[i].numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.fixture
def images():
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "vit_tiny_patch16_224"])
def test_in_batches_as_one_image_at_a_time(name):
    network = Network(name, 5, 64, args=POOLED if name.startswith("vit") else {})
    model = build_model(network, seed=2, purpose="test")
    images = torch.randint(0, 256, (7, 3, 64, 64), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    together = grad_cam_pp(model, images, batch_size=4)
    alone = torch.cat([grad_cam_pp(model, image[None]) for image in images])
    assert together.shape == alone.shape
    assert together.max() > 0
    assert together.shape[1] > 1, "a map, not a point"
    assert float((together - alone).abs().max()) <= 1e-5 * max(1.0, float(alone.max()))


def test_the_model_is_left_as_it_was():
    model = build_model(Network("resnet8", 4, 32), seed=0, purpose="test").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    grad_cam_pp(model, torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_class_token_hides_what_the_decision_rests_on():
    model = build_model(Network("vit_tiny_patch16_224", 5, 32, args=SMALL_VIT), seed=2, purpose="test")
    with pytest.raises(ValueError, match="class token"):
        grad_cam_pp(model, torch.zeros(2, 3, 32, 32, dtype=torch.uint8))


def test_a_model_without_a_map_is_refused():
    with pytest.raises(TypeError, match="forward_features"):
        grad_cam_pp(nn.Linear(3, 2), torch.zeros(2, 3, 32, 32, dtype=torch.uint8))


def test_a_single_point_tells_nothing_apart():
    model = build_model(Network("resnet18", 5, 32), seed=0, purpose="test")
    with pytest.raises(ValueError, match="single point"):
        grad_cam_pp(model, torch.full((2, 3, 32, 32), 90, dtype=torch.uint8))


def test_timm_networks_have_maps():
    model = timm.create_model("test_byobnet", num_classes=3)
    assert grad_cam_pp(model, torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, 2, 2)


@pytest.mark.parametrize("around", [torch.inference_mode, torch.no_grad, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_it_does_not_depend_on_what_is_around_it(around):
    model = build_model(Network("resnet8", 4, 32), seed=0, purpose="test")
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    wanted = grad_cam_pp(model, images)
    with around():
        found = grad_cam_pp(model, images.clone())
    assert torch.equal(found, wanted)


def test_a_model_of_inference_tensors_is_refused():
    with torch.inference_mode():
        model = build_model(Network("resnet8", 4, 32), seed=0, purpose="test")
    with pytest.raises(ValueError, match=r"made under torch\.inference_mode"):
        grad_cam_pp(model, torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
