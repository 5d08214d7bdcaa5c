"""Training: resumed bit for bit, errors that say what to do."""

import math
import os
import signal

import pytest
import torch

from dqv2.runtime.resume import Resume
from dqv2.runtime.seeding import generator
from dqv2.runtime.stop import Stopped, stop_signals
from dqv2.train.backgrounds import FreshTobias
from dqv2.train.batch import Target
from dqv2.train.evaluation import accuracy, central_crop
from dqv2.train.fit import fit
from dqv2.train.step import mean_loss
from tests.unit.trainings import CPU, Cut, Stop, easy_set, hyperparameters, model


@pytest.fixture
def data():
    return easy_set()


class Signals:
    """Sends this process a signal in a step; counts steps."""

    def __init__(self, at, number):
        self.at, self.number, self.steps = at, number, 0

    def __call__(self, epoch, rows, right):
        self.steps += 1
        if self.steps == self.at:
            os.kill(os.getpid(), self.number)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def with_dropout(seed=0):
    """A network that draws: which of its features it leaves out."""
    network = model(seed)
    network.fc = torch.nn.Sequential(torch.nn.Dropout(0.5), network.fc)
    return network


@pytest.mark.parametrize("build", [model, with_dropout])
def test_a_killed_training_ends_in_the_same_weights(data, tmp_path, build):
    how = {"seed": 1, "purpose": "t", "device": CPU, "checkpoint_seconds": 0}
    whole = build()
    history = fit(whole, *data, hyperparameters(), **how)
    cut = build()
    with pytest.raises(Stop):
        fit(cut, *data, hyperparameters(), resume=Cut(tmp_path, {"a": 1}), **how)
    torch.rand(1)  # whatever else draws from the global generator changes nothing
    again = build(seed=9)  # other weights: they must come from the checkpoint
    resumed = fit(again, *data, hyperparameters(), resume=Resume(tmp_path, {"a": 1}), **how)
    assert resumed.losses == history.losses
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_dropout_is_drawn_from_the_seed_and_leaves_the_global_generator_alone(data):
    losses = []
    for seed in (1, 1, 2):
        before = torch.get_rng_state()
        losses.append(fit(with_dropout(), *data, hyperparameters(), seed=seed, purpose="t", device=CPU).losses)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(("at", "number"), [(1, signal.SIGTERM), (6, signal.SIGINT), (8, signal.SIGTERM), (16, 15)])
def test_asked_to_stop_it_keeps_a_checkpoint_after_the_step_and_ends_in_the_same_weights(data, tmp_path, at, number):
    """At the first step, in the middle and at the end of an epoch (of 4 steps), and after the last step."""
    watch = Signals(at, number)
    common = {"seed": 1, "purpose": "t", "device": CPU}
    whole, cut, again = model(), model(), model(seed=9)
    history = fit(whole, *data, hyperparameters(), **common)
    with stop_signals(), pytest.raises(Stopped, match=signal.Signals(number).name):
        fit(cut, *data, hyperparameters(), resume=Resume(tmp_path, {"a": 1}), watch=watch, **common)
    assert watch.steps == at
    resumed = fit(again, *data, hyperparameters(), resume=Resume(tmp_path, {"a": 1}), watch=watch, **common)
    assert watch.steps == 16, "no step was done twice"
    assert resumed.losses == history.losses
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_training_learns_and_repeats(data):
    first, second = model(), model()
    how = hyperparameters(epochs=12)
    losses = [fit(m, *data, how, seed=2, purpose="t", device=CPU).losses for m in (first, second)]
    assert losses[0] == losses[1]
    assert losses[0][-1] < 0.5 * losses[0][0]
    images, labels = (tensor.numpy() for tensor in data)
    assert accuracy(first, images, labels, device=CPU, batch_size=7) > 90


def test_length_in_steps():
    assert hyperparameters(epochs=4).steps(30) == (16, 4)
    assert hyperparameters(epochs=None, iterations=10).steps(30) == (10, 4)
    assert hyperparameters(epochs=4).steps(33) == (16, 4), "a last batch of one is left out"


def test_iterations_are_exact(data):
    m = model()
    history = fit(m, *data, hyperparameters(epochs=None, iterations=6), seed=0, purpose="t", device=CPU)
    assert int(m.state_dict()["stem.1.num_batches_tracked"]) == 6
    assert len(history.losses) == 2


def test_a_loss_that_is_no_number_says_where(data):
    with pytest.raises(FloatingPointError, match=r"epoch \d+, step \d+ of 16: lower learning_rate"):
        fit(model(), *data, hyperparameters(learning_rate=1e30), seed=0, purpose="t", device=CPU)


def test_weights_that_diverge_in_the_last_step_are_told(data):
    how, network = hyperparameters(epochs=None, iterations=1), model()
    with torch.no_grad():
        network.stem[0].weight.mul_(1e25)  # the loss is finite, as the batch is normalised; its variance is not
    with pytest.raises(FloatingPointError, match=r"after the last step, 1 of 1, stem\..*: lower learning_rate"):
        fit(network, *data, how, seed=0, purpose="t", device=CPU)


def test_outputs_that_are_not_finite_are_no_guess(data):
    network = model()
    with torch.no_grad():
        network.fc.weight[1] = 3e38  # finite, and its product is not
    with pytest.raises(FloatingPointError, match=r"outputs for 30 images of 30 are not finite"):
        accuracy(network, *data, device=CPU, batch_size=7)


def test_fresh_backgrounds_keep_the_foreground_and_change_at_every_visit(data):
    images, _ = data
    masks = torch.zeros(30, 4, 4, dtype=torch.bool)
    masks[:, 1:3] = True
    seen, draws = images[10:26], generator(0)

    def visit(share):
        donors, cells, chosen = FreshTobias(masks, share).draw(torch.arange(10, 26), draws)
        return FreshTobias.compose(seen, seen[donors], cells, chosen)

    one, two = visit(1.0), visit(1.0)
    assert torch.equal(one[:, :, 4:12], seen[:, :, 4:12])
    assert not torch.equal(one[:, :, :4], seen[:, :, :4])
    assert not torch.equal(one, two)
    changed = (visit(0.5) != seen).flatten(1).any(1).sum()
    assert 2 < changed < 14
    assert torch.equal(visit(0.0), seen)


def test_training_with_fresh_backgrounds_repeats(data):
    masks = torch.ones(30, 4, 4, dtype=torch.bool)
    masks[:, 0] = False
    one, two, without = (
        fit(model(), *data, hyperparameters(), seed=2, purpose="t", device=CPU, fresh=fresh).losses
        for fresh in (FreshTobias(masks, 0.5), FreshTobias(masks, 0.5), None)
    )
    assert one == two != without


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "both"])
def test_training_with_mixed_images_learns_and_repeats(data, kind):
    first, second = model(), model()
    how = hyperparameters(epochs=12, mix=kind)
    losses = [fit(m, *data, how, seed=2, purpose="t", device=CPU).losses for m in (first, second)]
    assert losses[0] == losses[1]
    images, labels = (tensor.numpy() for tensor in data)
    assert accuracy(first, images, labels, device=CPU) > 60


def test_adamw_is_another_training(data):
    weights = []
    for name in ("sgd", "adamw"):
        network = model()
        fit(network, *data, hyperparameters(optimiser=name, learning_rate=1e-3), seed=1, purpose="t", device=CPU)
        weights.append(network.fc.weight.detach())
    assert not torch.allclose(*weights)


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_a_fused_optimiser_makes_the_steps_of_a_plain_one(data, monkeypatch, kind):
    """On a CPU it pairs weights and gradients in the order of their memory: both must be channels last."""
    how, found, original = hyperparameters(optimiser=kind.lower(), learning_rate=1e-3), [], getattr(torch.optim, kind)
    plain = lambda *args, fused, **more: original(*args, **more)  # noqa: E731
    for made in (original, plain):
        monkeypatch.setattr(torch.optim, kind, made)
        network = model().double()
        fit(network, *data, how, seed=1, purpose="t", device=CPU)
        found.append(network.state_dict())
    assert found[0]["blocks.0.conv1.weight"].is_contiguous(memory_format=torch.channels_last)
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("cosine", lambda i, total: 0.05 * (1 + math.cos(math.pi * i / total)) / 2),
        ("one_cycle", None),
    ],
)
def test_the_learning_rate_follows_its_schedule(data, monkeypatch, schedule, wanted):
    rates, step = [], torch.optim.SGD.step

    def noted(self, *args, **more):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **more)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    fit(model(), *data, hyperparameters(schedule=schedule), seed=0, purpose="t", device=CPU)
    assert len(rates) == 16
    if wanted:
        assert rates == pytest.approx([wanted(i, 16) for i in range(16)])
    else:
        assert max(rates) == pytest.approx(0.05, rel=0.05)
        assert rates.index(max(rates)) not in (0, 15)


def test_labels_of_mixed_images_are_shared(data):
    """With the own share 1 it is the plain loss; with 0 it is the loss of the partners' labels."""
    images, labels = data
    others = (labels + 1) % 3

    def trained(targets, mixed):
        network = model()
        history = fit(network, images, targets, hyperparameters(), seed=1, purpose="t", device=CPU, mixed=mixed)
        return history.losses

    assert trained(labels, (others, 1.0)) == trained(labels, None)
    assert trained(labels, (others, 0.0)) == trained(others, None)
    assert trained(labels, (others, 0.5)) not in (trained(labels, None), trained(others, None))
    with pytest.raises(ValueError, match="mixed again"):
        fit(model(), images, labels, hyperparameters(mix="mixup"), seed=1, purpose="t", device=CPU, mixed=(others, 0.5))


def test_weights_are_factors_of_each_images_loss(data):
    images, labels = data
    logits, own = torch.randn(5, 3, generator=generator(0)), torch.tensor([0, 1, 2, 1, 0])
    weights = torch.tensor([0.0, 2.0, 1.0, 1.5, 0.5])
    each = [torch.nn.functional.cross_entropy(logits[i : i + 1], own[i : i + 1]) for i in range(5)]
    wanted = sum(float(w) * float(loss) for w, loss in zip(weights, each, strict=True)) / 5
    assert float(mean_loss(logits, Target(own, None, weights=weights), 0.0)) == pytest.approx(wanted)
    part = Target(own, None, weights=weights).part(slice(1, 3))
    assert part.weights.tolist() == [2.0, 1.0]
    common = {"seed": 1, "purpose": "t", "device": CPU}
    plain, ones, without = (model() for _ in range(3))
    fit(plain, images, labels, hyperparameters(), **common)
    fit(ones, images, labels, hyperparameters(), weights=torch.ones(30), **common)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ones.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    # An image of weight 0 teaches nothing: class 2, wrongly called 0, is never learnt as 0
    wrong = torch.where(labels == 2, 0, labels)
    fit(without, images, wrong, hyperparameters(epochs=20), weights=(labels != 2).float() * 1.5, **common)
    assert accuracy(without, images[labels == 1], labels[labels == 1], device=CPU) == 100
    with pytest.raises(ValueError, match="have no weights of their own"):
        fit(model(), images, labels, hyperparameters(mix="mixup"), weights=torch.ones(30), **common)


@pytest.mark.parametrize("size", [40, 80])  # of which 0.8 is whole pixels
def test_the_central_crop_is_timms(size):
    from PIL import Image
    from timm.data import create_transform

    images = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8, generator=generator(0))
    images = torch.nn.functional.avg_pool2d(images.float(), 5, 1, 2).to(torch.uint8)  # not all noise
    assert central_crop(images, 1.0) is images
    theirs = create_transform(size, interpolation="bicubic", crop_pct=0.8, mean=(0.0,) * 3, std=(1.0,) * 3)
    pictures = [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in images]
    wanted = torch.stack([theirs(picture) for picture in pictures]) * 255
    apart = (central_crop(images, 0.8).float() - wanted).abs()
    assert apart[:, :, 2:-2, 2:-2].mean() < 2, "the same picture, up to a part of a pixel"
    assert (images.float() - wanted).abs().mean() > 4


def test_evaluation_looks_at_the_crop_it_is_told(data):
    images, labels = data
    framed = torch.zeros(30, 3, 32, 32, dtype=torch.uint8)
    framed[:, :, 8:24, 8:24] = images
    network = model()
    fit(network, images, labels, hyperparameters(epochs=20), seed=1, purpose="t", device=CPU)
    assert accuracy(network, framed, labels, device=CPU, crop=0.5) > accuracy(network, framed, labels, device=CPU) + 20


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 images are too few to train on"), (1, "1 image is too few to train")]
)
def test_fewer_than_two_images_are_refused(data, count, said):
    with pytest.raises(ValueError, match=f"{said}.*raise keep_ratio"):
        fit(model(), *(part[:count] for part in data), hyperparameters(), seed=1, purpose="t", device=CPU)
