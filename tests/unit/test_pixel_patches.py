"""Dropping and pasting patches, CutMix boxes, encoded sizes."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dqv2.pixel.patches import cutmix_boxes, dropped_patches, paste
from dqv2.pixel.step import PixelStep, cutmix_step
from dqv2.pixel.storage import encoded_bytes


def some_images(n=5, size=32, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), generator=draws, dtype=torch.uint8)


@pytest.mark.parametrize(("grid", "share", "count"), [(14, 0.25, 49), (14, 0.2, 39), (8, 0.25, 16), (5, 0.2, 5)])
def test_exactly_the_share_is_dropped_and_it_is_the_least_important(grid, share, count):
    importance = torch.rand(20, grid, grid, generator=torch.Generator().manual_seed(0))
    dropped = dropped_patches(importance, grid, share)
    assert set(dropped.flatten(1).sum(1).tolist()) == {count}
    for values, gone in zip(importance, dropped, strict=True):
        assert values[gone].max() <= values[~gone].min()


def test_of_equal_patches_the_last_are_dropped():
    dropped = dropped_patches(torch.zeros(1, 4, 4), 4, 0.25)
    assert dropped.flatten().nonzero().flatten().tolist() == [12, 13, 14, 15]


@pytest.mark.parametrize(("size", "grid"), [(32, 8), (32, 14), (33, 5)])
def test_paste_touches_dropped_patches_only(size, grid):
    images, others = some_images(size=size), some_images(size=size, seed=1)
    dropped = torch.rand(5, grid, grid, generator=torch.Generator().manual_seed(2)) < 0.3
    out = paste(images, others, dropped)
    edges = [round(k * size / grid) for k in range(grid + 1)]
    for i in range(5):
        for r in range(grid):
            for c in range(grid):
                part = (i, slice(None), slice(edges[r], edges[r + 1]), slice(edges[c], edges[c + 1]))
                source = others if dropped[i, r, c] else images
                assert torch.equal(out[part], source[part])


def test_paste_grey():
    out = paste(some_images(), 128, torch.ones(5, 4, 4, dtype=torch.bool))
    assert (out == 128).all()
    assert torch.equal(out, paste(some_images(), np.int64(128), torch.ones(5, 4, 4, dtype=torch.bool)))
    for wrong in (-1, 256, 2.5, None):
        with pytest.raises(ValueError, match="others must be images or a grey value"):
            paste(some_images(), wrong, torch.ones(5, 4, 4, dtype=torch.bool))


def test_boxes_have_the_area_and_lie_inside_and_reach_every_place():
    boxes = cutmix_boxes(3000, 16, 0.25, generator=torch.Generator().manual_seed(0))
    assert set(boxes.flatten(1).sum(1).tolist()) == {64}
    assert boxes.any(0).all()
    first = boxes[0].nonzero()
    assert (first.amax(0) - first.amin(0) + 1).tolist() == [8, 8], "a square"
    corners = {tuple(box.nonzero().amin(0).tolist()) for box in boxes}
    assert len(corners) == 81, "9 × 9 places"


def test_cutmix_takes_the_box_from_another_image():
    images = some_images(12)
    mixed = cutmix_step(images, 0.25, generator=torch.Generator().manual_seed(0))
    assert mixed.share == 0.75
    assert (mixed.partner != np.arange(12)).all()
    for image, box, row, own in zip(mixed.images, mixed.mask, mixed.partner, images.numpy(), strict=True):
        assert np.array_equal(image[:, box], images.numpy()[row][:, box])
        assert np.array_equal(image[:, ~box], own[:, ~box])


def test_a_step_survives_its_file(tmp_path):
    step = cutmix_step(some_images(6), 0.25, generator=torch.Generator().manual_seed(0))
    coreset, other = tmp_path / "coreset.csv", tmp_path / "other.csv"
    coreset.write_text("a,b\n")
    other.write_text("b,a\n")
    step.save(tmp_path / "pixels.npz", coreset=coreset)
    read = PixelStep.load(tmp_path / "pixels.npz", coreset=coreset)
    for name in ("images", "mask", "partner"):
        np.testing.assert_array_equal(getattr(read, name), getattr(step, name))
    assert (read.share, read.weights, read.replaced) == (0.75, "", 0.25)
    with pytest.raises(ValueError, match="another coreset"):
        PixelStep.load(tmp_path / "pixels.npz", coreset=other)
    np.savez(tmp_path / "pixels.npz", images=step.images)
    with pytest.raises(ValueError, match=r"pixels\.npz is another file than expected: it has no mask"):
        PixelStep.load(tmp_path / "pixels.npz", coreset=coreset)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_encoded_sizes_are_those_of_the_files(kind, tmp_path):
    flat, noise = np.full((1, 3, 32, 32), 77, np.uint8), some_images(1).numpy()
    sizes = encoded_bytes(np.concatenate([flat, noise]), kind=kind)
    options = {"quality": 90, "optimize": True} if kind == "jpeg" else {"optimize": True}
    Image.fromarray(noise[0].transpose(1, 2, 0)).save(tmp_path / f"x.{kind}", **options)
    assert sizes[1] == (tmp_path / f"x.{kind}").stat().st_size
    assert sizes[0] < sizes[1]
    with pytest.raises(ValueError, match="kind must be one of jpeg, png, got 'gif'"):
        encoded_bytes(noise, kind="gif")
    assert Image.open(io.BytesIO((tmp_path / f"x.{kind}").read_bytes())).size == (32, 32)


def test_boxes_are_drawn_from_a_generator_of_their_own():
    with pytest.raises(TypeError, match="generator must be a"):
        cutmix_boxes(2, 8, 0.25, generator=None)
