"""Networks by name: small ones of our own, timm's, and their files."""

import pytest
import torch

from dqv2.inputs import normalise
from dqv2.runtime.seeding import generator
from dqv2.semantic.saliency import forward_pass
from dqv2.train.models import Network, build_model, load_model, save_model
from dqv2.weights import WeightsError

CPU = torch.device("cpu")


def test_small_network_has_the_size_of_its_paper():
    count = sum(p.numel() for p in build_model(Network("resnet8", 10, 32), seed=0, purpose="x").parameters())
    assert 75_000 < count < 80_000


@pytest.mark.parametrize(("stem", "side"), [("standard", 4), ("small", 8)])
def test_the_stem_sets_the_resolution_of_the_feature_map(stem, side):
    network = build_model(Network("resnet8", 10, 32, stem), seed=0, purpose="x")
    assert network.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 64, side, side)


def test_random_timm_network_keeps_its_branches_and_gets_a_small_stem():
    network = build_model(Network("resnet10t", 5, 32), seed=0, purpose="x")
    assert all(block.bn2.weight.abs().sum() > 0 for block in network.layer1)
    small = build_model(Network("resnet18", 5, 32, "small"), seed=0, purpose="x")
    assert small.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 4, 4)


def test_weights_follow_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    a, b, c = (build_model(Network("resnet8", 3, 32), seed=seed, purpose="x").fc.weight for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(before, torch.random.get_rng_state())


def test_unknown_models_are_refused():
    with pytest.raises(ValueError, match="resnet500"):
        build_model(Network("resnet500", 3, 32), seed=0, purpose="x")
    with pytest.raises(ValueError, match=r"plain stem .*: set stem: standard"):
        build_model(Network("vit_tiny_patch16_224", 3, 32, "small"), seed=0, purpose="x")


def test_a_network_with_a_normalisation_of_its_own_sees_what_it_says():
    own = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    pixels = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8, generator=generator(0))
    plain, renormalised = (build_model(Network("resnet8", 3, 16, **more), seed=0, purpose="x") for more in ({}, own))
    mean, std = (torch.tensor(own[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    wanted = forward_pass(plain, (pixels / 255 - mean) / std).logits
    assert torch.allclose(forward_pass(renormalised, pixels).logits, wanted, atol=1e-5)
    trained = renormalised.to(memory_format=torch.channels_last).train()
    assert trained(normalise(pixels)).shape == (4, 3), "it can be trained as any network"


def test_a_saved_model_is_the_same(tmp_path):
    network = build_model(Network("resnet8", 3, 16), seed=0, purpose="x")
    save_model(tmp_path / "m.pt", network, Network("resnet8", 3, 16))
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(network.eval()(x), load_model(tmp_path / "m.pt", CPU)(x))


@pytest.mark.parametrize(
    "network",
    [
        Network("resnet8", 3, 32),
        Network("vit_tiny_patch16_224", 3, 32, args={"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}),
        Network("test_byobnet", 3, 32, input_size=64),
        Network("test_vit", 3, 32, input_size=64, args={"patch_size": 16}),
        Network("inception_v3", 3, 32, input_size=107),
    ],
)
def test_networks_of_table_4_have_a_map_an_embedding_and_a_file(network, tmp_path):
    built = build_model(network, seed=0, purpose="x")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=generator(0))
    found = forward_pass(built, images)
    assert found.saliency.shape[1] > 1, "a map, not a point"
    assert found.logits.shape == (2, 3)
    assert found.embedding.dim() == 2
    save_model(tmp_path / "m.pt", built, network)
    again = forward_pass(load_model(tmp_path / "m.pt", CPU), images)
    assert torch.equal(again.logits, found.logits)


def test_arguments_that_do_not_fit_are_refused_by_name():
    with pytest.raises(ValueError, match=r"vit_tiny_patch16_224.*depht"):
        build_model(Network("vit_tiny_patch16_224", 3, 32, args={"depht": 2}), seed=0, purpose="x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda kept: kept["state"], "is not a network as save_model writes it .no 'network'."),
        (lambda kept: [kept["state"]], "is not a network as save_model writes it"),
        (lambda kept: torch.zeros(3), "is not a network as save_model writes it"),
        (lambda kept: kept | {"state": [1]}, "is not a network as save_model writes it"),
        (lambda kept: kept | {"network": kept["network"] | {"colour": "red"}}, "is not a network .*'colour'"),
        (lambda kept: kept | {"network": kept["network"] | {"name": "resnet500"}}, "is not a network .*resnet500"),
        (lambda kept: kept | {"state": dict(list(kept["state"].items())[1:])}, "does not fit resnet8: Missing key"),
        (lambda kept: kept | {"network": kept["network"] | {"n_classes": 4}}, "does not fit resnet8: .*size mismatch"),
    ],
)
def test_another_file_than_that_of_a_network_is_refused(tmp_path, change, said):
    network, path = Network("resnet8", 3, 16), tmp_path / "m.pt"
    save_model(path, build_model(network, seed=0, purpose="x"), network)
    torch.save(change(torch.load(path)), path)
    with pytest.raises(WeightsError, match=f"{path} {said}"):
        load_model(path, CPU)
