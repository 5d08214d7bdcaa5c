"""Precision, torch.compile, and steps that do not make the host wait for the GPU."""

import pytest
import torch
from torch import nn

from dqv2.train.backgrounds import FreshTobias
from dqv2.train.batch import Batches
from dqv2.train.evaluation import accuracy
from dqv2.train.feed import Feed
from dqv2.train.fit import fit
from dqv2.train.step import Stepper
from tests.unit.trainings import CPU, easy_set, hyperparameters, model


@pytest.fixture
def data():
    return easy_set()


def trained(data, **changes):
    network = model()
    history = fit(network, *data, hyperparameters(**changes), seed=1, purpose="t", device=CPU)
    return network, history


def test_bfloat16_is_of_the_arithmetic_alone(data):
    full, _ = trained(data, epochs=12)
    half, history = trained(data, epochs=12, precision="bfloat16")
    assert {value.dtype for value in half.state_dict().values()} == {torch.float32, torch.int64}
    assert not torch.equal(full.fc.weight, half.fc.weight)
    assert history.losses[-1] < 0.5 * history.losses[0]
    assert accuracy(half, *data, device=CPU, precision="bfloat16") > 90


@pytest.mark.parametrize(
    ("flags", "precision"),
    [({"avx2", "avx512f"}, "float32"), ({"avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16")],
)
def test_auto_is_bfloat16_where_the_processor_has_units_for_it(data, monkeypatch, flags, precision):
    monkeypatch.setattr("dqv2.runtime.device.cpu_flags", lambda: flags)
    auto, history = trained(data, precision="auto")
    told, _ = trained(data, precision=precision)
    assert history.precision == precision
    assert torch.equal(auto.fc.weight, told.fc.weight)


def test_evaluation_is_in_the_precision_asked_for(data):
    class Says(nn.Module):
        def forward(self, x):
            seen.append(torch.is_autocast_enabled("cpu"))
            return x.mean((2, 3))

    for precision, expected in (("float32", False), ("bfloat16", True)):
        seen = []
        accuracy(Says(), *data, device=CPU, precision=precision, batch_size=16)
        assert seen == [expected] * 2


def test_a_compiled_network_is_trained_and_kept_under_its_own_names(data, monkeypatch):
    """By the translator that changes nothing, as the real one takes a minute."""
    compiled = []

    def translate(network, **options):
        compiled.append(network)
        return compile_(network, backend="eager", **options)

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", translate)
    monkeypatch.setattr("dqv2.train.fit.why_not_compiled", lambda device: None)
    plain, translated = trained(data)[0], trained(data, compile=True)[0]
    assert compiled == [translated]
    for name, value in plain.state_dict().items():
        assert torch.equal(translated.state_dict()[name], value), name


def test_where_nothing_can_be_compiled_no_training_begins(data, monkeypatch):
    monkeypatch.setattr("dqv2.train.fit.why_not_compiled", lambda device: f"no compiler for the {device}")
    with pytest.raises(ValueError, match="no compiler for the cpu"):
        trained(data, compile=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("crop", ["pad", "resized"])
def test_no_step_waits_for_the_gpu(data, crop):
    device = torch.device("cuda", 0)
    masks = torch.zeros(30, 4, 4, dtype=torch.bool)
    masks[:, 1:3] = True
    how = hyperparameters(mix="both", precision="bfloat16", augment={"crop": crop, "pad": 2, "flip": True})
    network = model().to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, fused=True)
    batches = Batches(Feed(data[0], device), data[1], how, fresh=FreshTobias(masks, 0.5))
    step, draws, rows = Stepper(network, optimiser, how), torch.Generator(), [torch.arange(8)] * 4
    for batch in batches(rows, draws):  # what is made once, and kernels that are chosen once
        step(batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches(rows, draws):
            step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
