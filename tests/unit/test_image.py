"""Image files are read as a person sees them, or refused with the reason."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dqv2.data.image import decode, read_bytes, rgb
from tests.miniatures import read_image


def save(path, size, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("size", [(8, 8), (40, 17), (17, 41), (5, 5), (3, 30), (8, 9)])
def test_geometry_and_resampling_are_torchvisions(tmp_path, size):
    from torchvision.transforms import v2

    path = save(tmp_path / "a.png", size)
    theirs = v2.Compose([v2.Resize(8), v2.CenterCrop(8), v2.PILToTensor()])(Image.open(path)).numpy()
    ours = read_image(path, 8)
    assert (ours.dtype, ours.shape, ours.flags.c_contiguous) == (np.uint8, (3, 8, 8), True)
    np.testing.assert_array_equal(ours, theirs)


def one_pixel(tmp_path, image, suffix=".png", **options) -> list[int]:
    path = Path(tmp_path, f"pixel{suffix}")
    image.save(path, **options)
    return read_image(path, 2)[:, 0, 0].tolist()


def test_modes_become_rgb(tmp_path):
    def new(mode, value):
        return Image.new(mode, (2, 2), value)

    assert one_pixel(tmp_path, new("RGBA", (255, 0, 0, 0))) == [255, 255, 255]  # transparent: white shows
    assert one_pixel(tmp_path, new("RGBA", (0, 0, 0, 128))) == [127, 127, 127]
    assert one_pixel(tmp_path, new("LA", (10, 255))) == [10, 10, 10]
    assert one_pixel(tmp_path, new("L", 77)) == [77, 77, 77]
    assert one_pixel(tmp_path, new("1", 1)) == [255, 255, 255]
    assert one_pixel(tmp_path, new("CMYK", (0, 0, 0, 255)), ".tif") == [0, 0, 0]
    palette = new("RGB", (9, 99, 199)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert one_pixel(tmp_path, palette) == [9, 99, 199]
    assert one_pixel(tmp_path, palette, transparency=0) == [255, 255, 255]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_is_scaled(tmp_path, suffix):
    for value, expected in ((65535, 255), (257 * 100, 100), (300, 1), (0, 0)):
        grey = Image.fromarray(np.full((2, 2), value, np.uint16))
        assert one_pixel(tmp_path, grey, suffix) == [expected] * 3


def test_a_transparent_value_of_16_bit_grey_is_white(tmp_path):
    grey = Image.fromarray(np.full((2, 2), 300, np.uint16))
    assert one_pixel(tmp_path, grey, transparency=300) == [255] * 3
    assert one_pixel(tmp_path, grey, transparency=301) == [1] * 3


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
@pytest.mark.parametrize("level", [255, 4095])
def test_16_bit_grey_has_the_white_that_a_person_says(tmp_path, level, kind):
    path = tmp_path / "grey.tif"
    for value, expected in ((level, 255), (level // 2, 127), (0, 0)):
        Image.fromarray(np.full((2, 2), value, kind)).save(path)
        assert read_image(path, 2, white_level=level)[:, 0, 0].tolist() == [expected] * 3
    Image.fromarray(np.full((2, 2), level + 1, kind)).save(path)
    reason = f"it holds the grey value {level + 1:,}, over white_level {level:,}"
    assert reason in read_image(path, 2, white_level=level)


def test_the_default_white_gives_the_bits_of_a_division_by_257():
    grey = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = ((grey.astype(int) + 128) // 257).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(rgb(Image.fromarray(grey)))[..., 0], expected)


def test_pixels_of_no_known_range_are_refused(tmp_path):
    for pixels in (np.full((2, 2), 0.5, np.float32), np.full((2, 2), 70_000, np.int32)):
        Image.fromarray(pixels).save(tmp_path / "pixel.tif")
        assert "save it with 8 or 16 bits" in read_image(tmp_path / "pixel.tif", 8)
    assert "No such file" in read_bytes(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer (git lfs pull fetches the file)"),
        (b"<!DOCTYPE html><html>404", "text in HTML or XML, not an image"),
        (b"\0\0\0\x18ftypheic", "a HEIC image, which is not read: convert it"),
        (b"II*\0\x08\0\0\0", "a TIFF with bands or bits that are not read, or damaged"),
        (b"%PDF-1.4", "not an image, or damaged"),
    ],
)
def test_what_is_in_the_place_of_an_image_is_said(first, why):
    found = decode(first + bytes(100), 8)
    assert isinstance(found, str)
    assert found.startswith(why)
