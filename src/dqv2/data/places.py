"""Where the images of a dataset lie, what its pack depends on, and what has to be there before the first job."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dqv2.config import Config
from dqv2.config.data import Digits, Published
from dqv2.data.layout import no_test, table_files
from dqv2.data.published import ARCHIVES

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
        if (pack := Path(packs[name]) if name in packs else None) and pack.exists():
            has_some = bool(json.loads(pack.read_text(encoding="utf-8"))["test"])
        elif block.kind not in ("image_folder", "table") or block.test:
            continue
        elif block.kind == "table":
            has_some = "test" in table_files(Path(block.path).expanduser())
        else:
            has_some = Path(block.path, "test").expanduser().is_dir()
        if not has_some:
            found.append(no_test(name, folder_of(config, name) or name, block.kind))
    return found


def packed_with(file: str) -> dict[str, Any] | None:
    """The options that a pack was made with, from its `options.json`; None where there is none."""
    path = Path(file)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def changed_folders(config: Config, packs: Mapping[str, str]) -> list[str]:
    """One sentence for each dataset of a person's own that got or lost files after it was packed.

    Snakemake does not look into such a folder. Neither are the files looked at here, which would take minutes for a
    large set: a folder says itself when a file was added, removed or put in another's place. packs: dataset -> the file
    of its pack that was written last; one that is not there is passed over.
    """
    found = []
    for name, pack in packs.items():
        if config.datasets[name].kind not in ("image_folder", "table") or not Path(pack).exists():
            continue
        made = Path(pack).stat().st_mtime
        folders = (Path(place) for place, _, _ in os.walk(Path(folder_of(config, name)).expanduser(), followlinks=True))
        if changed := next((folder for folder in folders if folder.stat().st_mtime > made), None):
            found.append(
                f"datasets.{name}: {changed} has changed since its images were packed; the pack is used as it is, "
                f"unless you have it made anew, with all that follows: add --forcerun {pack} to the command"
            )
    return found
