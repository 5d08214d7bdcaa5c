"""What a training, a network and an evaluation are given: refused in a sentence where it would mean something else."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dqv2.pixel.pretrain import Pretraining
from dqv2.train.backgrounds import FreshTobias
from dqv2.train.evaluation import accuracy
from dqv2.train.fit import fit
from dqv2.train.models import Network
from tests.unit.trainings import CPU, easy_set, hyperparameters, model

IMAGES, LABELS = easy_set()
AUGMENT = {"crop": "pad", "pad": 2, "flip": True}
HOW = {"seed": 1, "purpose": "t", "device": CPU}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mix": "mix-up"}, "^mix must be one of none, mixup, cutmix, both, got 'mix-up'$"),
        ({"precision": "bf16"}, "^precision must be one of float32, bfloat16, auto, got 'bf16'$"),
        ({"optimiser": "adam"}, "optimiser must be one of sgd, adamw"),
        ({"schedule": "linear"}, "schedule must be one of one_cycle, cosine"),
        ({"on_out_of_memory": "never"}, "on_out_of_memory must be one of exact, approximate, fail"),
        ({"mix": ["mixup"]}, "mix must be one of"),
        ({"augment": AUGMENT | {"crop": "padded"}}, "crop of augment must be one of none, pad, resized, got 'padded'"),
        ({"augment": AUGMENT | {"crop": True}}, "crop of augment must be one of"),
        ({"augment": AUGMENT | {"pad": -1}}, "pad of augment must be an integer of at least 0, got -1"),
        ({"augment": AUGMENT | {"flip": "no"}}, "flip of augment must be True or False, got 'no'"),
        ({"augment": {"crop": "none"}}, "augment must be a dict of crop, pad and flip"),
        ({"augment": None}, "augment must be a dict"),
        ({"compile": "no"}, "compile must be True or False"),
        ({"iterations": 5}, "give either epochs or iterations"),
        ({"epochs": None}, "give either epochs or iterations"),
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"epochs": None, "iterations": 2.5}, "iterations must be an integer of at least 1"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"label_smoothing": -0.5}, "label_smoothing must be a number of at least 0 and below 1, got -0.5"),
        ({"momentum": 1.0}, "momentum must be a number of at least 0 and below 1"),
        ({"weight_decay": -1}, "weight_decay must be a finite number of at least 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a positive, finite number, got nan"),
        ({"learning_rate": "0.1"}, "learning_rate must be a positive, finite number"),
        ({"mixup_alpha": 0}, "mixup_alpha must be a positive"),
    ],
)
def test_settings_of_a_training(changes, said):
    with pytest.raises(ValueError, match=said):
        hyperparameters(**changes)
    with pytest.raises(ValueError, match=said):
        replace(hyperparameters(), **changes)


@pytest.mark.parametrize(
    ("args", "changes", "said"),
    [
        (("resnet18", 3, 32, "smal"), {}, "^stem must be one of standard, small, got 'smal'$"),
        (("resnet18", 3, 32), {"interpolation": "lanczos"}, "interpolation must be one of bilinear, bicubic"),
        (("resnet8", 3, 32), {"args": {"depth": 3}}, "args are for a model of timm's, and resnet8 takes none"),
        (("resnet8", 3, 32), {"std": [0.2] * 3}, "give both mean and std, or neither"),
        (("resnet18", 3, 32), {"mean": [0.2] * 3}, "give both mean and std, or neither"),
        (("resnet8", 0, 32), {}, "n_classes must be an integer of at least 1, got 0"),
        (("resnet18", -1, 32), {}, "n_classes must be an integer of at least 1"),
        (("resnet18", 3, 0), {}, "image_size must be an integer"),
        (("resnet18", 3, 32), {"input_size": 0}, "input_size must be an integer"),
    ],
)
def test_settings_of_a_network(args, changes, said):
    with pytest.raises(ValueError, match=said):
        Network(*args, **changes)


def test_settings_of_a_pretraining():
    for changes, said in (({"epochs": 0}, "epochs"), ({"batch_size": 0}, "batch_size"), ({"mask_ratio": 2}, "mask_ra")):
        with pytest.raises(ValueError, match=said):
            Pretraining(**({"epochs": 1} | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": torch.where(LABELS == 1, -100, LABELS)}, "labels must count classes from 0, got -100"),
        ({"labels": nn.functional.one_hot(LABELS).float()}, "labels must be integers, .* got torch.float32 of shape"),
        ({"labels": LABELS[:-1]}, "there are 30 images and 29 labels; every image needs one"),
        ({"labels": [*LABELS.tolist(), 0]}, "there are 30 images and 31 labels"),
        ({"labels": 3}, "labels must be integers, .* got int"),
        ({"labels": LABELS + 1}, "labels go up to 3, so the model must return a logit for each of 4 classes or more"),
        ({"weights": torch.ones(29)}, "weights must be real numbers, one for each of 30 images, got torch.float32 of"),
        ({"weights": torch.full((30,), 2.0)}, "weights must have the mean 1, got 2: divide"),
        ({"weights": [3.0, -1.0] * 15}, "weights must be finite and at least 0"),
        ({"weights": [float("nan")] * 30}, "weights must be finite and at least 0"),
        ({"mixed": (LABELS[:-1], 0.5)}, "the labels of mixed must be integers, .* for each of 30 items"),
        ({"mixed": (LABELS - 1, 0.5)}, "the labels of mixed must count classes from 0, got -1"),
        ({"mixed": (LABELS + 1, 0.5)}, "labels go up to 3"),
        ({"mixed": (LABELS, 2.0)}, r"the share of mixed must be a share in \[0, 1\], got 2.0"),
        ({"fresh": FreshTobias(torch.ones(29, 2, 2).bool(), 0.5)}, "fresh has 29 masks for 30 images"),
        ({"devices": 0}, "devices must be an integer of at least 1"),
        ({"devices": -1}, "devices must be an integer of at least 1"),
        ({"model": model().requires_grad_(False)}, "no weight of SmallResNet requires a gradient"),
        ({"model": nn.Sequential(nn.Conv2d(3, 3, 3))}, "a logit for each of 3 classes or more, got torch.float32 of"),
    ],
)
def test_labels_and_weights_of_a_training(changes, said):
    given = {"model": model(), "images": IMAGES, "labels": LABELS, "hyperparameters": hyperparameters()} | changes
    with pytest.raises(ValueError, match=said):
        fit(**given, **HOW)


def test_a_share_of_backgrounds_is_a_share():
    with pytest.raises(ValueError, match=r"share must be a share in \[0, 1\], got 2.0"):
        FreshTobias(torch.ones(30, 2, 2).bool(), 2.0)


def trained(labels=LABELS, network=model, **changes):
    known = {key: changes.pop(key) for key in ("weights", "mixed") if key in changes}
    found = network()
    return found, fit(found, IMAGES, labels, hyperparameters(**changes), **known, **HOW).losses


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("kind", [np.asarray, torch.Tensor.tolist, torch.Tensor.int, torch.Tensor.byte])
def test_labels_and_weights_of_any_kind_are_the_same(kind):
    assert trained(kind(LABELS))[1] == trained()[1]
    weights = torch.tensor([0.5, 1.5] * 15).double()
    wanted = trained(weights=weights)[1]
    assert trained(weights=weights.tolist())[1] == trained(weights=weights.numpy())[1] == wanted
    assert trained(mixed=(kind(LABELS.flip(0)), 0.5))[1] == trained(mixed=(LABELS.flip(0), 0.5))[1]


AROUND = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_does_not_depend_on_what_is_around_it(around, precision):
    changes = {"precision": precision, "mix": "both", "augment": {"crop": "resized", "pad": 0, "flip": True}}
    wanted, network = trained(**changes)[0], model()
    with AROUND[around]():
        found = trained(network=lambda: network, **changes)[0]
        assert accuracy(found, IMAGES, LABELS, device=CPU, precision=precision) == accuracy(
            wanted, IMAGES, LABELS, device=CPU, precision=precision
        )
    assert same(found, wanted)


def test_a_model_of_inference_tensors_is_refused():
    with torch.inference_mode():
        network = model()
    with pytest.raises(ValueError, match=r"SmallResNet were made under torch\.inference_mode"):
        fit(network, IMAGES, LABELS, hyperparameters(), **HOW)


def test_trainings_in_threads_draw_as_one_by_one():
    """Dropout draws from torch's generator, of which a process has one."""

    def build():
        network = model()
        network.fc = nn.Sequential(nn.Dropout(0.5), network.fc)
        return network

    wanted, found = trained(network=build, epochs=8)[1], []
    networks = [build() for _ in range(3)]
    threads = [
        threading.Thread(target=lambda own=own: found.append(trained(network=lambda: own, epochs=8)[1]))
        for own in networks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "there are no images"),
        ({"labels": LABELS[:-1]}, "one label for each of 30 items"),
        ({"labels": [*LABELS.tolist(), 0]}, "one label for each of 30 items"),
        ({"labels": LABELS - 1}, "labels must count classes from 0, got -1"),
        ({"labels": LABELS + 1}, "labels go up to 3, so the model must return a logit for each of 4 classes"),
        ({"batch_size": 0}, "batch_size must be an integer"),
        ({"crop": 0}, r"crop must be a share in \(0, 1\] that leaves a pixel of 16, got 0"),
        ({"crop": 2}, "crop must be a share"),
        ({"crop": 0.01}, "crop must be a share"),
        ({"precision": "fp16"}, "precision must be one of float32, bfloat16, got 'fp16'"),
    ],
)
def test_what_an_evaluation_is_given(changes, said):
    with pytest.raises(ValueError, match=said):
        accuracy(**({"model": model(), "images": IMAGES, "labels": LABELS, "device": CPU} | changes))


def test_an_evaluation_computes_in_the_models_dtype_and_leaves_its_flags():
    network = trained(epochs=12)[0].double().train()
    network.stem.eval()
    assert accuracy(network, IMAGES, LABELS.tolist(), device=CPU) > 90
    assert network.training
    assert not network.stem.training
