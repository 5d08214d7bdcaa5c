"""A batch that does not fit into a GPU's memory: its gradient summed over parts, or a refusal that says why."""

import logging
from copy import deepcopy

import pytest
import torch
from torch import nn

from dqv2.runtime.logging import logger
from dqv2.runtime.resume import Resume
from dqv2.train import step
from dqv2.train.fit import fit
from tests.unit.trainings import CPU, Cut, Stop, easy_set, hyperparameters, model

DOUBLE = 1e-12  # weights in float64: the order of sums, over 16 steps


@pytest.fixture
def data():
    return easy_set()


class Small(nn.Module):
    """Has memory for `room` images at once; looks at each image by itself, unless `between` mixes them."""

    def __init__(self, room=1000, between=None):
        super().__init__()
        torch.manual_seed(0)
        self.room, self.seen = room, []
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), between or nn.Identity(), nn.GELU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 3)
        )
        self.double()

    def forward(self, x):
        x = self.body[1](self.body[0](x))  # so that a failed attempt has changed running statistics
        if len(x) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.seen.append(len(x))
        return self.body[4](self.body[3](self.body[2](x)))


def trained(network, data, **changes):
    history = fit(network, *data, hyperparameters(**changes), seed=1, purpose="t", device=CPU)
    return history, network.state_dict()


def close(one, two):
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=DOUBLE)


@pytest.mark.parametrize("options", [{}, {"mix": "both"}, {"optimiser": "adamw", "learning_rate": 1e-3}])
def test_parts_of_a_batch_give_its_own_gradient(data, options):
    """8 images a step where 3 fit: parts of 2, found once; the last batch of 6 in parts of 2 as well."""
    whole, weights = trained(Small(), data, **options)
    small = Small(room=3)
    parts, again = trained(small, data, **options)
    close(weights, again)
    assert parts.losses == pytest.approx(whole.losses, abs=DOUBLE)
    assert (whole.part, parts.part) == (8, 2)
    assert small.seen == [2] * 15 * 4, "no step was done twice, and nothing was tried anew"


def test_it_is_said_in_the_log(data, monkeypatch, caplog):
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level(logging.INFO, logger="dqv2"):
        trained(Small(room=4), data)
    assert "does not suffice for 8 images at once: the same step again, in parts of at most 4" in caplog.text


def test_what_was_found_outlives_a_checkpoint(data, tmp_path):
    options = {"seed": 1, "purpose": "t", "device": CPU, "checkpoint_seconds": 0}
    with pytest.raises(Stop):
        fit(Small(room=4), *data, hyperparameters(), resume=Cut(tmp_path, {}), **options)
    again = Small()
    assert fit(again, *data, hyperparameters(), resume=Resume(tmp_path, {}), **options).part == 4
    close(trained(Small(), data)[1], again.state_dict())


def test_a_network_that_mixes_a_batch_is_refused_by_name(data):
    for between, why in ((nn.BatchNorm2d(8), "batch normalisation"), (nn.Dropout(0.1), "dropout")):
        with pytest.raises(RuntimeError, match=rf"batches of 8 images of 16x16.*{why}.*lower batch_size.*approximate"):
            trained(Small(room=4, between=between), data)
    trained(Small(room=4, between=nn.Dropout(0.0)), data)


def test_approximate_takes_the_parts_statistics_and_none_of_an_attempt_that_failed(data):
    network, other = (Small(room=4, between=nn.BatchNorm2d(8)) for _ in range(2))
    trained(network, data, on_out_of_memory="approximate")
    assert int(network.body[1].num_batches_tracked) == 2 * 16, "two parts of each of 16 batches"
    other.room = 8
    assert not torch.equal(network.body[4].weight, trained(other, data)[1]["body.4.weight"])


def test_nothing_is_tried_where_it_shall_fail_or_cannot_be_smaller(data):
    with pytest.raises(RuntimeError, match=r"batches of 8 images of 16x16: lower batch_size.*on_out_of_memory: exact"):
        trained(Small(room=4), data, on_out_of_memory="fail")
    with pytest.raises(RuntimeError, match="nor for 1 at once"):
        trained(Small(room=0), data)
    with pytest.raises(RuntimeError, match="nor for 2 at once"):
        trained(Small(room=1, between=nn.BatchNorm2d(8)), data, on_out_of_memory="approximate")


def test_an_optimiser_that_does_not_fit_is_no_reason_to_make_smaller_parts(data, monkeypatch):
    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.SGD, "step", full)
    with pytest.raises(RuntimeError, match=r"optimiser's state: lower batch_size .now 8."):
        fit(model(), *data, hyperparameters(), seed=0, purpose="t", device=CPU)


class Recorded:
    """In the place of a CUDA graph: takes memory, and computes."""

    alive = 0

    def __init__(self, gradient, model, images, target):
        if self.full:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.gradient = gradient
        Recorded.alive += 1

    def __call__(self, images, target):
        return self.gradient(images, target)

    def __del__(self):
        Recorded.alive -= not self.full


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("between", [nn.BatchNorm2d(8), nn.Dropout(0.5)])
def test_a_graph_that_leaves_too_little_memory_is_given_up(data, monkeypatch, caplog, between, full):
    """Networks that would be refused if they did not fit without a graph."""

    class Beside(Small):
        def forward(self, x):
            found = super().forward(x)
            if Recorded.alive and len(x) < 8:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return found

    class Stepper(step.Stepper):
        def __init__(self, *args):
            super().__init__(*args)
            self.may_record = True
            self.buffers = list(self.model.buffers())
            self.before = [torch.empty_like(buffer) for buffer in self.buffers]

    _, weights = trained(Small(between=deepcopy(between)), data)
    monkeypatch.setattr("dqv2.train.fit.Stepper", Stepper)
    monkeypatch.setattr(step, "GraphedGradient", Recorded)
    monkeypatch.setattr(Recorded, "full", full, raising=False)
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level(logging.INFO, logger="dqv2"):
        network = Beside(between=deepcopy(between))
        _, again = trained(network, data)
    for name, value in weights.items():
        assert torch.equal(again[name], value), name
    assert Recorded.alive == 0
    # Other tests may have left a second handler, which sees the same record
    assert len({id(each) for each in caplog.records if "kernel by kernel, not as" in each.getMessage()}) == 1
