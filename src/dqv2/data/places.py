"""Where the images of a dataset lie, what its pack depends on, and what has to be there before the first job."""

import csv
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dqv2.config import Config
from dqv2.config.data import Digits, Published
from dqv2.data.errors import DataError
from dqv2.data.published import ARCHIVES
from dqv2.runtime.files import atomic_path, csv_writer, read_json

FILES = "files.csv"  # beside the packs of a dataset: what they were made of

# Not among the params of a pack: what only training reads, and where an archive is fetched from.
NOT_PACKED = {"title", "augment", "stem", "path", "root", "mirror", "checksum", "variant", "tobias_size", "mean", "std"}


def folder_of(config: Config, dataset: str) -> str | None:
    """The folder of a dataset's images, as its pack reads them; None for the embedded one."""
    block = config.datasets[dataset]
    if isinstance(block, Digits):
        return None
    if isinstance(block, Published):
        return str(Path(block.root, ARCHIVES[block.archive].folder))
    return block.path


def pack_block(config: Config, dataset: str) -> dict[str, Any]:
    """What a pack depends on."""
    block = config.datasets[dataset].model_dump(exclude=NOT_PACKED)
    block = {key: value for key, value in block.items() if key not in ("splits", "unlabelled") or value}
    folder = folder_of(config, dataset)
    return block if folder is None else block | {"folder": folder}


def fetched_of(config: Config, dataset: str) -> list[str]:
    """The file that says that a published set is on the disk; nothing for other sets, nor where the set lies in a
    folder that may only be read (another person's), as there is nothing to fetch and no place to note it.

    A file, not the folder itself: Snakemake removes outputs before it makes them, and the folder may be a person's own.
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
    """One sentence for each of `datasets` whose images are a person's to put there, and are not there."""
    found = []
    for name in datasets:
        block = config.datasets[name]
        place = folder_of(config, name)
        if place is None or Path(place).expanduser().is_dir():
            continue
        looked = f"(looked for {Path(place).expanduser().absolute()})"
        nothing = f"datasets.{name}.path = {place!r}: there is no such folder {looked}."
        if isinstance(block, Published):
            if _read_only(Path(block.root).expanduser()):
                found.append(
                    f"datasets.{name}.root = {block.root!r}: {place} is not there {looked}, and the folder may only be "
                    "read, so that nothing can be fetched into it: set root to a folder of your own."
                )
            elif Path(fetched_of(config, name)[0]).exists():
                found.append(
                    f"datasets.{name}: {place} is gone {looked}, although it was there once: put it back, or remove "
                    f"{fetched_of(config, name)[0]} to have it fetched anew."
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


def without_test(config: Config, datasets: list[str], packs: Mapping[str, str]) -> list[str]:
    """One sentence for each of `datasets` that has no image to evaluate on, by its pack or a look at its folder.

    packs: dataset -> `splits.json` of its pack, for those that will not be packed anew.
    """
    found = []
    for name in datasets:
        block = config.datasets[name]
        if isinstance(sizes := read_json(packs.get(name, "")), dict):
            has_some = bool(sizes.get("test", True))
        elif block.kind not in ("image_folder", "table") or block.test:
            continue
        else:
            has_some = _has_test(block)
        if not has_some:
            found.append(no_test(name, folder_of(config, name) or name, block.kind))
    return found


def no_test(name: str, place: str, kind: str = "image_folder") -> str:
    """What to say where a set has no image to evaluate on, and what to do."""
    where = "into files with test in their names" if kind == "table" else "into test/CLASS/*"
    return (
        f"{place} holds no test images to evaluate on: put them {where}, or set datasets.{name}.test to the share of "
        "the images to hold out, such as 0.2. (A coreset needs none: snakemake --cores all coresets)"
    )


def _has_test(block: Any) -> bool:
    """Whether a person's own set has test images with labels, by its names and, of tables, its labels."""
    root = Path(block.path).expanduser()
    try:
        if block.kind == "table":
            from dqv2.data.sources.table import has_labels, tables_of

            tables = tables_of(root, block.splits).get("test", [])
            return bool(tables) and has_labels(root, tables, block.label)
        from dqv2.data.folder import list_folder

        return bool(list_folder(root, splits=block.splits).splits.get("test"))
    except DataError:  # which packing will say
        return False


def packed_with(file: str) -> dict[str, Any] | None:
    """The options that a pack was made with, from its `options.json`; None where there is none that can be read."""
    return read_json(file)


def changed_folders(config: Config, packs: Mapping[str, str]) -> list[str]:
    """One sentence for each dataset of a person's own whose files are others than when it was packed.

    Snakemake does not look into such a folder. A folder says itself when a file was added, removed or put in another's
    place; the files' sizes and times are compared with those in `files.csv`, and nothing is read. packs: dataset -> the
    file of its pack that was written last; one that is not there is passed over.
    """
    found = []
    for name, pack in packs.items():
        if config.datasets[name].kind not in ("image_folder", "table") or not Path(pack).exists():
            continue
        made = Path(pack).stat().st_mtime
        root = Path(folder_of(config, name)).expanduser()
        folders = (Path(place) for place, _, _ in os.walk(root, followlinks=True))
        if changed := next((folder for folder in folders if folder.stat().st_mtime > made), None):
            what = f"{changed} has changed since its images were packed"
        elif changed := changed_files(root, Path(pack).with_name(FILES)):
            what = f"{len(changed)} files have changed since they were packed, the first is {root / changed[0]}"
        else:
            continue
        found.append(
            f"datasets.{name}: {what}; the pack is used as it is (links of an exported coreset show what is there "
            f"now), unless you have it made anew, with all that follows: add --forcerun {pack} to the command"
        )
    return found


def note_files(root: Path, names: Iterable[str], out: Path) -> None:
    """Write a table of files below `root`: path, size in bytes, time of the last change in nanoseconds."""
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv_writer(file)
        rows.writerow(["path", "size", "mtime_ns"])
        for name in names:
            with suppress(OSError):  # gone already, which reading it will say
                rows.writerow([name, *_state(root, name)])


def changed_files(root: Path, table: Path) -> list[str]:
    """The files of a table of `note_files` that have another size or time now, or are gone; none where `root` is."""
    if not (table.exists() and root.is_dir()):
        return []
    found = []
    with table.open(encoding="utf-8", newline="") as file:
        for name, *then in list(csv.reader(file))[1:]:
            try:
                now = _state(root, name)
            except OSError:
                now = None
            if now != tuple(map(int, then)):
                found.append(name)
    return found


def _state(root: Path, name: str) -> tuple[int, int]:
    state = os.stat(os.path.join(root, name))  # noqa: PTH116, PTH118 (a Path for each of a million files is slow)
    return state.st_size, state.st_mtime_ns
