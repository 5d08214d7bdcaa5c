"""What only a GPU can show: the same bins as on a CPU, the same weights twice, recorded steps, real shortage of memory.

Left out on a machine without one. By hand, on one that has it: make test-gpu
"""

import time

import numpy as np
import pytest
import torch

from dqv2.pixel.autoencoder import build_autoencoder, reconstruct
from dqv2.pixel.importance import grad_cam_pp
from dqv2.pixel.pretrain import Pretraining, pretrain
from dqv2.runtime import lease
from dqv2.runtime.device import use_device
from dqv2.runtime.resume import Resume
from dqv2.select.graphcut import graphcut_bins, graphcut_order
from dqv2.select.similarity import GradientFeatures
from dqv2.semantic.saliency import forward_pass
from dqv2.train import step
from dqv2.train.backgrounds import FreshTobias
from dqv2.train.feed import Feed
from dqv2.train.fit import fit
from dqv2.train.models import Network, build_model
from dqv2.train.parallel import fit_on_several
from tests.unit.trainings import Cut, Stop, easy_set, hyperparameters

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

# The networks of the configurations: name, pixels, stem
NETWORKS = [
    ("resnet8", 32, "standard"),
    ("resnet20", 32, "small"),
    ("resnet18", 64, "standard"),
    ("resnet50", 64, "small"),
    ("vit_tiny_patch16_224", 32, "standard"),
    ("repvgg_a0", 64, "standard"),
    ("inception_v3", 107, "standard"),
    ("tf_efficientnet_lite0", 64, "standard"),
]


@pytest.fixture(scope="module")
def device():
    return use_device(2)


@pytest.fixture
def little_memory(device):
    """2 GB more for this process than it has now."""
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((2e9 + torch.cuda.memory_reserved()) / whole)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def images_of(n, size, classes=3, seed=0):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=draws)
    return images, torch.randint(classes, (n,), generator=draws)


def network(name="resnet8", size=32, stem="standard", **args):
    if name.startswith("vit"):
        args = {"img_size": size, "patch_size": 8} | args
    return build_model(Network(name, 3, size, stem, args), seed=0, purpose="t")


def trained(model, data, device, how, **more):
    history = fit(model, *data, how, seed=1, purpose="t", device=device, **more)
    return {name: value.clone() for name, value in model.state_dict().items()}, history


def same(one, two):
    for name, value in one.items():
        assert torch.equal(two[name], value), name


@pytest.mark.parametrize("max_bytes", [2**30, 2_000_000, 0])
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_bins_and_orders_are_those_of_the_cpu(device, seed, gradients, max_bytes):
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.choice(7, size=500, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.06, 0.04]))
    features = torch.from_numpy(rng.integers(-1, 2, size=(500, 3 if seed % 2 else 40))).float()  # many exact ties
    features[(features == 0).all(1)] = 1.0
    others = torch.rand(500, 12, generator=torch.Generator().manual_seed(seed))
    own = GradientFeatures(others, features) if gradients else features
    there = GradientFeatures(others.to(device), features.to(device)) if gradients else features.to(device)
    bins = graphcut_bins(there, labels, n_bins=7, max_bytes=max_bytes)
    assert bins.tolist() == graphcut_bins(own, labels, n_bins=7).tolist()
    assert graphcut_order(there, labels, max_bytes=max_bytes).tolist() == graphcut_order(own, labels).tolist()


@pytest.mark.parametrize(("name", "size", "stem"), NETWORKS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_network_trains_to_the_same_weights_twice(device, name, size, stem, precision):
    """Also says that no operation of theirs lacks a deterministic algorithm."""
    data, how = images_of(24, size), hyperparameters(epochs=2, precision=precision, learning_rate=1e-3)
    first, history = trained(network(name, size, stem), data, device, how)
    assert np.isfinite(history.losses).all()
    same(first, trained(network(name, size, stem), data, device, how)[0])


KINDS = {
    "plain": {},
    "compiled": {"compile": True},
    "bfloat16": {"precision": "bfloat16"},
    "mixed": {"mix": "both", "augment": {"crop": "resized", "pad": 0, "flip": True}},
    "smoothed": {"label_smoothing": 0.1, "optimiser": "adamw", "learning_rate": 1e-3},
}


@pytest.mark.parametrize("kind", [*KINDS, "fresh", "weighted", "dropout", "mixed before"])
def test_a_recorded_gradient_is_the_one_computed_kernel_by_kernel(device, kind, monkeypatch):
    data, how, more = easy_set(), hyperparameters(**KINDS.get(kind, {})), {}
    if kind == "fresh":
        masks = torch.zeros(30, 4, 4, dtype=torch.bool)
        masks[:, 1:3] = True
        more["fresh"] = FreshTobias(masks, 0.5)
    if kind == "weighted":
        more["weights"] = torch.linspace(0.5, 1.5, 30)
    if kind == "mixed before":
        more["mixed"] = (data[1].flip(0), 0.7)
    args = {"drop_rate": 0.3, "drop_path_rate": 0.3, "depth": 2} if kind == "dropout" else {}
    made = lambda: network("vit_tiny_patch16_224", 16, **args) if args else network()  # noqa: E731
    recorded = []
    original = step.GraphedGradient.__call__
    monkeypatch.setattr(
        step.GraphedGradient, "__call__", lambda self, *batch: recorded.append(1) or original(self, *batch)
    )
    graphed, history = trained(made(), data, device, how, **more)
    assert len(recorded) == 3 * 4 - 1, "three whole batches of four epochs but the first; not the last, of 6"
    monkeypatch.setattr(step.Stepper, "_graphed", lambda *_: None)
    eager, again = trained(made(), data, device, how, **more)
    same(eager, graphed)
    assert history.losses == again.losses


def test_memory_does_not_grow_with_the_number_of_trainings(device):
    found = []
    for _ in range(6):
        trained(network(), easy_set(), device, hyperparameters())
        torch.cuda.empty_cache()
        found.append(torch.cuda.memory_reserved())
    assert found[-1] == found[2]


WAITS = {"reads a value": lambda x: float(x.sum()) > 1e9, "synchronises": lambda x: torch.cuda.synchronize() or False}


@pytest.mark.parametrize("kind", WAITS)
def test_a_network_that_waits_for_the_gpu_is_trained_without_recording(
    device, little_memory, caplog, monkeypatch, kind
):
    class Waits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Sequential(torch.nn.Dropout(0.3), torch.nn.Linear(3, 3))

        def forward(self, x):
            x = self.layer[0](x.mean((2, 3)))  # drawn before and after the recording that fails
            return self.layer[1](x * 2 if WAITS[kind](x) else x)

    monkeypatch.setattr(step.logger, "propagate", True)
    with caplog.at_level("INFO", logger="dqv2"):
        tried, _ = trained(Waits(), easy_set(), device, hyperparameters())
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert "kernel by kernel, not as a CUDA graph" in caplog.text
    for gigabytes in (1.2, 1.5):  # the second one fits where what the first one took, and torch keeps, is freed for it
        torch.empty(int(gigabytes * 1e9), dtype=torch.uint8, device=device)
    monkeypatch.setattr(step.Stepper, "_graphed", lambda *_: None)
    same(trained(Waits(), easy_set(), device, hyperparameters())[0], tried)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_devices_record_in_one_process(device):
    features, labels = torch.rand(200, 8, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 3
    second = torch.device("cuda", 1)
    weights = []
    for each in (device, second):
        found, _ = trained(network(), easy_set(), each, hyperparameters())
        weights.append({name: value.cpu() for name, value in found.items()})
        assert graphcut_bins(features.to(each), labels).tolist() == graphcut_bins(features, labels).tolist()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-2, atol=1e-3)  # perhaps two kinds of card


@pytest.mark.parametrize("options", [{}, {"mix": "both", "precision": "bfloat16"}])
def test_an_interrupted_training_ends_in_the_same_weights(device, tmp_path, options):
    how, data = hyperparameters(**options), easy_set()
    whole, _ = trained(network(), data, device, how)
    with pytest.raises(Stop):
        trained(network(), data, device, how, resume=Cut(tmp_path, {}), checkpoint_seconds=0)
    same(whole, trained(network(), data, device, how, resume=Resume(tmp_path, {}), checkpoint_seconds=0)[0])


def test_images_that_are_read_batch_by_batch_give_the_same_weights(device, tmp_path, monkeypatch):
    images, labels = easy_set()
    np.save(tmp_path / "images.npy", images.numpy())
    kept, _ = trained(network(), (images, labels), device, hyperparameters(mix="both"))
    monkeypatch.setattr("dqv2.train.feed.fits_memory", lambda *_: False)
    read_at_once = Feed._read

    def read_slowly(self, rows):
        time.sleep(0.05)  # so that the next batch is read, and its memory pinned, while this one's gradient is recorded
        return read_at_once(self, rows)

    monkeypatch.setattr(Feed, "_read", read_slowly)
    read = np.load(tmp_path / "images.npy", mmap_mode="r")
    same(kept, trained(network(), (read, labels), device, hyperparameters(mix="both"))[0])


def test_a_batch_that_does_not_fit_is_trained_in_parts(device, little_memory):
    args = {"embed_dim": 192, "depth": 12, "patch_size": 4}  # 257 tokens: about 4 GB for a batch of 256
    data, how = images_of(256, 64), hyperparameters(batch_size=256, epochs=2, optimiser="adamw", learning_rate=1e-4)
    weights, history = trained(network("vit_tiny_patch16_224", 64, **args), data, device, how)
    assert history.part < 256
    assert all(value.isfinite().all() for value in weights.values())


def test_a_batch_that_does_not_fit_is_refused_where_parts_would_be_another_training(device, little_memory):
    data, how = images_of(512, 128), hyperparameters(batch_size=512, epochs=1)
    with pytest.raises(RuntimeError, match=r"batches of 512 images of 128x128.*batch normalisation.*lower batch_size"):
        trained(network("resnet50", 128, "small"), data, device, how)
    with pytest.raises(RuntimeError, match=r"forward pass of 512 images of 128x128 at once: lower batch_size"):
        forward_pass(network("resnet50", 128, "small").to(device), images_of(512, 128)[0], batch_size=512)


@pytest.mark.parametrize(("name", "size", "stem"), NETWORKS)
def test_a_pass_is_that_of_the_cpu(device, name, size, stem):
    images, model = images_of(20, size)[0], network(name, size, stem)
    expected = forward_pass(model, images)
    found = forward_pass(model.to(device), images, batch_size=6)
    again = forward_pass(model, images, batch_size=6)
    for one, two, three in zip(expected, found, again, strict=True):
        # Convolutions in TF32, as PyTorch has it; a random ViT's normalised channels sum to zero but for rounding
        assert float((one - two).norm()) <= 2e-3 * float(one.norm()) + 1e-5 * one.numel() ** 0.5
        assert torch.equal(two, three)


def test_the_pixel_step_runs_twice_the_same(device):
    images, _ = images_of(20, 32)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = build_autoencoder("mini", image_size=32, grid=8)
        pretrain(model, images, Pretraining(2, 8), seed=0, device=device)
        dropped = torch.zeros(20, 8, 8, dtype=torch.bool)
        dropped[:, :2] = True
        redrawn = reconstruct(model, images, dropped)
        importance = grad_cam_pp(network("resnet18", 64, "small").to(device), images_of(20, 64)[0])
        found.append((redrawn.cpu(), importance.cpu()))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
    assert torch.equal(found[0][0][:, :, 8:], images[:, :, 8:]), "visible patches keep their pixels"


def test_a_training_in_processes_of_its_own_ends_in_nearly_the_same_weights(device):
    """NCCL, synchronised batch statistics and all, with the one device that is there."""
    how = hyperparameters(learning_rate=1e-3)
    data = easy_set()
    alone, history = trained(network(), data, device, how)
    model = network()
    job = {"images": data[0], "labels": data[1], "hyperparameters": how, "seed": 1, "purpose": "t", "resume": None}
    several = fit_on_several(
        fit, model, devices=1, device=device, checkpoint_seconds=300, watch=None, fresh=None, mixed=None, weights=None,
        **job,
    )  # fmt: skip
    assert several.losses == pytest.approx(history.losses, abs=1e-3)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, alone[name], rtol=1e-2, atol=1e-3)


def test_the_driver_lists_the_device_and_a_job_takes_it(device, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = lease.pool()
    assert len(found) == torch.cuda.device_count()
    assert found[0].name == torch.cuda.get_device_name(device)
    with lease.take(1, job="one") as held:
        assert [each.key for each in held.devices] == [found[0].key]
