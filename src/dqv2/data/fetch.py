"""Fetching a published set: its folder if it exists, else its archive, else a download."""

from pathlib import Path

from filelock import FileLock

from dqv2.data.download import download
from dqv2.data.extract import extract
from dqv2.data.published import ARCHIVES


def fetch_set(name: str, root: str | Path, *, mirror: str | None = None, checksum: str | None = None) -> Path:
    """The folder of a published set below `root`, downloaded and unpacked unless it exists; an existing folder is not
    written to, as it may be read-only.

    name: a key of `ARCHIVES`. mirror: a URL that replaces the official location of the archive. checksum: replaces the
    published one. Raises DataError as `download` and `extract` do.
    """
    root = Path(root).expanduser()
    archive = ARCHIVES[name]
    if (root / archive.folder).is_dir():  # complete, as it gets its name last
        return root / archive.folder
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{archive.folder}.lock"):  # two runs may share the folder
        if not (root / archive.folder).is_dir():
            url = f"{mirror.rstrip('/')}/{archive.name}" if mirror else archive.url
            file = download(url, root / archive.name, checksum or archive.checksum)
            extract(file, root, archive.folder)
    return root / archive.folder
