"""The storage that images take as encoded files (table 1)."""

import io

import numpy as np
from PIL import Image

from dqv2.declared import check_choice


def encoded_bytes(images: np.ndarray, *, kind: str, quality: int = 90) -> np.ndarray:
    """Size of each image as an encoded file: int64[N] bytes.

    images: uint8[N, 3, H, W]; kind: "jpeg" (at `quality`, 4:2:0, libjpeg's default) or "png". Only the image data is
    counted, no file names or folders. Raises ValueError for another kind.
    """
    options = {"jpeg": {"quality": quality, "optimize": True}, "png": {"optimize": True}}
    check_choice(kind, "kind", options)
    sizes = np.empty(len(images), np.int64)
    for i, image in enumerate(images):
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, kind, **options[kind])
        sizes[i] = buffer.tell()
    return sizes
