"""Training: resumed bit for bit, errors that say what to do, augmentation per image."""

import math
import os
import signal
import time

import numpy as np
import pytest
import torch

from dqv2.runtime.files import atomic_path
from dqv2.runtime.resume import Resume
from dqv2.runtime.seeding import generator
from dqv2.runtime.stop import Stopped, stop_signals
from dqv2.select.scores import Scores
from dqv2.semantic.saliency import forward_pass
from dqv2.train.augment import augment, mix_pairs
from dqv2.train.loop import FreshTobias, Recipe, accuracy, fit
from dqv2.train.models import Network, build_model, load_model, save_model
from dqv2.train.scoring import Presentations, score_by_training

CPU = torch.device("cpu")
AUGMENT = {"crop": "pad", "pad": 2, "flip": True}


def recipe(**changes):
    values = {"batch_size": 8, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
    values |= {"augment": AUGMENT, "epochs": 4}
    return Recipe(**(values | changes))


@pytest.fixture
def data():
    images = torch.randint(0, 256, (30, 3, 16, 16), dtype=torch.uint8, generator=generator(0, "images"))
    labels = torch.arange(30) % 3
    images[:, 0] = (labels * 100).to(torch.uint8)[:, None, None]
    return images, labels


def model(seed=0):
    return build_model(Network("resnet8", 3, 32), seed=seed, purpose="train")


class Stop(BaseException):
    pass


class Cut(Resume):
    """Dies right after its second checkpoint."""

    count = 0

    def save(self, state):
        super().save(state)
        self.count += 1
        if self.count == 2:
            raise Stop


def test_a_killed_training_ends_in_the_same_weights(data, tmp_path):
    whole = model()
    history = fit(whole, *data, recipe(), seed=1, purpose="t", device=CPU)
    cut = model()
    with pytest.raises(Stop):
        fit(
            cut,
            *data,
            recipe(),
            seed=1,
            purpose="t",
            device=CPU,
            resume=Cut(tmp_path, {"a": 1}),
            checkpoint_seconds=0,
        )
    again = model(seed=9)  # other weights: they must come from the checkpoint
    resumed = fit(
        again,
        *data,
        recipe(),
        seed=1,
        purpose="t",
        device=CPU,
        resume=Resume(tmp_path, {"a": 1}),
        checkpoint_seconds=0,
    )
    assert resumed.losses == history.losses
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize(("at", "number"), [(1, signal.SIGTERM), (6, signal.SIGINT), (8, signal.SIGTERM), (16, 15)])
def test_asked_to_stop_it_keeps_a_checkpoint_after_the_step_and_ends_in_the_same_weights(data, tmp_path, at, number):
    """At the first step, in the middle and at the end of an epoch (of 4 steps), and after the last step."""
    steps = 0

    def count(images, rows, draws):
        nonlocal steps
        steps += 1
        if steps == at:
            os.kill(os.getpid(), number)
        return images

    common = {"seed": 1, "purpose": "t", "device": CPU, "fresh": count}
    whole, cut, again = model(), model(), model(seed=9)
    history = fit(whole, *data, recipe(), **(common | {"fresh": None}))
    with stop_signals(), pytest.raises(Stopped, match=signal.Signals(number).name):
        fit(cut, *data, recipe(), resume=Resume(tmp_path, {"a": 1}), **common)
    assert steps == at
    resumed = fit(again, *data, recipe(), resume=Resume(tmp_path, {"a": 1}), **common)
    assert steps == 16, "no step was done twice"
    assert resumed.losses == history.losses
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_outside_a_training_a_signal_stops_at_once_and_leaves_nothing_half_written(tmp_path):
    target = tmp_path / "x"

    def write():
        with stop_signals(), atomic_path(target) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    with pytest.raises(Stopped):
        write()
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_checkpoint_of_another_training_is_ignored(tmp_path):
    Resume(tmp_path, {"rate": 0.1}).save({"step": 3})
    assert Resume(tmp_path, {"rate": 0.1}).load() == {"step": 3}
    assert Resume(tmp_path, {"rate": 0.2}).load() is None


def test_a_finished_result_is_put_back_and_survives_deletion(tmp_path):
    output = tmp_path / "out/metrics.json"
    output.parent.mkdir()
    output.write_text("{}")
    resume = Resume(tmp_path / "resume", {"seed": 0})
    resume.save({"step": 1})
    assert not resume.restore(output)
    resume.finish(output)
    assert resume.load() is None, "the checkpoint is no longer needed"
    output.unlink()
    assert not Resume(tmp_path / "resume", {"seed": 1}).restore(output)
    assert resume.restore(output)
    assert output.read_text() == "{}"


def test_training_learns_and_repeats(data):
    first, second = model(), model()
    losses = [fit(m, *data, recipe(epochs=12), seed=2, purpose="t", device=CPU).losses for m in (first, second)]
    assert losses[0] == losses[1]
    assert losses[0][-1] < 0.5 * losses[0][0]
    images, labels = (tensor.numpy() for tensor in data)
    assert accuracy(first, images, labels, device=CPU, batch_size=7) > 90


def test_length_in_steps():
    assert recipe(epochs=4).steps(30) == (16, 4)
    assert recipe(epochs=None, iterations=10).steps(30) == (10, 4)
    assert recipe(epochs=4).steps(33) == (16, 4), "a last batch of one is left out"


def test_iterations_are_exact(data):
    m = model()
    history = fit(m, *data, recipe(epochs=None, iterations=6), seed=0, purpose="t", device=CPU)
    assert int(m.state_dict()["stem.1.num_batches_tracked"]) == 6
    assert len(history.losses) == 2


def test_a_loss_that_is_no_number_says_where(data):
    with pytest.raises(FloatingPointError, match=r"epoch \d+, step \d+ of 16: lower learning_rate"):
        fit(model(), *data, recipe(learning_rate=1e30), seed=0, purpose="t", device=CPU)


def test_fresh_backgrounds_keep_the_foreground_and_change_at_every_visit(data):
    images, _ = data
    masks = torch.zeros(30, 4, 4, dtype=torch.bool)
    masks[:, 1:3] = True
    rows = torch.arange(10, 26)
    fresh, draws = FreshTobias(masks, 1.0), generator(0)
    one, two = (fresh(images[rows], rows, draws) for _ in range(2))
    assert torch.equal(one[:, :, 4:12], images[rows][:, :, 4:12])
    assert not torch.equal(one[:, :, :4], images[rows][:, :, :4])
    assert not torch.equal(one, two)
    half = FreshTobias(masks, 0.5)(images[rows], rows, draws)
    changed = (half != images[rows]).flatten(1).any(1).sum()
    assert 2 < changed < 14
    assert torch.equal(FreshTobias(masks, 0.0)(images[rows], rows, draws), images[rows])


def test_training_with_fresh_backgrounds_repeats(data):
    masks = torch.ones(30, 4, 4, dtype=torch.bool)
    masks[:, 0] = False
    one, two, without = (
        fit(model(), *data, recipe(), seed=2, purpose="t", device=CPU, fresh=fresh).losses
        for fresh in (FreshTobias(masks, 0.5), FreshTobias(masks, 0.5), None)
    )
    assert one == two != without


def test_mixup_blends_with_the_partner_by_the_share():
    images = torch.rand(8, 3, 6, 6, generator=generator(0))
    mixed, partner, share = mix_pairs(images, kind="mixup", mixup_alpha=1.0, cutmix_alpha=1.0, generator=generator(1))
    assert sorted(partner.tolist()) == list(range(8))
    assert 0 < share < 1
    assert torch.allclose(mixed, share * images + (1 - share) * images[partner])


def test_cutmix_pastes_one_box_whose_area_is_the_partners_share():
    images = torch.rand(8, 3, 20, 30, generator=generator(0))
    for seed in range(20):
        mixed, partner, share = mix_pairs(
            images, kind="cutmix", mixup_alpha=1.0, cutmix_alpha=1.0, generator=generator(seed)
        )
        pasted = (mixed != images)[partner != torch.arange(8)].any(1)
        assert (mixed == images).logical_or(mixed == images[partner]).all()
        assert pasted.float().mean().item() == pytest.approx(1 - share, abs=1e-6)
        assert 0 <= share <= 1


def test_both_takes_each_of_the_two():
    images, kinds = torch.rand(4, 3, 8, 8, generator=generator(0)), set()
    for seed in range(30):
        mixed, partner, _ = mix_pairs(images, kind="both", mixup_alpha=1.0, cutmix_alpha=1.0, generator=generator(seed))
        kinds.add(bool((mixed == images).logical_or(mixed == images[partner]).all()))
    assert kinds == {True, False}


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "both"])
def test_training_with_mixed_images_learns_and_repeats(data, kind):
    first, second = model(), model()
    losses = [
        fit(m, *data, recipe(epochs=12, mix=kind), seed=2, purpose="t", device=CPU).losses for m in (first, second)
    ]
    assert losses[0] == losses[1]
    images, labels = (tensor.numpy() for tensor in data)
    assert accuracy(first, images, labels, device=CPU) > 60


def test_too_few_images(data):
    images, labels = data
    with pytest.raises(ValueError, match="raise keep_ratio"):
        fit(model(), images[:1], labels[:1], recipe(), seed=0, purpose="t", device=CPU)


def test_memory_error_names_the_key(data, monkeypatch):
    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("out of memory")

    m = model()
    monkeypatch.setattr(m, "forward", full)
    with pytest.raises(RuntimeError, match="batches of 8 images of 16x16: lower batch_size"):
        fit(m, *data, recipe(), seed=0, purpose="t", device=CPU)


def test_pad_crop_shifts_each_image_by_itself():
    images = torch.zeros(64, 1, 8, 8)
    images[:, :, 4, 4] = 1
    moved = augment(images, crop="pad", pad=2, flip=False, generator=generator(0))
    places = {tuple(place) for place in moved[:, 0].nonzero()[:, 1:].tolist()}
    assert moved.sum() == 64
    assert len(places) > 10
    assert all(2 <= row <= 6 and 2 <= column <= 6 for row, column in places)


def test_flip_mirrors_about_half():
    images = torch.arange(8.0).expand(200, 1, 8, 8)
    mirrored = (augment(images, crop="none", pad=0, flip=True, generator=generator(0))[:, 0, 0, 0] == 7).sum()
    assert 70 < mirrored < 130


def test_resized_crop_stays_inside_the_image():
    ramp = torch.linspace(1, 2, 32).expand(100, 3, 32, 32).clone()
    crops = augment(ramp, crop="resized", pad=0, flip=False, generator=generator(0))
    assert crops.shape == ramp.shape
    assert crops.min() >= 1
    assert crops.max() <= 2 + 1e-6
    width = (crops[:, 0, 0, -1] - crops[:, 0, 0, 0]).numpy()
    assert 0 < width.min() < 0.5
    assert 0.9 < width.max() <= 1.0001


def test_augmentation_repeats_by_its_generator():
    images = torch.rand(5, 3, 16, 16, generator=generator(0))
    one, two = (augment(images, crop="resized", pad=0, flip=True, generator=generator(3)) for _ in range(2))
    assert torch.equal(one, two)


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
    with pytest.raises(ValueError, match="plain stem"):
        build_model(Network("vit_tiny_patch16_224", 3, 32, "small"), seed=0, purpose="x")


def test_a_saved_model_is_the_same(tmp_path):
    network = model()
    save_model(tmp_path / "m.pt", network, Network("resnet8", 3, 16))
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(network.eval()(x), load_model(tmp_path / "m.pt", CPU)(x))


def test_accuracy_of_nothing_is_no_number():
    assert math.isnan(accuracy(model(), np.zeros((0, 3, 8, 8), np.uint8), np.zeros(0, np.int64), device=CPU))


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


def test_adamw_is_another_training(data):
    weights = []
    for name in ("sgd", "adamw"):
        network = model()
        fit(network, *data, recipe(optimiser=name, learning_rate=1e-3), seed=1, purpose="t", device=CPU)
        weights.append(network.fc.weight.detach())
    assert not torch.allclose(*weights)


def test_labels_of_mixed_images_are_shared(data):
    """With the own share 1 it is the plain loss; with 0 it is the loss of the partners' labels."""
    images, labels = data
    others = (labels + 1) % 3

    def trained(targets, mixed):
        network = model()
        history = fit(network, images, targets, recipe(), seed=1, purpose="t", device=CPU, mixed=mixed)
        return history.losses

    assert trained(labels, (others, 1.0)) == trained(labels, None)
    assert trained(labels, (others, 0.0)) == trained(others, None)
    assert trained(labels, (others, 0.5)) not in (trained(labels, None), trained(others, None))
    with pytest.raises(ValueError, match="mixed again"):
        fit(model(), images, labels, recipe(mix="mixup"), seed=1, purpose="t", device=CPU, mixed=(others, 0.5))


def test_presentations_are_what_the_training_saw(data):
    """Every image once an epoch; the last epochs are mostly right on data this easy."""
    shown = Presentations(30)
    fit(model(), *data, recipe(epochs=12), seed=1, purpose="t", device=CPU, watch=shown)
    assert shown.correct.shape == (12, 30)
    assert shown.correct[-1].float().mean() > shown.correct[0].float().mean()


def test_an_image_that_an_epoch_leaves_out_keeps_its_last_state():
    shown = Presentations(3)
    shown(0, torch.tensor([0, 1, 2]), torch.tensor([True, False, True]))
    shown(1, torch.tensor([0]), torch.tensor([False]))
    assert shown.correct.tolist() == [[True, False, True], [False, False, True]]


def test_scoring_that_was_cut_off_gives_the_same_scores(data, tmp_path):
    def scored(resume):
        options = {"seed": 1, "purpose": "s", "device": CPU, "resume": resume}
        return score_by_training(model(), *data, recipe(), **options)

    whole = scored(None)
    assert set(whole.values) == {"grand", "el2n", "forgetting", "least_confidence", "entropy", "margin"}
    shown = Presentations(30)
    options = {"seed": 1, "purpose": "s", "device": CPU, "watch": shown, "checkpoint_seconds": 0}
    with pytest.raises(Stop):
        fit(model(), *data, recipe(), resume=Cut(tmp_path, {}), **options)
    again = scored(Resume(tmp_path, {}))
    for name, values in whole.values.items():
        np.testing.assert_array_equal(again.values[name], values)


def test_means_over_initialisations(tmp_path):
    parts = [Scores({"grand": np.array([1.0, 3.0])}, 2.0), Scores({"grand": np.array([3.0, 4.0])}, 1.0)]
    Scores.mean(parts).save(tmp_path / "scores.npz")
    read = Scores.load(tmp_path / "scores.npz")
    assert read.values["grand"].tolist() == [2.0, 3.5]
    assert read.seconds == 3.0
