"""What is wrong with images, said in one sentence."""

from pathlib import Path


class DataError(ValueError):
    """Images, or a pack of them, are not as they must be; the message says what, where and what to do."""


def no_folder(path: Path) -> str:
    """How a message begins about what is no folder."""
    if path.is_file():
        return f"{path} is a file, no folder (name the folder that it lies in, and unpack archives)"
    return f"There is no folder {path}"
