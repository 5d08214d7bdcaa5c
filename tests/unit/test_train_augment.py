"""Augmentation per image, Mixup and CutMix of a batch."""

import pytest
import torch

from dqv2.runtime.seeding import generator, seeded
from dqv2.train.augment import Augmentation, Mix, _windows


def augment(images, **options):
    return Augmentation.draw(len(images), tuple(images.shape[2:]), **options)(images)


def mix_pairs(images, **options):
    mix = Mix.draw(len(images), tuple(images.shape[2:]), mixup_alpha=1.0, cutmix_alpha=1.0, **options)
    return mix(images, images[mix.partner]), mix.partner, mix.share


def test_mixup_blends_with_the_partner_by_the_share():
    images = torch.rand(8, 3, 6, 6, generator=generator(0))
    mixed, partner, share = mix_pairs(images, kind="mixup", generator=generator(1))
    assert sorted(partner.tolist()) == list(range(8))
    assert 0 < share < 1
    assert torch.allclose(mixed, share * images + (1 - share) * images[partner])


def test_cutmix_pastes_one_box_whose_area_is_the_partners_share():
    images = torch.rand(8, 3, 20, 30, generator=generator(0))
    for seed in range(20):
        mixed, partner, share = mix_pairs(images, kind="cutmix", generator=generator(seed))
        pasted = (mixed != images)[partner != torch.arange(8)].any(1)
        assert (mixed == images).logical_or(mixed == images[partner]).all()
        assert pasted.float().mean().item() == pytest.approx(1 - share, abs=1e-6)
        assert 0 <= share <= 1


def test_both_takes_each_of_the_two():
    images, kinds = torch.rand(4, 3, 8, 8, generator=generator(0)), set()
    for seed in range(30):
        mixed, partner, _ = mix_pairs(images, kind="both", generator=generator(seed))
        kinds.add(bool((mixed == images).logical_or(mixed == images[partner]).all()))
    assert kinds == {True, False}


def test_pad_crop_shifts_each_image_by_itself():
    images = torch.zeros(64, 1, 8, 8)
    images[:, :, 4, 4] = 1
    moved = augment(images, crop="pad", pad=2, flip=False, generator=generator(0))
    places = {tuple(place) for place in moved[:, 0].nonzero()[:, 1:].tolist()}
    assert moved.sum() == 64
    assert len(places) > 10
    assert all(2 <= row <= 6 and 2 <= column <= 6 for row, column in places)


@pytest.mark.parametrize(("size", "pad"), [((32, 32), 4), ((5, 9), 3), ((4, 4), 1)])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("n", [6, 1, 0])
def test_pad_crop_is_that_of_a_gpu_bit_for_bit(size, pad, flip, n):
    """A CPU copies image by image, a GPU gathers at once and mirrors after: weights of a seed depend on neither."""
    images = torch.rand(n, 3, *size, generator=generator(0))
    drawn = Augmentation.draw(n, size, crop="pad", pad=pad, flip=flip, generator=generator(1))
    crops = _windows(torch.nn.functional.pad(images, (pad,) * 4), pad, drawn.offsets)
    if flip:
        crops[drawn.mirrored] = crops[drawn.mirrored].flip(3)
    assert torch.equal(drawn(images), crops)
    assert drawn(images).is_contiguous()


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


@pytest.mark.parametrize("size", [(32, 32), (17, 40), (224, 224)])
def test_resized_crop_is_that_of_an_affine_grid_bit_for_bit(size):
    """Weights of a seed depend on it; PyTorch's own grid takes eight times as long."""
    images = torch.rand(5, 3, *size, generator=generator(0))
    drawn = Augmentation.draw(5, size, crop="resized", pad=0, flip=True, generator=generator(1))
    theta = torch.cat([torch.diag_embed(drawn.half), drawn.centre[:, :, None]], 2)
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    how = {"padding_mode": "reflection", "align_corners": False}
    crops = torch.nn.functional.grid_sample(images, grid, **how)
    crops[drawn.mirrored] = crops[drawn.mirrored].flip(3)
    assert 0 < drawn.mirrored.sum() < 5
    assert torch.equal(drawn(images), crops)


def test_resized_crops_are_as_large_as_the_docs_say():
    """In shares of the area: ours, and torchvision's, which draws a box again that is longer than the image."""
    from torchvision.transforms import RandomResizedCrop

    drawn = Augmentation.draw(20_000, (224, 224), crop="resized", pad=0, flip=False, generator=generator(0, "boxes"))
    image, within = torch.empty(3, 224, 224), ((0.08, 1), (3 / 4, 4 / 3))
    with seeded(0, "boxes"):
        theirs = [RandomResizedCrop.get_params(image, *map(list, within)) for _ in range(9999)]
    assert float(drawn.half.prod(1).mean()) == pytest.approx(0.53, abs=0.009)
    assert sum(height * width for _, _, height, width in theirs) / 9999 / 224**2 == pytest.approx(0.48, abs=0.009)


def test_augmentation_repeats_by_its_generator():
    images = torch.rand(5, 3, 16, 16, generator=generator(0))
    one, two = (augment(images, crop="resized", pad=0, flip=True, generator=generator(3)) for _ in range(2))
    assert torch.equal(one, two)
