"""A published set onto the disk: as it lies, else from its archive, else from its site."""

from pathlib import Path

from filelock import FileLock

from dqv2.data.download import download
from dqv2.data.extract import extract
from dqv2.data.published import archive_of


def fetch_set(name: str, root: str | Path, *, mirror: str | None = None, checksum: str | None = None) -> Path:
    """The folder of a published set below `root`, fetched and unpacked where it is not there yet; what is there is only
    looked at, as the folder may be one that may only be read.

    name: a key of `ARCHIVES`. mirror: another place that has the archive, in place of its official address. checksum:
    another one than the published. Raises DataError as `download` and `extract`.
    """
    root = Path(root).expanduser()
    archive = archive_of(name, mirror=mirror, checksum=checksum)
    if (root / archive.folder).is_dir():  # whole, as it takes its name last
        return root / archive.folder
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{archive.folder}.lock"):  # two runs may share the folder
        if not (root / archive.folder).is_dir():
            file = download(archive.url, root / archive.name, archive.checksum)
            extract(file, root, archive.folder)
    return root / archive.folder
