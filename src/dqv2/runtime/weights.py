"""Weights as files of the same bytes for the same weights."""

import io
from pathlib import Path
from typing import Any

import torch


def save_weights(path: str | Path, kept: Any) -> None:
    """`torch.save` without the file's own name, which it would write into the file: same weights, same bytes."""
    buffer = io.BytesIO()
    torch.save(kept, buffer)
    Path(path).write_bytes(buffer.getbuffer())
