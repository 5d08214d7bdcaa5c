"""Decoding image files to square RGB arrays, within a limit on the number of pixels."""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from dqv2.data.boxes import resized_length
from dqv2.data.walk import special
from dqv2.data.wrapping import without_metadata
from dqv2.runtime.files import in_its_place
from dqv2.runtime.sentences import require_working

MAX_PIXELS = 64_000_000  # 64 megapixels; decoding takes up to about 9 bytes per pixel
# Formats by content, whatever the file's name; Pillow would pass some others (EPS) to external programs
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "DIB", "TIFF", "WEBP", "GIF", "JPEG2000", "AVIF")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation -> transposition, as in ImageOps.exif_transpose
OVER = "over the limit"
WHITE = 65535  # the value of 16-bit grey that is white, unless `white_level` says otherwise
DARK = 4095  # white of 12-bit data; 16-bit grey that holds no more is probably scaled to another white
BYTES_A_PIXEL = 8  # maximum of an uncompressed image in these formats: 16 bits for each of four channels


class Decoded(NamedTuple):
    """An image as it is packed, and its original size (after applying the EXIF orientation)."""

    pixels: np.ndarray  # uint8[3, size, size]
    width: int
    height: int
    note: str | None = None  # which damaged metadata was ignored, while the pixels are sound
    largest: int | None = None  # the largest value of 16-bit grey; None for other images


def read_bytes(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> bytes | str:
    """The content of an image file, or the reason why it cannot be read, as a phrase."""
    try:
        if kind := special(path):  # reading it might block forever
            return f"cannot be read (it is {kind})"
        length = Path(path).stat().st_size
        if length > BYTES_A_PIXEL * max_pixels + 2**20:
            return f"the file has {length:,} bytes, more than {max_pixels:,} pixels take (key max_pixels)"
        return Path(path).read_bytes()
    except OSError as error:
        require_working(error, path)
        return f"cannot be decoded ({str(error).strip()})"


def decode(data: bytes, size: int, *, max_pixels: int = MAX_PIXELS, white_level: int = WHITE) -> Decoded | str:
    """Decode the bytes of an image file: shorter side resized to `size`, then the central square.

    The EXIF orientation is applied, transparency is composited over white, 16-bit grey is scaled to 8 bits with
    `white_level` as white, and of an animation the first frame is taken. The resampling is Pillow's antialiased
    bilinear; the geometry is that of torchvision's Resize and CenterCrop. Returns a phrase with the reason where the
    image is truncated, not an image, over `max_pixels`, has 16-bit grey over `white_level`, or floating-point pixels of
    unknown range.
    """

    def make(image: Image.Image, note: str | None, largest: int | None) -> Decoded:
        return Decoded(square(image, size, max_pixels), *image.size, note, largest)

    return _mended(data, max_pixels, white_level, make)


def as_people_see_it(data: bytes, *, max_pixels: int = MAX_PIXELS, white_level: int = WHITE) -> Image.Image | str:
    """The whole image in a file's bytes, as `decode` sees it: RGB, or L where it is stored in one channel of 1 or 8
    bits; a phrase with the reason where it cannot be decoded."""
    return _mended(data, max_pixels, white_level, lambda image, *_: image, grey=True)


def seen_otherwise(data: bytes, *, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether some readers of image folders see other pixels of a sound file than `decode`: with an EXIF orientation,
    with transparency, or with 16-bit grey, which they clip at 255."""
    _limit_pillow(max_pixels)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.getexif().get(ExifTags.Base.Orientation) in TURNS or image.mode.startswith("I"):
            return True
        return image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255


def _mended(
    data: bytes,
    max_pixels: int,
    white_level: int,
    make: Callable[[Image.Image, str | None, int | None], Any],
    *,
    grey: bool = False,
) -> Any:
    """Decode an image and apply `make`; where damaged metadata prevents it, decode without metadata and note that."""
    if not data:
        return "the file is empty"
    _limit_pillow(max_pixels)
    found = _decode(data, max_pixels, white_level, make, grey)
    if isinstance(found, str) and (bare := without_metadata(data)):
        note = f"its metadata is left aside: {found}"
        again = _decode(bare, max_pixels, white_level, lambda image, _, largest: make(image, note, largest), grey)
        if not isinstance(again, str) or again.startswith(OVER):
            return again
    return found


def _decode(
    data: bytes,
    max_pixels: int,
    white_level: int,
    make: Callable[[Image.Image, str | None, int | None], Any],
    grey: bool,
) -> Any:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise Image.DecompressionBombError
            with _BUDGET.share(pixels):
                turned, note = upright(image)
                one = grey and turned.mode in ("1", "L") and not turned.has_transparency_data
                largest = int(np.asarray(turned).max()) if turned.mode.startswith("I") else None
                return make(turned.convert("L") if one else rgb(turned, white_level), note, largest)
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        return _unknown(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return f"{OVER} of {max_pixels:,} pixels (key max_pixels)"
    except Exception as error:  # on damaged files Pillow's decoders may raise anything
        return f"cannot be decoded ({str(error).strip() or type(error).__name__})"


def _unknown(data: bytes) -> str:
    """Why the bytes of a file are not recognised as an image, as a phrase."""
    if what := in_its_place(data[:64]):
        return f"{what}, not an image"
    if data[4:10] in (b"ftyphe", b"ftypmi"):
        return "a HEIC image, which is not read: convert it to JPEG or PNG"
    if data.startswith((b"II*\0", b"MM\0*")):
        return "a TIFF with bands or bits that are not read, or damaged: save it as RGB or grey with 8 bits"
    return "not an image, or damaged"


def upright(image: Image.Image) -> tuple[Image.Image, str | None]:
    """An image with its EXIF orientation applied, and a note where its EXIF data is damaged, else None.

    Unlike `ImageOps.exif_transpose`, it does not rewrite the EXIF data, which fails if any value in it is damaged.
    """
    image.load()
    note = None
    try:
        exif = image.getexif()
        how = TURNS.get(exif.get(ExifTags.Base.Orientation))
    except Exception as error:  # on a damaged block Pillow may raise anything
        return image, f"its EXIF data is left aside: {str(error).strip() or type(error).__name__}"
    if image.info.get("exif") and not exif:
        note = "its EXIF data holds nothing that can be read"
    if how is not None:
        try:
            exif.tobytes()  # as readers that apply the orientation do
        except Exception as error:
            note = f"its EXIF data cannot be written anew: {str(error).strip() or type(error).__name__}"
        image = image.transpose(how)
    return image, note


class _Budget:
    """Limits the pixels that all threads decode at the same time, so that they need no more memory than one image."""

    def __init__(self, limit: int):
        self.limit, self.used, self.changed = limit, 0, threading.Condition()

    @contextmanager
    def share(self, pixels: int) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: self.used == 0 or self.used + pixels <= self.limit)
            self.used += pixels
        try:
            yield
        finally:
            with self.changed:
                self.used -= pixels
                self.changed.notify_all()


_BUDGET = _Budget(MAX_PIXELS)
_LIMIT_LOCK = threading.Lock()


@lru_cache(1)  # set only when the limit changes
def _limit_pillow(max_pixels: int) -> None:
    """Make Pillow's own check, which also covers further frames of an image, refuse more than `max_pixels`.

    Pillow warns over its limit and raises over twice its limit; the warning is made an error too. Both settings are
    process-wide, so they are set once, not per image: changing warnings filters is not thread-safe.
    """
    with _LIMIT_LOCK:
        Image.MAX_IMAGE_PIXELS = max_pixels
        warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def rgb(image: Image.Image, white_level: int = WHITE) -> Image.Image:
    """Convert any of Pillow's modes to RGB: transparency over white, 16-bit grey scaled to 8 bits with `white_level`
    as white.

    Raises ValueError for floating-point pixels, integers beyond 16 bits, and 16-bit grey over `white_level`.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        grey = np.asarray(image).astype(np.int32, casting="same_kind")
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("pixels beyond 16 bits: save it with 8 or 16 bits")
        if (clear := image.info.get("transparency")) is not None:
            grey[grey == clear] = white_level
        if (largest := int(grey.max())) > white_level:
            raise ValueError(f"it holds the grey value {largest:,}, over white_level {white_level:,}")
        image = Image.fromarray(((grey * 255 + white_level // 2) // white_level).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")


def square(image: Image.Image, size: int, max_pixels: int) -> np.ndarray:
    """Resize the shorter side of an RGB image to `size` and crop the central square: uint8[3, size, size]."""
    width, height = image.size
    short = min(width, height)
    if short != size:
        new = resized_length(width, short, size), resized_length(height, short, size)
        if new[0] * new[1] > max_pixels:  # a thin strip: crop before resizing, as it would become too large
            left, top = (width - short) // 2, (height - short) // 2
            image, new = image.crop((left, top, left + short, top + short)), (size, size)
        image = image.resize(new, Image.Resampling.BILINEAR)
        width, height = new
    left, top = round((width - size) / 2), round((height - size) / 2)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
