"""Reading image files as square RGB arrays."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dqv2.data.pack import DataError

__all__ = ["read_image", "try_read"]


def read_image(path: str | Path, size: int) -> np.ndarray:
    """Read an image file as RGB: shorter side resized to `size`, then the central square.

    The camera's orientation is applied, transparency is laid over white, 16-bit grey is scaled to 8 bit. The
    resampling is Pillow's antialiased bilinear; the geometry is torchvision's Resize and CenterCrop.

    Returns:
        uint8[3, size, size].

    Raises:
        DataError: the file is missing, cut off, no image, or has pixels of no known range; it says which.
    """
    pixels = try_read(path, size)
    if isinstance(pixels, str):
        raise DataError(f"{path}: {pixels}.")
    return pixels


def try_read(path: str | Path, size: int) -> np.ndarray | str:
    """Do what `read_image` does, but return the reason, a phrase, where that raises."""
    try:
        if Path(path).stat().st_size == 0:
            return "the file is empty"
        with Image.open(path) as image:
            return _square(_rgb(ImageOps.exif_transpose(image)), size)
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        return "not an image, or damaged"
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        return f"cannot be decoded ({str(error).strip() or type(error).__name__})"


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("pixels beyond 16 bits: save it with 8 or 16 bits")
        image = Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _square(image: Image.Image, size: int) -> np.ndarray:
    width, height = image.size
    short = min(width, height)
    if short != size:
        width, height = int(size * width / short), int(size * height / short)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
