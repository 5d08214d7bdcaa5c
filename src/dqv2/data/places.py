"""Where the images of a dataset are, what its pack depends on, and what must exist before the first job."""

import csv
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dqv2.config import Config
from dqv2.config.data import Digits, Published
from dqv2.data.published import ARCHIVES
from dqv2.data.walk import is_hidden, state_of
from dqv2.runtime.files import atomic_path, csv_writer
from dqv2.runtime.sentences import counted

FILES = "files.csv"  # next to a dataset's packs: the files that they were made from
MANY = 500_000  # files; checking more on network storage takes minutes at each start (and they are ImageNet)

# Keys that are not among the params of a pack: those that only training reads, and the archive's location
NOT_PACKED = {"title", "augment", "stem", "path", "root", "mirror", "checksum", "variant", "tobias_size", "mean", "std"}
# Keys that are left out of a pack's params at their defaults: sets were packed before there were such keys
LATER = {"splits": None, "unlabelled": False, "classes": None, "white_level": 65535, "masks": "aside"}


def folder_of(config: Config, dataset: str) -> str | None:
    """The folder of a dataset's images, as its pack reads them; None for the embedded one."""
    block = config.datasets[dataset]
    if isinstance(block, Digits):
        return None
    if isinstance(block, Published):
        return str(Path(block.root, ARCHIVES[block.archive].folder))
    return block.path


def pack_block(config: Config, dataset: str) -> dict[str, Any]:
    """The options of a dataset that its pack depends on."""
    block = config.datasets[dataset].model_dump(exclude=NOT_PACKED)
    block = {key: value for key, value in block.items() if key not in LATER or (value and value != LATER[key])}
    folder = folder_of(config, dataset)
    return block if folder is None else block | {"folder": folder}


def fetched_of(config: Config, dataset: str) -> list[str]:
    """The marker file of a published set that is on disk. An empty list for other sets, and for an existing set in a
    read-only folder (another user's), where nothing is fetched and no marker can be written.

    It is a file, not the folder itself, because Snakemake deletes outputs before making them, and the folder may be the
    user's own.
    """
    block = config.datasets[dataset]
    if not isinstance(block, Published):
        return []
    root = Path(block.root).expanduser()
    note = root / f".{block.archive}.fetched"
    if not note.exists() and _read_only(root) and Path(folder_of(config, dataset)).expanduser().is_dir():
        return []
    return [str(note)]


def _read_only(folder: Path) -> bool:
    return folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK)


def fetch_options(config: Config) -> dict[str, dict[str, Any]]:
    """File of `fetched_of` -> what is fetched, for every published dataset of the configuration."""
    found = {}
    for name, block in config.datasets.items():
        if isinstance(block, Published):
            options = {"name": block.archive, "root": block.root, "mirror": block.mirror, "checksum": block.checksum}
            found |= dict.fromkeys(fetched_of(config, name), options)
    return found


def missing_folders(config: Config, datasets: list[str]) -> list[str]:
    """One sentence for each of `datasets` whose images are missing and cannot be fetched."""
    found = []
    for name in datasets:
        block = config.datasets[name]
        place = folder_of(config, name)
        if place is None or _is_folder(Path(place).expanduser()):
            continue
        looked = f"(looked for {Path(place).expanduser().absolute()})"
        nothing = f"datasets.{name}.path = {place!r}: there is no such folder {looked}."
        if Path(place).expanduser().exists():
            nothing = f"datasets.{name}.path = {place!r}: this is a file; unpack an archive, and name its folder."
        if isinstance(block, Published):
            if _read_only(Path(block.root).expanduser()):
                found.append(
                    f"datasets.{name}.root = {block.root!r}: {place} is not there {looked}, and the folder may only be "
                    "read, so that nothing can be fetched into it: set root to a folder of your own."
                )
            elif Path(fetched_of(config, name)[0]).exists():
                found.append(
                    f"datasets.{name}: {place} is gone {looked}, although it was there once: put it back, or remove "
                    f"{fetched_of(config, name)[0]} to have it fetched again."
                )
        elif block.kind == "image_folder":
            found.append(
                f"{nothing} Put the images there as train/CLASS/* and test/CLASS/*, or CLASS/* with the keys "
                "validation and test, or change the path."
            )
        elif block.kind == "table":
            found.append(f"{nothing} Put the .parquet or .arrow files there, or change the path.")
        else:
            found.append(
                f"{nothing} ImageNet has to be asked for at image-net.org: put train/WNID/* and val/WNID/* there, or "
                "its archives as they are."
            )
    return found


def _is_folder(path: Path) -> bool:
    """Whether there is such a folder. Raises PermissionError where that cannot be seen, as is_dir did before 3.14."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return stat.S_ISDIR(path.stat().st_mode)
    return False


def without_test(config: Config, sizes: Mapping[str, Any]) -> list[str]:
    """One sentence for each dataset without test images. sizes: dataset -> split -> number of images."""
    return [
        no_test(name, folder_of(config, name) or name, config.datasets[name].kind)
        for name, of_set in sizes.items()
        if isinstance(of_set, dict) and not of_set.get("test", True)
    ]


def no_test(name: str, place: str, kind: str = "image_folder") -> str:
    """The message for a set without test images, with what to do."""
    where = "into files with test in their names" if kind == "table" else "into test/CLASS/*"
    return (
        f"{place} holds no test images to evaluate on: put them {where}, or set datasets.{name}.test to the share of "
        "the images to hold out, such as 0.2. (A coreset needs none: snakemake --cores all coresets)"
    )


def changed_folders(config: Config, packs: Mapping[str, str]) -> list[str]:
    """One sentence for each dataset whose files have changed since it was packed.

    Snakemake does not look into such a folder. A folder's own time shows that a file was added, removed or replaced:
    it is later than the pack or, where a copying program (rsync, tar) set it, another than before. Sizes and times of
    files and folders are compared with those in `files.csv`. No file is read. packs: dataset -> the last file of its
    pack to be written.
    """
    found = []
    for name, pack in packs.items():
        if (folder := folder_of(config, name)) is None:
            continue
        made = Path(pack).stat().st_mtime
        root = Path(folder).expanduser()
        changed = changed_files(root, Path(pack).with_name(FILES))
        noted = set(changed)
        folders = (name for name in folders_in(root) if name in noted or (root / name).stat().st_mtime > made)
        if folder := next(folders, None):
            what = f"{root / folder} has changed since its images were packed"
        elif changed:
            what = f"{counted(len(changed), 'file')} changed after packing, the first is {root / changed[0]}"
        else:
            continue
        found.append(
            f"datasets.{name}: {what}; the pack is used as it is (links of an exported coreset show what is there "
            f"now), unless you have it made again, with all that follows: add --forcerun {pack} to the command"
        )
    return found


def folders_in(root: Path) -> Iterator[str]:
    """A folder and all subfolders that are searched for images, relative to it and with a slash at the end."""
    for place, names, _ in os.walk(root, followlinks=True):
        names[:] = [name for name in names if not is_hidden(name)]
        yield f"{Path(place).relative_to(root).as_posix()}/"


def states_of(root: Path, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Name -> size and time (`state_of`) of files and folders below `root`; what is missing is left out. A folder's
    size is 0 here, as it depends on the file system."""
    found = {}
    for name in names:
        with suppress(OSError):  # missing; reading it will report that
            size, time = state_of(os.path.join(root, name))  # noqa: PTH118 (a Path for each is slow)
            found[name] = (0 if name.endswith("/") else size), time
    return found


def note_files(states: Mapping[str, tuple[int, int]], out: Path) -> None:
    """Write a table of files and folders: path (relative to the set's folder, or absolute), size in bytes, modification
    time in nanoseconds."""
    with (
        atomic_path(out) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        rows = csv_writer(file)
        rows.writerow(["path", "size", "mtime_ns"])
        rows.writerows([name, *state] for name, state in states.items())


def changed_files(root: Path, table: Path) -> list[str]:
    """The files and folders in a table of `note_files` that now have another size or time, or are gone; none if `root`
    is gone."""
    if not (table.exists() and root.is_dir()):
        return []
    with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        then = {name: (int(size), int(time)) for name, size, time in list(csv.reader(file))[1:]}
    if len(then) > MANY:
        return []
    now = states_of(root, then)
    return [name for name, state in then.items() if now.get(name) != state]
