"""Decoding image files to square RGB arrays, within a limit of pixels."""

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

from dqv2.data.errors import DataError
from dqv2.data.walk import special
from dqv2.data.wrapping import without_metadata

MAX_PIXELS = 64_000_000  # 64 megapixels: while it is decoded, an image takes up to about 9 bytes a pixel
# Whatever a file is called: Pillow goes by its content, and hands some kinds (EPS) to other programs
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "DIB", "TIFF", "WEBP", "GIF", "JPEG2000", "AVIF")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF's number of the orientation, as ImageOps.exif_transpose
OVER = "over the limit"
BYTES_A_PIXEL = 8  # no uncompressed image that we read has more: 16 bits for each of four channels


class Decoded(NamedTuple):
    """An image as it is packed, and its size as it lies (after the camera's orientation)."""

    pixels: np.ndarray  # uint8[3, size, size]
    width: int
    height: int
    note: str | None = None  # what of the file was left aside because it is damaged, though the pixels are sound


def read_image(path: str | Path, size: int, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image file as RGB, uint8[3, size, size]: shorter side resized to `size`, then the central square.

    The camera's orientation is applied, transparency is laid over white, 16-bit grey is scaled to 8 bit, of an
    animation the first picture is taken. The resampling is Pillow's antialiased bilinear; the geometry is torchvision's
    Resize and CenterCrop. Raises DataError where the file is missing, cut off, no image, over `max_pixels`, or has
    pixels of no known range; it says which.
    """
    data = read_bytes(path, max_pixels=max_pixels)
    found = data if isinstance(data, str) else decode(data, size, max_pixels=max_pixels)
    if isinstance(found, str):
        raise DataError(f"{path}: {found}.")
    return found.pixels


def read_bytes(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> bytes | str:
    """The content of an image file, or the reason, a phrase, why it is not read."""
    try:
        if kind := special(path):  # reading it might never end
            return f"cannot be read (it is {kind})"
        length = Path(path).stat().st_size
        if length > BYTES_A_PIXEL * max_pixels + 2**20:
            return f"the file has {length:,} bytes, more than {max_pixels:,} pixels take (key max_pixels)"
        return Path(path).read_bytes()
    except OSError as error:
        return f"cannot be decoded ({str(error).strip()})"


def decode(data: bytes, size: int, *, max_pixels: int = MAX_PIXELS) -> Decoded | str:
    """Decode the bytes of an image file as `read_image` does; the reason, a phrase, where they are no sound image."""
    return _mended(data, max_pixels, lambda image, note: Decoded(square(image, size, max_pixels), *image.size, note))


def as_people_see_it(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image | str:
    """The whole image of a file's bytes, as `decode` sees it: RGB, or L where it is stored in one channel of 8 bits or
    1; the reason, a phrase, where there is none."""
    return _mended(data, max_pixels, lambda image, _: image, grey=True)


def seen_otherwise(data: bytes, *, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether readers of image folders, or some of them, see other pixels of a sound file than `decode`: of a picture
    that its camera's EXIF data turn, of transparency, and of 16-bit grey, which they cut off at 255."""
    _limit_pillow(max_pixels)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.getexif().get(ExifTags.Base.Orientation) in TURNS or image.mode.startswith("I"):
            return True
        return image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255


def _mended(data: bytes, max_pixels: int, make: Callable[[Image.Image, str | None], Any], *, grey: bool = False) -> Any:
    """What is made of an image; where the file's metadata is in the way, without it, with a note of that."""
    if not data:
        return "the file is empty"
    _limit_pillow(max_pixels)
    found = _decode(data, max_pixels, make, grey)
    if isinstance(found, str) and (bare := without_metadata(data)):
        note = f"its metadata is left aside: {found}"
        again = _decode(bare, max_pixels, lambda image, _: make(image, note), grey)
        if not isinstance(again, str) or again.startswith(OVER):
            return again
    return found


def _decode(data: bytes, max_pixels: int, make: Callable[[Image.Image, str | None], Any], grey: bool) -> Any:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise Image.DecompressionBombError
            with _BUDGET.share(pixels):
                turned, note = upright(image)
                one = grey and turned.mode in ("1", "L") and not turned.has_transparency_data
                return make(turned.convert("L") if one else rgb(turned), note)
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        return "not an image, or damaged"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return f"{OVER} of {max_pixels:,} pixels (key max_pixels)"
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        return f"cannot be decoded ({str(error).strip() or type(error).__name__})"


def upright(image: Image.Image) -> tuple[Image.Image, str | None]:
    """An image turned as the camera's orientation says, and why not where its EXIF data cannot be read.

    `ImageOps.exif_transpose` turns likewise, and writes the EXIF data anew, for which every number of it has to be
    sound.
    """
    image.load()
    note = None
    try:
        exif = image.getexif()
        how = TURNS.get(exif.get(ExifTags.Base.Orientation))
    except Exception as error:  # Pillow raises whatever a damaged block leads it to
        return image, f"its EXIF data is left aside: {str(error).strip() or type(error).__name__}"
    if image.info.get("exif") and not exif:
        note = "its EXIF data holds nothing that can be read"
    if how is not None:
        try:
            exif.tobytes()  # which readers that turn it do
        except Exception as error:
            note = f"its EXIF data cannot be written anew: {str(error).strip() or type(error).__name__}"
        image = image.transpose(how)
    return image, note


class _Budget:
    """Pixels that threads decode at the same time, so that large images do not add up to more than one of the limit."""

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


@lru_cache(1)  # so that only another limit than the last is set
def _limit_pillow(max_pixels: int) -> None:
    """Let Pillow's own check, which also sees what an image hides in further frames, refuse beyond `max_pixels`.

    Pillow warns over its limit and raises over twice its limit; the warning has to be an error too. Both settings are
    the process's, so they are made once, not at each image: warnings filters are not safe to swap between threads.
    """
    with _LIMIT_LOCK:
        Image.MAX_IMAGE_PIXELS = max_pixels
        warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def rgb(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes as RGB: transparency over white, 16-bit grey scaled to 8 bit."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        grey = np.asarray(image).astype(np.int32, casting="same_kind")
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("pixels beyond 16 bits: save it with 8 or 16 bits")
        image = Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")


def square(image: Image.Image, size: int, max_pixels: int) -> np.ndarray:
    """The central square, its side resized: RGB -> uint8[3, size, size]."""
    width, height = image.size
    short = min(width, height)
    if short != size:
        new = int(size * width / short), int(size * height / short)
        if new[0] * new[1] > max_pixels:  # a thin strip: its middle alone, or it would grow beyond all bounds
            left, top = (width - short) // 2, (height - short) // 2
            image, new = image.crop((left, top, left + short, top + short)), (size, size)
        image = image.resize(new, Image.Resampling.BILINEAR)
        width, height = new
    left, top = round((width - size) / 2), round((height - size) / 2)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
