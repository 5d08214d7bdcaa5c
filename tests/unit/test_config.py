"""The configuration refuses what it does not know, by the key's path and with what is allowed."""

import pytest

from dqv2.config import Config, ConfigError, load_config
from tests.conftest import merged


@pytest.mark.parametrize(
    "overlay",
    [
        (),
        ("demo.yaml",),
        ("smoke.yaml",),
        ("folder.yaml",),
        ("own_images.yaml",),
        ("boxes.yaml",),
        ("cifar10.yaml",),
        ("masks.yaml",),
    ],
)
def test_the_shipped_files_are_valid(overlay):
    assert isinstance(load_config(merged(*overlay)), Config)


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("datasets.imagenette.sise", 3, ["datasets.imagenette.sise", "Did you mean size?", "per_class"]),
        ("datasets.imagenette.on_bad", "ignore", ["datasets.imagenette.on_bad = 'ignore'", "'error' or 'skip'"]),
        ("datasets.imagenette.per_class", {"training": 3}, ["datasets.imagenette.per_class.training", "'train'"]),
        ("datasets.imagenette.validation", 1.0, ["datasets.imagenette.validation = 1.0", "less than 1"]),
        ("datasets.digits.folder", "x", ["datasets.digits.folder", "split_seed"]),
        ("colour", 1, ["colour: there is no such key", "experiments"]),
        ("defaults.keep_ratio", 4, ["defaults.keep_ratio = 4", "less than or equal to 1"]),
        ("experiments.fig5b.keep_ratio", [0.1, 4], ["experiments.fig5b.keep_ratio.1 = 4"]),
        ("experiments.fig5b.arms.0.maks", "early", ["experiments.fig5b.arms.0.maks", "Did you mean mask?"]),
        ("experiments.fig6.figure.kind", "pie", ["experiments.fig6.figure.kind = 'pie'", "'mixing'"]),
        ("experiments.fig6.method", "dqv3", ["experiments.fig6.method = 'dqv3'", "methods", "dq_v2"]),
        ("methods.bad name", {"title": "x"}, ["methods.bad name", "letters, digits and _"]),
        ("targets", ["fig9"], ["targets: 'fig9'", "fig5b"]),
        ("trainers.resnet8.epochs", 3, ["trainers.resnet8", "either epochs or iterations"]),
        ("trainers.resnet8.on_out_of_memory", "shrink", ["trainers.resnet8.on_out_of_memory", "exact", "approximate"]),
        ("trainers.resnet8.precision", "half", ["trainers.resnet8.precision = 'half'", "'float32'", "'bfloat16'"]),
        ("trainers.resnet8.devices", 0, ["trainers.resnet8.devices = 0", "greater than or equal to 1"]),
        ("trainers.resnet8.devices", 65, ["trainers.resnet8", "65 devices cannot share a batch of 64"]),
        ("masks.centre.backbone", "early", ["masks.centre", "network and shuffled"]),
        ("mixtures.o100.originals", 0.0, ["mixtures.o100", "cannot both be 0"]),
        ("seeds", [0, 0], ["seeds = [0, 0]", "twice"]),
        ("experiments.fig5a.figure", {"kind": "line"}, ["experiments.fig5a", "figure and pictures"]),
        ("datasets.digits.train", 1700, ["datasets.digits", "1797"]),
        ("datasets.digits.size", "big", ["datasets.digits.size = 'big'", "integer"]),
    ],
)
def test_faults_are_named(demo, change, path, value, parts):
    with pytest.raises(ConfigError) as error:
        load_config(change(demo, path, value))
    for part in parts:
        assert part in str(error.value)
    assert len(str(error.value).splitlines()) == 2, "one fault, one line"


def test_all_faults_come_at_once(demo, change):
    values = change(change(demo, "defaults.keep_ratio", 0), "run", "a/b")
    with pytest.raises(ConfigError, match="2 errors"):
        load_config(values)


def test_one_value_is_a_list_of_one(demo):
    """As --config targets=fig2 gives it."""
    config = load_config(demo | {"targets": "fig2"})
    assert config.targets == ["fig2"]


@pytest.mark.parametrize("key", ["seeds", "experiments.fig4a.seeds", "experiments.seeds.training_seeds"])
@pytest.mark.parametrize("value", [5, "5"])
def test_a_bare_number_is_not_taken_for_a_seed(demo, change, key, value):
    with pytest.raises(ConfigError) as error:
        load_config(change(demo, key, value))
    said = "seeds are a list: write [5] for the seed 5, or [0, 1, 2, 3, 4] for five seeds"
    assert str(error.value).endswith(f"{key} = {value!r}: {said}")


@pytest.mark.parametrize("value", ["0-4", "range(5)", "[0, 1]", 0.5])
def test_seeds_that_are_no_number_are_told_the_form_of_a_list_alone(demo, change, value):
    with pytest.raises(ConfigError, match=r"seeds are a list: write \[0, 1, 2, 3, 4\] for five seeds$"):
        load_config(change(demo, "seeds", value))


@pytest.mark.parametrize("key", ["seeds", "targets", "experiments.fig4a.arms"])
def test_nothing_in_the_place_of_a_list_is_called_empty(demo, change, key):
    with pytest.raises(ConfigError, match=f"{key} = None: it is empty: give a list, or leave the key out$"):
        load_config(change(demo, key, None))


def test_a_missing_key_is_named(demo):
    del demo["seeds"]
    with pytest.raises(ConfigError, match="seeds: this key is missing"):
        load_config(demo)


@pytest.mark.parametrize(
    ("key", "value", "advice"),
    [
        ("seeds_per_job", 2, "a job does one seed now, .*leave it out"),
        ("arms_per_job", {"default": 4}, "a job does one arm now, .*leave it out"),
        ("needs", {"train": {"mem_mb": 1}}, "set-resources, in a profile"),
        ("jobs_per_gpu", 2, "--default-resources jobs_per_gpu=2"),
    ],
)
def test_a_key_that_is_gone_says_what_to_write_in_its_place(demo, key, value, advice):
    with pytest.raises(ConfigError, match=rf"\n  {key}: this key was removed; .*{advice}") as error:
        load_config(demo | {key: value})
    assert len(str(error.value).splitlines()) == 2
    with pytest.raises(ConfigError, match=rf"datasets\.digits\.{key}: there is no such key"):
        load_config(demo | {"datasets": {"digits": demo["datasets"]["digits"] | {key: value}}})


IDLE = {
    "selectors.random": ({"kind": "random", "n_bins": 7, "lam": 3, "features": "gradient"}, "n_bins, lam and features"),
    "selectors.herding": ({"kind": "herding", "n_bins": 5}, "n_bins has no effect on the kind herding"),
    "selectors.random_bins": ({"kind": "random_bins", "prune_hardest": 0.5}, "prune_hardest has no effect on the kind"),
    "trainers.resnet8": ({"mix": "none", "cutmix_alpha": 3}, "cutmix_alpha has no effect with mix: none"),
    "trainers.resnet8_mixup": ({"mix": "mixup", "cutmix_alpha": 3}, "cutmix_alpha has no effect with mix: mixup"),
    "datasets.digits.augment": ({"crop": "none", "pad": 9}, "pad has no effect with crop: none"),
    "trainers.vit": ({"momentum": 0.8}, "momentum has no effect with optimiser: adamw"),
    "backbones.early_vit": ({"optimiser": "adamw", "momentum": 0.8}, "momentum has no effect with optimiser: adamw"),
    "pixels.none": ({"share": 0.5}, "share has no effect with step: none"),
    "pixels.cutmix": ({"counts": "pixels"}, "counts has no effect with step: cutmix"),
    "experiments.fig5b.figure": ({"values": True, "decimals": 1}, "values and decimals have no effect with kind: line"),
    "experiments.seeds.figure": ({"values": True}, r"values has no effect .*: leave it out, .*\(values: null\)"),
    "experiments.table1.storage": ({"encoding": "png", "quality": 95}, "quality has no effect with encoding: png"),
    "experiments.fig4a.export": ({"empty_classes": True}, "empty_classes has no effect with images: none"),
}


@pytest.mark.parametrize("place", IDLE)
def test_a_key_without_effect_is_refused(demo, change, place):
    keys, said = IDLE[place]
    values = demo
    for key, value in keys.items():
        values = change(values, f"{place}.{key}", value)
    with pytest.raises(ConfigError, match=rf"{place}\S*: {said}"):
        load_config(values)


def test_a_key_without_effect_is_taken_at_its_default_and_where_it_has_one(demo, change):
    for key, value in {
        "selectors.bins.kind": "random",  # its n_bins and lam are the defaults, and an overlay cannot take them away
        "trainers.resnet8.mixup_alpha": 0.2,
        "trainers.resnet8_both": demo["trainers"]["resnet8_both"] | {"mixup_alpha": 0.5, "cutmix_alpha": 3},
        "datasets.digits.augment.pad": 2,
    }.items():
        load_config(change(demo, key, value))
