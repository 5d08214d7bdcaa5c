"""What lies in a folder: its files by their folders, without what people and systems put there for themselves."""

import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from dqv2.data.errors import DataError

SYSTEM = {
    "__macosx", "$recycle.bin", "system volume information", "lost+found", "__pycache__", "network trash folder",
    "temporary items", "@eadir", "@tmp", "@recycle", "@__thumb", "@recently-snapshot", "#recycle", "#snapshot",
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r",
}  # fmt: skip
ENDING = re.compile(r".*\.[A-Za-z0-9]{1,7}")  # of a file's name, as against a folder's
KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class Tree(NamedTuple):
    """A folder's content; paths are relative to it, with forward slashes."""

    files: dict[str, list[str]]  # folder ("" the folder itself) -> the names of its files; both in sorted order
    aside: list[str]  # hidden and system folders (with a slash at the end) and files, which were not looked at


def walk(root: Path) -> Tree:
    """List a folder, links followed, in the order of torchvision's `make_dataset`.

    Raises DataError where a folder cannot be read, or a link leads back to a folder that holds it, or may have led to a
    folder that is gone.
    """
    found, aside, skip = {}, [], len(str(root)) + 1
    for place, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        own = place[skip:].replace(os.sep, "/")
        prefix = f"{own}/" if own else ""
        aside += [f"{prefix}{name}/" for name in folders if is_hidden(name)]
        aside += [f"{prefix}{name}" for name in files if is_hidden(name)]
        folders[:] = [name for name in folders if not is_hidden(name)]
        for link in (Path(place, name) for name in folders):
            if link.is_symlink() and _goes_round(link, root):
                raise DataError(f"{link} is a link to a folder that holds it, {link.resolve()}: remove it.")
        found[own] = sorted(name for name in files if not is_hidden(name))
        for link in (Path(place, name) for name in found[own] if not ENDING.fullmatch(name)):
            if link.is_symlink() and not link.exists():
                raise DataError(f"{link} is a link to what is not there, {link.readlink()}: mend or remove it.")
    return Tree(dict(sorted(found.items())), aside)


def _goes_round(link: Path, root: Path) -> bool:
    """Whether a link leads to a folder through which the walk came to it, itself by links or not."""
    target, way = link.resolve(), [each for each in link.parents if each.is_relative_to(root)]
    return any(each.resolve().is_relative_to(target) for each in way)


def is_hidden(name: str) -> bool:
    """Whether a system hides it from people, or put it there itself."""
    return name.startswith(".") or name.lower() in SYSTEM


def special(path: str | Path) -> str | None:
    """What a path is if it is no regular file that can be read to its end ("a named pipe"); None if it is one.

    Raises OSError where there is nothing.
    """
    mode = Path(path).stat().st_mode
    return None if stat.S_ISREG(mode) else KINDS.get(stat.S_IFMT(mode), "no regular file")


def state_of(path: str | Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds of a file; raises OSError where there is none."""
    state = os.stat(path)  # noqa: PTH116 (a Path for each of a million files is slow)
    return state.st_size, state.st_mtime_ns


def _refuse(error: OSError) -> None:
    raise DataError(
        f"{error.filename} cannot be read ({error.strerror}): give yourself the right to read it (chmod -R u+rX), or "
        "move it out of the set's folder."
    ) from error
