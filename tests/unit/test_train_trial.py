"""Networks tried before the first job: what the trial says is what really happens."""

import re

import pytest
import torch
import torch.nn.functional as F

from dqv2.config import ConfigError, load_config
from dqv2.pixel.importance import grad_cam_pp
from dqv2.runtime.seeding import generator
from dqv2.semantic.saliency import forward_pass, saliency
from dqv2.train.models import Network, build_model
from dqv2.train.trial import check_networks

PLACE = "backbones.x on datasets.y"
TINY = {"embed_dim": 24, "depth": 1, "num_heads": 2, "patch_size": 8}


def options(model, args=None, *, size=32, input_size=None, stem="standard", epochs=1):
    more = {"image_size": size, "input_size": input_size, "stem": stem, "epochs": epochs}
    return {"model": model, "args": args or {}} | more


# network -> what the trial says where it is trained, where masks and where the importance of patches rest on it
CASES = [
    (options("resnet8"), "", "", ""),
    (options("resnet8", size=8), "", "single point", "single point"),
    (options("test_resnet"), "", "single point", "single point"),
    (options("test_resnet", input_size=64), "", "", ""),
    (options("test_vit", TINY | {"global_pool": "avg"}), "", "", ""),
    (options("test_vit", TINY | {"global_pool": "token"}), "", "", "does not decide by its last feature map"),
    (options("test_vit", TINY | {"global_pool": ""}), *["not a logit for each of 10 classes"] * 3),
    (
        options("vit_tiny_patch16_224", TINY | {"img_size": 64}),
        *[r"cannot take images of 32 px \(.*64.*: set input_size"] * 3,
    ),
    (options("test_vit", TINY | {"patch_size": 64}), *["cannot take images of 32 px"] * 3),
    (options("test_resnet", {"drop_rate": 2.0}), *["probability"] * 3),
    (options("test_resnet", {"global_pool": ""}), *["cannot take images of 32 px"] * 3),
    (options("mixer_s32_224", size=64), "", "not a map", "not a map"),
    (options("levit_128s", size=64), "", "not a map", "not a map"),
    (options("mobilenetv3_small_050"), "", "single point", "single point"),
    (options("test_convnext", size=8), *["Kernel size can't be greater than actual input size"] * 3),
    (options("crossvit_tiny_240"), *["cannot take images of 32 px"] * 3),
    (options("nope"), *["nor a model of timm"] * 3),
    (options("test_resnet", {"depht": 3}), *[r"'test_resnet' with args .*depht"] * 3),
    (options("vit_tiny_patch16_224", stem="small"), *["stem: small needs a ResNet"] * 3),
]


def said(wanted, use=""):
    """What the trial says of a network, in one line that begins with its key; empty where it passes."""
    try:
        check_networks({PLACE: wanted}, {PLACE: use} if use else {})
    except ValueError as error:
        return re.fullmatch(rf"{PLACE}: (.+)", str(error))[1]
    return ""


def really(wanted, use):
    """Whether the stages can do it: train, make embedding and logits, and masks or importance."""
    images = torch.randint(256, (2, 3, wanted["image_size"], wanted["image_size"]), generator=generator(0)).byte()
    try:
        model = build_model(Network.of(wanted, 10), seed=0, purpose="x")
        F.cross_entropy(model.train()(images / 255), torch.tensor([0, 1])).backward()
        found = forward_pass(model, images)
        assert found.logits.shape == (2, 10)
        if use:
            {"masks": saliency, "importance": grad_cam_pp}[use](model, images)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(str(value) for value in case[0].values()))
def test_the_trial_says_what_really_happens(case):
    wanted, *expected = case
    for use, pattern in zip(("", "masks", "importance"), expected, strict=True):
        message = said(wanted, use)
        assert bool(message) == bool(pattern), message
        assert re.search(pattern, message)
        assert really(wanted, use) == (not message), use


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("hiera_tiny_224", "Hiera"),
        ("gmlp_ti16_224", "MlpMixer"),
        ("coat_lite_tiny", "CoaT"),
        ("test_mambaout", "Mamba"),
    ],
)
def test_networks_of_other_families_without_a_map_are_refused_by_their_own_name(model, kind):
    wanted = options(model, input_size=224, epochs=0)
    assert said(wanted) == ""
    assert re.match(rf"model '{model}' gives no masks: the last features of {kind}", said(wanted, "masks"))


class OneImageAtATime(torch.nn.Module):
    """What runs and does not train: normalisation over the places of a single point."""

    def __init__(self):
        super().__init__()
        self.norm, self.fc = torch.nn.InstanceNorm2d(3), torch.nn.Linear(3, 10)

    def forward_features(self, x):
        return self.norm(x.mean((2, 3), keepdim=True)) if self.training else x

    def forward_head(self, x, pre_logits=False):
        return x.mean((2, 3)) if pre_logits else self.fc(x.mean((2, 3)))

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


class WithAuxiliary(OneImageAtATime):
    """What gives a second output where it is trained."""

    def forward(self, x):
        return (self.forward_head(x), None) if self.training else self.forward_head(x)


@pytest.mark.parametrize(
    ("kind", "message"), [(OneImageAtATime, "more than 1 spatial element"), (WithAuxiliary, "gives a tuple")]
)
def test_what_runs_and_cannot_be_trained_is_refused_where_it_is_to_be_trained(monkeypatch, kind, message):
    monkeypatch.setattr("dqv2.train.trial.build_model", lambda *_, **__: kind())
    assert message in said(options("x"))
    assert said(options("x", epochs=0)) == ""


@pytest.mark.parametrize(
    ("block", "path", "value", "message"),
    [
        ("trainers", "resnet8.args", {"depth": 1}, "args are for a model of timm's, and resnet8 takes none"),
        (
            "backbones",
            "early.args",
            {"in_chans": 1},
            r"in_chans cannot be set here .*images have three",
        ),
        (
            "backbones",
            "early.args",
            {"pretrained": True},
            r"pretrained cannot be set here .*weights of a backbone says so",
        ),
        ("backbones", "early.args", {"num_classes": 9}, "num_classes cannot be set here .*the dataset says how many"),
        ("backbones", "early.args", {"features_only": True}, "features_only cannot be set here .*last layer is needed"),
    ],
)
def test_arguments_that_are_not_the_configurations_are_refused_by_key(demo, change, block, path, value, message):
    values = demo if block == "trainers" else change(demo, "backbones.early.model", "resnet18")
    with pytest.raises(ConfigError, match=rf"{block}\.{path}: {message}"):
        load_config(change(values, f"{block}.{path}", value))
