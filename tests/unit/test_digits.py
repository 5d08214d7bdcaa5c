"""The embedded set: disjoint splits, true masks, the same on every machine."""

import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_images

from dqv2.data.digits import CROP, make_digits, pack_digits
from dqv2.data.pack import Pack
from dqv2.data.split import stratified_split


@pytest.fixture(scope="module")
def digits():
    return make_digits()


def test_sizes_classes_and_disjoint_digits(digits):
    assert {name: len(split) for name, split in digits.items()} == {
        "train": 1200,
        "validation": 197,
        "test": 400,
    }
    rows = {name: [int(i.rsplit("/", 1)[1]) for i in split.ids] for name, split in digits.items()}
    assert sorted(i for part in rows.values() for i in part) == list(range(1797))
    for name, split in digits.items():
        np.testing.assert_array_equal(split.labels, load_digits().target[rows[name]])
        counts = np.bincount(split.labels, minlength=10)
        expected = np.bincount(load_digits().target) * len(split) / 1797
        assert np.abs(counts - expected).max() < 1.01  # in proportion, to a rounding
        assert split.ids[0].startswith(f"digits/{name}/")
        assert split.classes == list("0123456789")


def test_no_pixel_of_a_photograph_is_shared_between_splits(digits):
    used = {}
    for name, split in digits.items():
        used[name] = {p: np.zeros((427, 640), bool) for p in ("china.jpg", "flower.jpg")}
        for source in split.sources:
            photo, corner = source.split(":")
            left, top = map(int, corner.split(","))
            assert left + CROP <= 640
            assert top + CROP <= 427
            used[name][photo][top : top + CROP, left : left + CROP] = True
    for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
        for photo in ("china.jpg", "flower.jpg"):
            assert used[a][photo].any()
            assert used[b][photo].any()
            assert not (used[a][photo] & used[b][photo]).any()


def test_images_are_the_background_less_the_ink(digits):
    split = digits["validation"]
    photographs = dict(zip(("china.jpg", "flower.jpg"), load_sample_images().images, strict=True))
    items = list(split.items())
    assert len(items) == 197
    for k in (0, 50, 196):
        name, label, source, image = items[k]
        assert (name, label, source) == (split.ids[k], split.labels[k], split.sources[k])
        assert (image.shape, image.dtype) == ((3, 32, 32), np.uint8)
        photo, corner = source.split(":")
        left, top = map(int, corner.split(","))
        ground = photographs[photo][top : top + 32, left : left + 32].transpose(2, 0, 1).astype(int)
        np.testing.assert_array_equal(image, np.abs(ground - split.inks[k].astype(int)))
        changed = (image != ground).any(0)
        assert (changed | ~split.objects[k]).mean() > 0.99  # all but chance: |b - a| = b where a = 2b


def test_objects_cover_the_digit_and_move_about(digits):
    objects = digits["train"].objects
    assert (objects.shape, objects.dtype) == ((1200, 32, 32), np.bool_)
    share = objects.mean((1, 2))
    assert share.min() > 0.08
    assert share.max() < 0.45
    rows = objects.any(2).argmax(1)
    assert set(rows.tolist()) >= set(range(1, 8))  # the top edge lies at every offset
    assert abs(objects.mean(0)[:, :16].mean() / objects.mean(0)[:, 16:].mean() - 1) < 0.15


def test_deterministic_by_seed(digits):
    again, other = make_digits(), make_digits(seed=1)
    for a, b in zip(digits["test"].items(), again["test"].items(), strict=True):
        assert a[:3] == b[:3]
        np.testing.assert_array_equal(a[3], b[3])
    assert other["test"].ids != digits["test"].ids
    smaller = make_digits(train=100, validation=20)
    assert smaller["test"].ids == digits["test"].ids
    np.testing.assert_array_equal(smaller["test"].inks, digits["test"].inks)


def test_the_same_on_every_machine(digits):
    """Ids, sources and masks, which involve no JPEG decoder: a change here changes every demo figure."""
    digest = hashlib.sha256()
    for split in digits.values():
        digest.update("\n".join(split.ids + split.sources).encode() + split.objects.tobytes())
    assert digest.hexdigest()[:16] == "28643b6cef1067f4"


def test_other_sizes_scale(digits):
    large = make_digits(train=20, validation=10, test=10, size=64)["test"]
    assert next(large.items())[3].shape == (3, 64, 64)
    assert abs(large.objects.mean() - digits["test"].objects.mean()) < 0.05


def test_more_images_than_there_are_digits():
    with pytest.raises(ValueError, match="more than the 1797 there are"):
        make_digits(train=1500)


def test_packed(tmp_path):
    paths = pack_digits(tmp_path / "data", train=50, validation=0, test=20)
    assert list(paths) == ["train", "validation", "test"]
    train, test = Pack.open(paths["train"]), Pack.open(paths["test"])
    assert (len(train), len(Pack.open(paths["validation"])), len(test)) == (50, 0, 20)
    assert train.meta["dataset"] == "digits"
    assert train.objects.any((1, 2)).all()
    test.images[:]  # compares the checksum of each


def test_stratified_split():
    labels = [0] * 10 + [1] * 20 + [2] * 3
    a, b = stratified_split(labels, [11, 22], generator=torch.Generator().manual_seed(0))
    assert sorted(a + b) == list(range(33))
    assert np.bincount([labels[i] for i in a]).tolist() == [3, 7, 1]
    assert a == stratified_split(labels, [11], generator=torch.Generator().manual_seed(0))[0]
    assert stratified_split([], [0], generator=torch.Generator()) == [[]]
    with pytest.raises(ValueError, match="add up to more than the 33"):
        stratified_split(labels, [34], generator=torch.Generator())
