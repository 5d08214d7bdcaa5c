"""Sound pixels in bad wrapping: the pixels are kept, what was left aside is noted, damaged pixels stay damaged."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from dqv2.data.image import decode
from dqv2.data.wrapping import TIFFS, without_metadata
from tests.miniatures import photo
from tests.unit.test_inputs import pack


def encoded(kind, **options):
    stream = io.BytesIO()
    photo(3, (16, 16)).save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind, data, *, crc=None):
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def with_chunks(*chunks):
    """A PNG with these chunks after its head."""
    data = encoded("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def exif(entries, *, count=None):
    """A block of EXIF data: (tag, type, count, four bytes of value or offset)."""
    body = b"".join(struct.pack(">HHI4s", *entry) for entry in entries)
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", count or len(entries)) + body + b"\0" * 4


TURNED = (0x0112, 3, 1, b"\0\x06\0\0")
MISTYPED = (0x9201, 2, 4, b"1/2\0")  # an exposure time, which should be a fraction, as text

RESOLUTION = (0x011A, 2, 4, b"abc\0")  # one at which Pillow, asked to turn the image, raises


def with_exif(kind, data):
    if kind == "PNG":
        return with_chunks(chunk(b"eXIf", data))
    if kind == "WEBP":
        return encoded("WEBP", lossless=True, exif=data)
    block = b"Exif\0\0" + data
    whole = encoded("JPEG", quality=95)
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + whole[2:]


def expected(kind):
    data = encoded("JPEG", quality=95) if kind == "JPEG" else encoded("PNG")
    return decode(data, 16).pixels


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("block", [b"no EXIF at all", b"", b"MM\0*\xff\xff\xff\xff", exif([TURNED], count=900)[:20]])
def test_broken_exif_data_costs_no_pixel(kind, block):
    found = decode(with_exif(kind, block), 16)
    np.testing.assert_array_equal(found.pixels, expected(kind))
    assert found.note or not block or TURNED[0].to_bytes(2, "big") in block


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize(
    "entry", [MISTYPED, RESOLUTION, (0x011A, 3, 1, b"\0\x48\0\0"), (0x9000, 4, 1, b"0220"), (0x8769, 2, 4, b"abc\0")]
)
def test_a_mistyped_number_costs_neither_pixels_nor_orientation(kind, entry):
    entries = sorted([TURNED, entry])
    found = decode(with_exif(kind, exif(entries)), 16)
    assert bool(found.note) == (entry == RESOLUTION)
    np.testing.assert_array_equal(found.pixels, np.rot90(expected(kind), -1, (1, 2)))


def text_chunks():
    big = zlib.compress(b"x" * (PngImagePlugin.MAX_TEXT_CHUNK + 10))
    many = chunk(b"tEXt", b"k\0" + b"y" * 2**20)
    return {
        "a large text": chunk(b"zTXt", b"key\0\0" + big),
        "a large international text": chunk(b"iTXt", b"key\0\1\0\0\0" + big),
        "much text": many * (PngImagePlugin.MAX_TEXT_MEMORY // 2**20 + 2),
        "a large colour profile": chunk(b"iCCP", b"icc\0\0" + big),
        "a wrong checksum of a text": chunk(b"tEXt", b"k\0v", crc=1),
    }


@pytest.mark.parametrize("name", text_chunks())
def test_text_and_profiles_cost_no_pixel_and_are_noted(name):
    found = decode(with_chunks(text_chunks()[name]), 16)
    np.testing.assert_array_equal(found.pixels, expected("PNG"))
    assert found.note.startswith("its metadata is left aside: ")


@pytest.mark.parametrize("alpha", [False, True])
def test_a_webp_whose_last_blocks_are_damaged(alpha):
    stream = io.BytesIO()
    image = photo(3, (16, 16)).convert("RGBA" if alpha else "RGB")
    image.save(stream, "WEBP", quality=90, exif=exif([TURNED]), xmp=b"<x/>" * 9)
    data = stream.getvalue()
    place = data.index(b"EXIF") + 4
    bad = data[:place] + b"\xff\xff\xff\x00" + data[place + 4 :]
    found = decode(bad, 16)
    np.testing.assert_array_equal(np.rot90(found.pixels, -1, (1, 2)), decode(data, 16).pixels)
    assert found.note.startswith("its metadata is left aside")


def tiff(kind="raw", *, big=False, order="<", extra=(), pages=1, orientation=None):
    """A TIFF of the photo; extra: (tag, type, count, four or eight bytes) of tags that nobody needs."""
    info = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II" if order == "<" else b"MM")
    if orientation:
        info[274] = orientation
    stream = io.BytesIO()
    more = {"save_all": True, "append_images": [photo(4, (16, 16))] * (pages - 1)} if pages > 1 else {}
    photo(3, (16, 16)).save(stream, "TIFF", compression=kind, tiffinfo=info, big_tiff=big, **more)
    data = stream.getvalue()
    order, number, entry, place, at = TIFFS[data[:4]]
    (start,) = struct.unpack_from(order + place, data, at)
    (count,) = struct.unpack_from(order + number, data, start)
    first, size = start + struct.calcsize(order + number), struct.calcsize(order + entry)
    tags = [struct.unpack_from(order + entry, data, first + i * size) for i in range(count)]
    tags = sorted([*tags, *extra])
    parts = [struct.pack(order + number, len(tags)), *(struct.pack(order + entry, *tag) for tag in tags)]
    after = data[first + count * size :][: struct.calcsize(order + place)]
    head = data[:at] + struct.pack(order + place, len(data)) + data[at + struct.calcsize(order + place) :]
    return head + b"".join(parts) + after


ODD_TAGS = {
    "an EXIF block that is none": (0x8769, 4, 1, b"\xff\xff\xff\x7f"),
    "an EXIF block that is text": (0x8769, 2, 4, b"abc\0"),
    "a GPS block in the pixels": (0x8825, 4, 1, b"\x09\0\0\0"),
    "a description beyond the end": (0x010E, 2, 90, b"\xff\xff\xff\x0f"),
    "a resolution as text": (0x011A, 2, 4, b"abc\0"),
    "a date of another type": (0x0132, 12, 1, b"\0\0\0\0"),
    "Photoshop's, cut off": (0x8649, 7, 4, b"8BIM"),
    "a colour profile that is none": (0x8773, 7, 4, b"abcd"),
    "a type that there is not": (0xC4A5, 99, 1, b"\0\0\0\0"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("name", ODD_TAGS)
def test_odd_tags_of_a_tiff_cost_no_pixel(kind, name):
    found = decode(tiff(kind, extra=[ODD_TAGS[name]]), 16)
    assert not isinstance(found, str), found
    np.testing.assert_array_equal(found.pixels, expected("PNG"))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("orientation", [None, 1, 6])
def test_a_tiff_without_its_metadata_has_its_first_picture_turned_as_it_was(big, pages, orientation):
    data = tiff("tiff_lzw", big=big, pages=pages, orientation=orientation)
    turned = np.rot90(expected("PNG"), -1, (1, 2)) if orientation == 6 else expected("PNG")
    for each in (data, without_metadata(data)):
        np.testing.assert_array_equal(decode(each, 16).pixels, turned)


def test_a_damaged_tiff_stays_damaged():
    data = tiff("raw")
    for bad in (data[:300], data[:6], data[:4] + b"\xff\xff\xff\xff" + data[8:]):
        assert isinstance(decode(bad, 16), str)


@pytest.mark.filterwarnings("ignore")
def test_jpegs_with_filled_up_markers_and_other_kinds():
    """What cameras write before a marker, a GIF's comments, a BMP with a profile that is not there."""
    whole = with_exif("JPEG", b"MM\0*\xff\xff\xff\xff")
    filled = whole[:2] + b"\xff\xff" + whole[2:]
    np.testing.assert_array_equal(decode(filled, 16).pixels, expected("JPEG"))
    np.testing.assert_array_equal(
        decode(without_metadata(filled), 16).pixels, decode(without_metadata(whole), 16).pixels
    )
    gif = decode(encoded("GIF", comment=b"x" * 300), 16)
    assert gif.pixels.shape == (3, 16, 16)
    np.testing.assert_array_equal(decode(encoded("BMP"), 16).pixels, expected("PNG"))


def test_transparency_and_palettes_stay():
    stream = io.BytesIO()
    palette = photo(3, (16, 16)).convert("P")
    palette.save(stream, "PNG", transparency=int(np.asarray(palette)[0, 0]))
    data = stream.getvalue()
    bad = data[:33] + text_chunks()["a large text"] + data[33:]
    np.testing.assert_array_equal(decode(bad, 16).pixels, decode(data, 16).pixels)
    assert decode(bad, 16).note
    assert decode(data, 16).note is None
    cmyk = io.BytesIO()
    photo(3, (16, 16)).convert("CMYK").save(cmyk, "JPEG")
    assert decode(cmyk.getvalue(), 16).note is None


def test_damaged_pixels_stay_damaged():
    whole = with_chunks(text_chunks()["a large text"])
    place = whole.index(b"IDAT") + 30
    flipped = whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]
    for data in (flipped, whole[:-40], with_exif("JPEG", b"x")[:200]):
        assert isinstance(decode(data, 16), str)


def test_the_limits_hold_without_metadata_too():
    data = encoded("PNG")
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    assert "over the limit" in decode(data[:8] + head + text_chunks()["a large text"] + data[33:], 16)


def test_what_was_left_aside_is_listed_and_exported_whole(tmp_path):
    for i in range(2):
        path = tmp_path / f"set/cat/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(with_chunks(text_chunks()["a large text"], chunk(b"tEXt", b"n\0%d" % i)))
    mended = pack(tmp_path / "set", tmp_path / "out")["train"].meta["mended"]
    assert [entry["name"] for entry in mended] == ["cat/0.png", "cat/1.png"]
    assert all("metadata is left aside" in entry["reason"] for entry in mended)


def test_sound_files_are_turned_as_pillow_does():
    from PIL import ImageOps

    for number in range(1, 9):
        block = Image.Exif()
        block[0x0112] = number
        data = encoded("PNG", exif=block)
        with Image.open(io.BytesIO(data)) as image:
            theirs = np.asarray(ImageOps.exif_transpose(image)).transpose(2, 0, 1)
        np.testing.assert_array_equal(decode(data, 16).pixels, theirs)
