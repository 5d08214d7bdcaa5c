"""Scores of images by early training."""

import numpy as np
import pytest
import torch

from dqv2.runtime.resume import Resume
from dqv2.train.fit import fit
from dqv2.train.scoring import Presentations, score_by_training
from tests.unit.trainings import CPU, Cut, Stop, easy_set, hyperparameters, model


@pytest.fixture
def data():
    return easy_set()


def test_presentations_are_what_the_training_saw(data):
    """Every image once an epoch; the last epochs are mostly right on data this easy."""
    shown = Presentations(30)
    fit(model(), *data, hyperparameters(epochs=12), seed=1, purpose="t", device=CPU, watch=shown)
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
        scores, seconds = score_by_training(model(), *data, hyperparameters(), **options)
        assert seconds > 0
        return scores

    whole = scored(None)
    assert set(whole) == {"grand", "el2n", "forgetting", "least_confidence", "entropy", "margin"}
    shown = Presentations(30)
    options = {"seed": 1, "purpose": "s", "device": CPU, "watch": shown, "checkpoint_seconds": 0}
    with pytest.raises(Stop):
        fit(model(), *data, hyperparameters(), resume=Cut(tmp_path, {}), **options)
    again = scored(Resume(tmp_path, {}))
    for name, values in whole.items():
        np.testing.assert_array_equal(again[name], values)
