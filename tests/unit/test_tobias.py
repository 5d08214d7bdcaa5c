"""Masks and background replacement against slow loops over cells."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import dqv2
from dqv2 import (
    centre_saliency,
    choose_donors,
    compose,
    foreground,
    mask_iou,
    object_saliency,
    random_saliency,
    shuffled,
    tobias,
    tobias_cells,
)
from dqv2.semantic.recipe import Recipe, make_recipe


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def case(n, height, width, s, seed=0, fraction=0.5):
    g = rng(seed)
    images = torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=g)
    masks = foreground(torch.rand(n, s, s, generator=g), s, fraction=fraction)
    return images, masks, choose_donors(n, generator=g)


def slow_compose(images, donor_images, cells):
    """Cell by cell, pixel by pixel."""
    n, _, height, width = images.shape
    s = round(cells.shape[1] ** 0.5)
    out = images.clone()
    for i in range(n):
        for cell, donor in enumerate(cells[i].tolist()):
            if donor < 0:
                continue
            (cy, cx), (dy, dx) = divmod(cell, s), divmod(donor, s)
            top, bottom, left, right = cuts(cy, height, s) + cuts(cx, width, s)
            d_top, d_bottom, d_left, d_right = cuts(dy, height, s) + cuts(dx, width, s)
            for y in range(top, bottom):
                for x in range(left, right):
                    # The donor pixel that holds the same relative place (pixel centres).
                    v = int((y - top + 0.5) / (bottom - top) * (d_bottom - d_top) + 1e-9)
                    u = int((x - left + 0.5) / (right - left) * (d_right - d_left) + 1e-9)
                    out[i, :, y, x] = donor_images[i, :, d_top + v, d_left + u]
    return out


def cuts(k, length, s):
    return round(k * length / s), round((k + 1) * length / s)


@pytest.mark.parametrize(
    ("height", "width", "s"), [(8, 8, 4), (10, 10, 4), (7, 13, 5), (9, 6, 6), (5, 5, 1), (11, 8, 3)]
)
def test_compose_equals_a_loop_over_cells(height, width, s):
    images, masks, donors = case(5, height, width, s)
    cells = tobias_cells(masks, donors, generator=rng(1))
    expected = slow_compose(images, images[donors], cells)
    assert torch.equal(compose(images, images[donors], cells), expected)
    assert torch.equal(compose(images, images[donors], cells.to(torch.int16)), expected)
    result = tobias(images, masks, donors, generator=rng(1))
    assert result.dtype == torch.uint8
    assert torch.equal(result, expected)


def test_chunks_leave_no_seam(monkeypatch):
    images, masks, donors = case(9, 10, 10, 4)
    cells = tobias_cells(masks, donors, generator=rng(1))
    whole = compose(images, images[donors], cells)
    monkeypatch.setattr("dqv2.semantic.compose._CHUNK_NUMBERS", 250)
    assert torch.equal(compose(images, images[donors], cells), whole)
    cells = tobias_cells(masks, donors, generator=rng(1))
    expected = compose(images, images[donors], cells)
    assert torch.equal(tobias(images, masks, donors, generator=rng(1)), expected)


def test_each_background_cell_of_the_donor_is_used_once():
    _, masks, donors = case(40, 8, 8, 6, fraction=0.3)
    cells = tobias_cells(masks, donors, generator=rng(2))
    assert cells.shape == (40, 36)
    assert cells.dtype == torch.int64
    for i in range(40):
        assert torch.equal(cells[i] < 0, masks[i].flatten())
        used = cells[i][cells[i] >= 0].sort().values
        assert torch.equal(used, (~masks[donors[i]]).flatten().nonzero().flatten())


def test_cells_come_in_uniformly_random_order():
    masks = torch.zeros(3000, 2, 2, dtype=torch.bool)
    masks[:, 0, 0] = True
    cells = tobias_cells(masks, torch.arange(3000).roll(1), generator=rng(3))
    orders, counts = cells[:, 1:].unique(dim=0, return_counts=True)
    assert len(orders) == 6
    # 500 expected of each, standard deviation 20.4.
    assert bool(((counts - 500).abs() < 5 * 20.4).all())


def test_foreground_pixels_stay_and_the_generator_decides_the_rest():
    images, masks, donors = case(6, 12, 12, 4)
    result = tobias(images, masks, donors, generator=rng(1))
    keep = masks.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, None].expand_as(images)
    assert torch.equal(result[keep], images[keep])
    assert not torch.equal(result[~keep], images[~keep])
    assert torch.equal(result, tobias(images, masks, donors, generator=rng(1)))
    assert not torch.equal(result, tobias(images, masks, donors, generator=rng(2)))
    whole = torch.ones_like(masks)
    assert torch.equal(tobias(images, whole, donors, generator=rng(1)), images)


def test_bad_input_is_refused():
    images, masks, donors = case(4, 8, 8, 4)
    uneven = masks.clone()
    uneven[2] = True
    with pytest.raises(ValueError, match=r"2 images differ.*index 2 \(0\) with donor 3 \(8\)"):
        tobias(images, uneven, torch.tensor([1, 0, 3, 2]), generator=rng())
    with pytest.raises(ValueError, match=r"9 cells do not fit a side of 8 pixels"):
        tobias(images, torch.zeros(4, 9, 9, dtype=torch.bool), donors, generator=rng())
    with pytest.raises(ValueError, match="uint8"):
        tobias(images.float(), masks, donors, generator=rng())
    with pytest.raises(ValueError, match="masks must be bool"):
        tobias(images, masks.float(), donors, generator=rng())
    with pytest.raises(ValueError, match=r"indices of the 4 images"):
        tobias(images, masks, donors + 4, generator=rng())
    with pytest.raises(ValueError, match="one mask each"):
        tobias(images[:2], masks, donors, generator=rng())
    with pytest.raises(ValueError, match="cells must lie"):
        compose(images, images, torch.full((4, 16), 16))
    with pytest.raises(ValueError, match="at least 2"):
        choose_donors(1, generator=rng())


def test_donors_are_uniform_over_the_others():
    g = rng(4)
    donors = torch.stack([choose_donors(4, generator=g) for _ in range(3000)])
    assert not bool((donors == torch.arange(4)).any())
    counts = torch.stack([donors[:, i].bincount(minlength=4) for i in range(4)])
    # 1000 expected off the diagonal, standard deviation 25.8.
    assert bool(((counts - 1000 * (1 - torch.eye(4))).abs() < 5 * 25.8).all())


def test_several_donors_each_fill_cells_of_their_own(tmp_path):
    draws = torch.Generator().manual_seed(3)
    pictures = torch.randint(256, (12, 3, 16, 16), dtype=torch.uint8, generator=draws)
    masks = foreground(torch.rand(12, 4, 4, generator=draws), 4)
    made = make_recipe(masks, donors=3, generator=draws)
    made.save(tmp_path / "recipe.npz")
    recipe = Recipe.load(tmp_path / "recipe.npz")
    assert recipe.donors.shape == (12, 3)
    assert set(np.unique(recipe.which)) == {0, 1, 2}
    rows = np.array([5, 2, 11])
    found = recipe.images(pictures.numpy(), rows)
    for image, row in zip(found, rows, strict=True):
        for cell in range(16):
            y, x = 4 * (cell // 4), 4 * (cell % 4)
            taken, donor = recipe.cells[row, cell], recipe.donors[row, recipe.which[row, cell]]
            assert donor != row
            if taken < 0:
                wanted = pictures[row, :, y : y + 4, x : x + 4]
            else:
                assert not masks[donor].flatten()[taken], "of the donor's background"
                wanted = pictures[donor, :, 4 * (taken // 4) :, 4 * (taken % 4) :][:, :4, :4]
            assert np.array_equal(image[:, y : y + 4, x : x + 4], wanted.numpy())
    for wrong in (0, 256, 1.5):
        with pytest.raises(ValueError, match="donors must be"):
            make_recipe(masks, donors=wrong, generator=draws)
    one = make_recipe(masks, generator=torch.Generator().manual_seed(3))
    assert one.which is None
    assert one.donors.shape == (12,)


def test_another_file_than_a_recipe_is_named(tmp_path):
    file = tmp_path / "recipe.npz"
    np.savez(file, cells=np.zeros((2, 4)), more=0)
    with pytest.raises(ValueError, match=r"recipe\.npz is another file .*: it has no donors, only cells, more"):
        Recipe.load(file)
    with file.open("wb") as single:
        np.save(single, np.zeros(3))
    with pytest.raises(ValueError, match=r"recipe\.npz is not an \.npz of arrays"):
        Recipe.load(file)
    for content in (b"", b"text", b"PK\x03\x04"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"recipe\.npz is not an \.npz of arrays"):
            Recipe.load(file)


def test_foreground_takes_the_highest_and_breaks_ties_by_index():
    maps = torch.tensor([[[1.0, 3.0], [3.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert foreground(maps, 2).flatten(1).tolist() == [[False, True, True, False], [True, True, False, False]]
    # A constant map stays tied through any resize, whatever the rounding of its weights.
    for side, size in ((7, 4), (14, 10), (14, 12), (7, 40)):
        flat = foreground(torch.full((2, side, side), 0.1), size)
        assert bool(flat[:, : size // 2].all())
        assert not bool(flat[:, size // 2 :].any())
    resized = torch.nn.functional.interpolate(maps[:1, None].double(), (6, 6), mode="bilinear", antialias=True)
    picked = foreground(maps[:1], 6)
    assert float(resized[0, 0][picked[0]].min()) >= float(resized[0, 0][~picked[0]].max()) - 1e-9


def test_foreground_refuses_what_is_not_finite():
    maps = torch.zeros(3, 4, 4)
    for value in (float("nan"), float("inf")):
        maps[1, 0, 0] = value
        with pytest.raises(ValueError, match="1 of 3 saliency maps hold NaN or infinite values; the first is index 1"):
            foreground(maps, 4)
    with pytest.raises(ValueError, match="fraction"):
        foreground(maps[:1], 4, fraction=1.5)
    with pytest.raises(ValueError, match="float"):
        foreground(maps.int(), 4)


def test_centre_and_random_controls():
    centre = centre_saliency(2, 4)
    assert centre.dtype == torch.float32
    assert centre.shape == (2, 4, 4)
    assert foreground(centre, 4, fraction=0.25)[1].nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert float(centre[0, 0, 0]) == pytest.approx(-((2 * 1.5**2) ** 0.5))
    noise = random_saliency(3, 5, generator=rng())
    assert noise.shape == (3, 5, 5)
    assert torch.equal(noise, random_saliency(3, 5, generator=rng()))
    assert not torch.equal(noise[0], noise[1])


@pytest.mark.parametrize("n", [2, 3, 10, 101])
def test_shuffled_maps_are_each_used_once_and_never_kept(n):
    maps = torch.arange(n, dtype=torch.float32)[:, None, None].expand(n, 2, 2)
    source = shuffled(maps, generator=rng())[:, 0, 0].long()
    assert sorted(source.tolist()) == list(range(n))
    i, seen = 0, set()
    while i not in seen:
        seen.add(i)
        i = int(source[i])
    assert len(seen) == n
    with pytest.raises(ValueError, match="at least 2"):
        shuffled(maps[:1], generator=rng())


def test_object_saliency_is_minus_the_distance_to_the_object():
    objects = torch.zeros(3, 6, 9, dtype=torch.bool)
    objects[0, 2, 3] = objects[1, :, :4] = objects[2, 5, 8] = objects[2, 0, 0] = True
    maps = object_saliency(objects)
    assert maps.dtype == torch.float32
    for i in range(3):
        inside = np.argwhere(objects[i].numpy())
        for y, x in np.ndindex(6, 9):
            nearest = np.sqrt(((inside - (y, x)) ** 2).sum(1)).min()
            assert float(maps[i, y, x]) == pytest.approx(-nearest / 9)
    objects[1] = False
    with pytest.raises(ValueError, match=r"1 images.*index 1"):
        object_saliency(objects)


def test_mask_iou_in_pixels():
    masks = torch.zeros(3, 2, 2, dtype=torch.bool)
    masks[:2, 0, 0] = True
    objects = torch.zeros(3, 5, 6, dtype=torch.bool)
    # The first cell covers rows 0..1 (cut at round(2.5) = 2) and columns 0..2.
    objects[0, :2, :3] = objects[1, 0, :] = True
    assert mask_iou(masks, objects).tolist() == pytest.approx([1.0, 3 / 9, 0.0])


def test_import_is_free_and_every_public_name_is_there():
    code = "import sys, dqv2; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(callable(getattr(dqv2, name)) for name in dqv2.__all__)
    assert set(dqv2.__all__) <= set(dir(dqv2))
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = dqv2.missing
