"""Errors about images and packs, each one sentence."""

from pathlib import Path


class DataError(ValueError):
    """Images or a pack are missing, damaged or inconsistent; the message says what, where and what to do."""


def no_folder(path: Path) -> str:
    """The beginning of a message about a path that is not a folder."""
    if path.is_file():
        return f"{path} is a file, not a folder (name the folder that contains it, and unpack archives)"
    return f"There is no folder {path}"
