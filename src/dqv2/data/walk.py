"""The content of a folder: its files by subfolder, without hidden files and those of operating systems."""

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dqv2.data.errors import DataError
from dqv2.runtime.sentences import require_working

SYSTEM = {
    "__macosx", "$recycle.bin", "system volume information", "lost+found", "__pycache__", "network trash folder",
    "temporary items", "@eadir", "@tmp", "@recycle", "@__thumb", "@recently-snapshot", "#recycle", "#snapshot",
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r",
}  # fmt: skip
ENDING = re.compile(r".*\.[A-Za-z0-9]{1,7}")  # a name with an extension, so of a file and not of a folder
KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class Tree(NamedTuple):
    """A folder's content; paths are relative to it, with forward slashes."""

    files: dict[str, list[str]]  # folder ("" the folder itself) -> the names of its files; both in sorted order
    aside: list[str]  # hidden and system folders (with a slash at the end) and files, which were not looked at


def walk(root: Path) -> Tree:
    """List a folder, following links, in the order of torchvision's `make_dataset`.

    Raises DataError where a folder cannot be read, or a link points to a folder that contains it, or is broken and may
    have pointed to a folder.
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
    """Whether a link points to a folder that the walk came through, be it via links or not."""
    target, way = link.resolve(), [each for each in link.parents if each.is_relative_to(root)]
    return any(each.resolve().is_relative_to(target) for each in way)


def require_utf8(root: Path, names: Iterable[str]) -> None:
    """Raise DataError where a name below `root` is not valid UTF-8, in which ids are written."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{root}: {name!r} is not valid UTF-8: rename it.") from error


def is_hidden(name: str) -> bool:
    """Whether a name is hidden, or of a file or folder that operating systems create."""
    return name.startswith(".") or name.lower() in SYSTEM


def special(path: str | Path) -> str | None:
    """The kind of a path that is not a regular file, such as "a named pipe"; None for a regular file.

    Raises OSError where the path does not exist.
    """
    mode = Path(path).stat().st_mode
    return None if stat.S_ISREG(mode) else KINDS.get(stat.S_IFMT(mode), "not a regular file")


def state_of(path: str | Path) -> tuple[int, int]:
    """Size in bytes and modification time in nanoseconds of a file; raises OSError where it does not exist."""
    state = os.stat(path)  # noqa: PTH116 (a Path for each of a million files is slow)
    return state.st_size, state.st_mtime_ns


def _refuse(error: OSError) -> None:
    require_working(error, error.filename)
    raise DataError(
        f"{error.filename} cannot be read ({error.strerror}): give yourself the right to read it (chmod -R u+rX), or "
        "move it out of the set's folder."
    ) from error
