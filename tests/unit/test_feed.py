"""Images that do not fit are read batch by batch, and nothing else changes."""

import numpy as np
import pytest
import torch

from dqv2.data import Pack, write_pack
from dqv2.data.pack import PackedImages
from dqv2.select import coreset as coreset_module
from dqv2.select.coreset import coreset_images, mix
from dqv2.semantic.overlap import iou_of_images, mean_overlap
from dqv2.semantic.recipe import make_recipe
from dqv2.train import feed as feed_module
from dqv2.train.feed import Feed
from dqv2.train.fit import fit
from dqv2.train.hyperparameters import Hyperparameters

CPU = torch.device("cpu")


@pytest.fixture
def pack(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 3, 16, 16), dtype=np.uint8)
    items = [(f"{i:02d}", i % 3, None, image) for i, image in enumerate(pixels)]
    about = {"dataset": "set", "split": "train", "classes": ["a", "b", "c"], "n": 30, "size": 16}
    return Pack.open(write_pack(tmp_path / "pack", items=items, **about))


@pytest.fixture
def no_room(monkeypatch):
    for module in (feed_module, coreset_module):
        monkeypatch.setattr(module, "fits_memory", lambda *_: False)


def test_batches_are_the_same_wherever_the_images_lie(pack, no_room):
    rows = torch.randperm(30, generator=torch.Generator().manual_seed(0)).split(7)
    lazy, whole = Feed(pack.images, CPU), Feed(torch.from_numpy(np.array(pack.images)), CPU)
    assert isinstance(lazy.images, PackedImages)
    for a, b in zip(lazy.batches(rows), whole.batches(rows), strict=True):
        assert torch.equal(a, b)
    assert list(lazy.batches([])) == []


def test_a_failure_to_read_reaches_the_training(no_room):
    class Broken:
        shape = (4, 3, 8, 8)

        def __getitem__(self, _):
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(Feed(Broken(), CPU).batches([torch.arange(2)]))


def test_a_training_ends_in_the_same_weights(pack, monkeypatch):
    hyperparameters = Hyperparameters(
        batch_size=8,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=0.0,
        augment={"crop": "pad", "pad": 2, "flip": True},
        epochs=2,
    )
    weights = []
    for room in (True, False):
        monkeypatch.setattr(feed_module, "fits_memory", lambda *_, room=room: room)
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 3))
        fit(model, pack.images, torch.from_numpy(pack.labels), hyperparameters, seed=0, purpose="test", device=CPU)
        weights.append(model[1].weight.detach())
    assert torch.equal(*weights)


def test_a_coreset_that_does_not_fit_is_composed_as_it_is_read(pack, monkeypatch):
    draws = torch.Generator().manual_seed(0)
    coreset = mix(30, originals=0.5, tobias=0.5, generator=draws)
    masks = torch.zeros(30, 4, 4, dtype=torch.bool)
    masks[:, :2] = True
    recipe = make_recipe(masks, generator=draws)
    whole, labels = coreset_images(coreset, pack, recipe)
    monkeypatch.setattr(coreset_module, "fits_memory", lambda *_: False)
    lazy, same = coreset_images(coreset, pack, recipe)
    assert torch.equal(labels, same)
    assert (lazy.shape, len(lazy), lazy.dtype) == (tuple(whole.shape), len(coreset), np.uint8)
    np.testing.assert_array_equal(np.array(lazy), whole.numpy())  # as a feed takes it onto a device where it fits
    for rows in (np.array([29, 0, 15]), np.arange(15), np.arange(15, 30), slice(3, 7)):
        np.testing.assert_array_equal(lazy[rows], whole.numpy()[rows])


# -- overlap ----------------------------------------------------------------------------------------------------------


def test_overlap_is_that_of_the_definition():
    objects = np.zeros((2, 4, 4), bool)
    objects[0, :2], objects[1, :, :2] = True, True
    masks = np.zeros((2, 2, 2), bool)
    masks[:, 0] = True  # the upper half of both
    assert iou_of_images(masks, objects).tolist() == pytest.approx([1.0, 4 / 12])
    found = mean_overlap(masks, objects, generator=torch.Generator())
    assert found["iou"] == pytest.approx(found["iou_others"]) == pytest.approx((1 + 1 / 3) / 2)
    assert found["own_minus_others"] == pytest.approx(0, abs=1e-6)
    masks[1] = [[True, False], [True, False]]
    found = mean_overlap(masks, objects, generator=torch.Generator())
    assert (found["iou"], found["own_minus_others"]) == pytest.approx((1.0, 2 / 3), abs=1e-6)


def test_masks_and_objects_are_as_many():
    masks, objects = np.ones((3, 2, 2), bool), np.ones((6, 4, 4), bool)
    with pytest.raises(ValueError, match="3 masks and 6 objects"):
        iou_of_images(masks, objects)
    with pytest.raises(ValueError, match="3 masks and 2 rows"):
        iou_of_images(masks, objects, np.arange(2))
    assert iou_of_images(masks, objects, np.array([5, 0, 0])).tolist() == [1.0] * 3
    none = iou_of_images(masks[:0], objects[:0])
    assert (none.shape, none.dtype) == ((0,), torch.float32)
