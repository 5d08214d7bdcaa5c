"""Which files or folders are which split, told from names alone: one reader for folders of images and for tables.

Nothing is opened here. A name is cut at everything that is no letter; any part of it that is one of `WORDS`, in any
case, names a split. What is unclear is refused, with what to write into the configuration.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from dqv2.data.errors import DataError

# The words of Hugging Face's datasets (data_files.py, SPLIT_KEYWORDS), which people's sets follow.
WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLITS = {word: split for split, words in WORDS.items() for word in words}
TABLES = (".parquet", ".arrow")
# torchvision.datasets.folder.IMG_EXTENSIONS; a test holds them equal. Importing torchvision takes seconds.
IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
LAYOUT = (
    "expected are train/CLASS/*, test/CLASS/* and, if there is one, validation/CLASS/* (or val, valid, dev, in any "
    f"case); or CLASS/* alone, to be split. Images are files that end in {', '.join(IMG_EXTENSIONS)}"
)
PICTURES = {"images", "image", "imgs", "img", "jpegimages", "pictures", "photos"}
MASKS = {"masks", "mask", "labels", "label", "annotations", "annotation", "segmentations", "segmentation", "gt"}
FILLERS = {"set", "data", "dataset", "split", "folder", "files", *PICTURES}  # beside a split's word they say nothing

_LONGEST_FIRST = "|".join(sorted(SPLITS, key=len, reverse=True))
_WORD = re.compile(rf"((?:{_LONGEST_FIRST})+)(?:set|data|split|images?|imgs?)?")
_EACH = re.compile(_LONGEST_FIRST)
_RUN = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass
class Layout:
    """What a set's names say.

    Attributes:
        splits: split -> its folders of class folders ("" is the set's own), or its tables; paths below the set's.
        aside: path -> why what lies there is not read.
    """

    splits: dict[str, list[str]]
    aside: dict[str, str] = field(default_factory=dict)


def splits_in(name: str) -> set[str]:
    """The splits that a file's or folder's name speaks of: {"train"} for seg_train, TRAIN-2017 and trainSet."""
    return {
        SPLITS[word] for part in _parts(name) if (found := _WORD.fullmatch(part)) for word in _EACH.findall(found[1])
    }


def table_layout(root: str, files: Iterable[str], *, chosen: Mapping[str, Sequence[str]] | None = None) -> Layout:
    """The splits of tables, by their names and their folders'; train where no name says anything.

    Args:
        root: what messages call the set.
        files: paths below it, with forward slashes.
        chosen: split -> files, folders or patterns, where a person says it.

    Raises:
        DataError: there is no training table; a path speaks of two splits; some speak of one and others of none; a
            split has files in both formats.
    """
    found, unnamed = Layout({}), []
    for file in sorted(files, key=lambda file: file.split("/")):
        *folders, name = file.split("/")
        if any(part.startswith(("_", ".")) for part in (*folders, name)) or name.startswith("cache-"):
            found.aside[file] = "a hidden, temporary or cache file"
        elif chosen is None:
            said = set().union(*(splits_in(part) for part in (*folders, name)))
            if len(said) > 1:
                raise DataError(f"{root}/{file} speaks of {_list(sorted(said))} at once: {_write({})}.")
            found.splits.setdefault(*said, []).append(file) if said else unnamed.append(file)
        else:
            unnamed.append(file)
    if chosen is not None:
        left = _pick(root, found, unnamed, chosen, deep=True)
        found.aside |= dict.fromkeys(left, "not named by the key splits")
    elif unnamed and found.splits:
        raise DataError(
            f"{root}/{unnamed[0]} names no split, and {_list(sorted(found.splits))} have tables of their own: "
            f"{_write(found.splits)}."
        )
    elif unnamed:
        found.splits["train"] = unnamed
    if "train" not in found.splits:
        raise DataError(
            f"{root} holds no .parquet or .arrow file with train in its name or its folder's"
            + (f" ({_list(sorted(found.splits))} there is): {_write(found.splits)}." if found.splits else ".")
        )
    for split, names in found.splits.items():
        if len({name.lower().rpartition(".")[2] for name in names}) > 1:
            raise DataError(
                f"{root}: {split} has both .parquet and .arrow files ({names[0]}, ...), which may be the same images "
                "twice: remove one kind, or name the files of each split with splits: in the dataset's block."
            )
    found.splits = {split: found.splits[split] for split in WORDS if split in found.splits}
    return found


def folder_layout(
    root: str,
    images: Mapping[str, int],
    *,
    labelled: bool = True,
    chosen: Mapping[str, Sequence[str]] | None = None,
) -> Layout:
    """The splits of a folder of images, `SPLIT/CLASS/*` or `CLASS/*`.

    Args:
        root: what messages call the set.
        images: each folder below it ("" the set's own), with forward slashes -> images that lie directly in it.
        labelled: whether folders stand for classes; else a split may hold its images as it likes.
        chosen: split -> folders or patterns, where a person says it; the rest is left aside.

    Raises:
        DataError: no training images; class folders that are missing, empty, or look like splits or masks; splits and
            classes side by side; two folders for one split; two splits in one path.
    """
    return _Folders(root, images, labelled).read(chosen)


class _Folders:
    """Reads one folder's layout."""

    def __init__(self, root: str, images: Mapping[str, int], labelled: bool):
        self.root, self.images, self.labelled = root, images, labelled
        self.found = Layout({})
        self.total: dict[str, int] = defaultdict(int)
        self.inner: dict[str, list[str]] = defaultdict(list)
        for folder, count in images.items():
            if folder:
                self.inner[_above(folder)].append(folder)
            while True:
                self.total[folder] += count
                if not folder:
                    break
                folder = _above(folder)

    def read(self, chosen: Mapping[str, Sequence[str]] | None) -> Layout:
        top = self._full("")
        if not top and not (self.total[""] and not self.labelled):
            raise DataError(f"There are no class folders in {self.root}: {self._unlabelled(LAYOUT)}.")
        if chosen is not None:
            _pick(self.root, self.found, [*self.images], chosen, deep=False)
            self._leave_the_rest([folder for folders in self.found.splits.values() for folder in folders])
            for split, folders in self.found.splits.items():
                folders[:] = [self._unwrapped(folder, split, chosen=True) for folder in folders]
        elif named := self._split_folders(top):
            self.found.splits = {split: [self._unwrapped(folder, split)] for split, folder in named.items()}
            for folder in sorted(set(self.inner[""]) - set(named.values())):
                self.found.aside[f"{folder}/"] = "holds no images"
            if self.images[""]:
                self._aside("", "in no split")
        else:
            if len(top) == 1 and (self._full(top[0]) or _is_pictures(top[0])) and self.labelled:
                raise DataError(
                    f"{self.root} has {top[0]}/, which does not look like one of the classes: "
                    f"{self._unlabelled(LAYOUT)}. If it holds the classes or splits, set path: {self.root}/{top[0]}."
                )
            self.found.splits["train"] = [""]
        self.found.splits = {split: self.found.splits[split] for split in WORDS if split in self.found.splits}
        if "train" not in self.found.splits:
            raise DataError(f"{self.root}: nothing is said to be train: {_write({'train': ['FOLDER']})}.")
        classes = {split: {self._name(c) for f in fs for c in self._full(f)} for split, fs in self.found.splits.items()}
        for split, folders in list(self.found.splits.items()):
            for folder in list(folders):
                if chosen is None:
                    self._check_names(folder, split, classes)
                if self.labelled and not self._has_classes(folder, split, classes["train"]):
                    folders.remove(folder)
            if not folders:
                del self.found.splits[split]
        return self.found

    def _leave_the_rest(self, taken: Sequence[str]) -> None:
        """Note what a person's key `splits` does not name: the outermost folders, and images beside named ones."""
        left = ""
        for folder in sorted(self.images, key=lambda folder: folder.split("/")):
            if any(_within(folder, each) for each in taken) or (left and _within(folder, left)):
                continue
            if any(_within(each, folder) for each in taken):
                if stray := self.images[folder]:
                    self.found.aside[f"{folder}/" if folder else "./"] = f"{stray} images not named by the key splits"
            elif self.total[folder]:
                left = folder
                self._aside(folder, "not named by the key splits")

    def _full(self, folder: str) -> list[str]:
        """The folders in a folder that have images somewhere."""
        return [each for each in sorted(self.inner[folder]) if self.total[each]]

    def _name(self, folder: str) -> str:
        return folder.rpartition("/")[2]

    def _path(self, folder: str) -> str:
        return f"{self.root}/{folder}" if folder else self.root

    def _aside(self, folder: str, why: str) -> None:
        count = self.images[folder] if not folder else self.total[folder]
        self.found.aside[f"{folder}/" if folder else "./"] = f"{count} images {why}"

    def _unlabelled(self, text: str) -> str:
        return f"{text}. For images without classes set unlabelled: true"

    def _split_folders(self, top: Sequence[str]) -> dict[str, str] | None:
        """Split -> its folder; None where the folders are classes."""
        named = {folder: found for folder in top if (found := splits_in(folder))}
        others = [folder for folder in top if folder not in named]
        for folder, found in named.items():
            if len(found) > 1:
                raise DataError(
                    f"{self._path(folder)} speaks of {_list(sorted(found))} at once: {_write({'train': [folder]})}."
                )
        if not named:
            return None
        if others:
            # A class may be called "train": among other classes, a folder without folders of its own is one.
            if all(found == {"train"} and not self._full(folder) for folder, found in named.items()):
                return None
            guess = {next(iter(found)): [folder] for folder, found in named.items()}
            raise DataError(
                f"{self._path(next(iter(named)))} looks like a split and {self._path(others[0])} like a class, and a "
                f"set has splits or classes side by side, not both: {_write(guess if 'train' in guess else {})}, or, "
                "where all are classes, splits: {train: [.]}."
            )
        found: dict[str, str] = {}
        for folder in sorted(named, reverse=True):
            (split,) = named[folder]
            if split in found:
                both = [found[split], folder]
                images = [name for name in both if not _parts(name) & MASKS] or both
                raise DataError(
                    f"{self.root} has both {both[0]}/ and {both[1]}/: remove one, or {_write({split: images})}."
                )
            found[split] = folder
        if "train" not in found:
            raise DataError(
                f"{self.root} has {', '.join(f'{folder}/' for folder in sorted(found.values()))} but no train/ with "
                f"classes: {LAYOUT}."
            )
        return found

    def _unwrapped(self, folder: str, split: str, *, chosen: bool = False) -> str:
        """The folder of classes of a split, through folders that only say the split again, or (not chosen) images."""
        while not self.images[folder] and len(inner := self._full(folder)) == 1:
            said = splits_in(self._name(inner[0]))
            if said - {split} and not chosen:
                raise DataError(f"{self._path(inner[0])} speaks of two splits: {_write({split: [inner[0]]})}.")
            if said != {split} and (chosen or not _is_pictures(self._name(inner[0]))):
                break
            folder = inner[0]
        return folder

    def _check_names(self, folder: str, split: str, classes: Mapping[str, set[str]]) -> None:
        """Refuse what is no class below a split, or below the set's folder."""
        own, whole = {split}, not folder
        names = [self._name(each) for each in self._full(folder)]
        pictures = [name for name in names if _is_pictures(name)]
        if pictures and (masks := [name for name in names if _parts(name) & MASKS]):
            inside = [f"{folder}/{pictures[0]}".lstrip("/")]
            raise DataError(
                f"{self._path(folder)} has {pictures[0]}/ and {masks[0]}/, pictures and what belongs to them, not "
                f"classes: to leave {masks[0]}/ aside {_write({split: inside})}, with unlabelled: true where it has no "
                "class folders."
            )
        for each in self.total:
            if each == folder or not _within(each, folder) or not self.total[each]:
                continue
            name, said = self._name(each), splits_in(self._name(each))
            is_class = _above(each) == folder
            shared = any(name in names for other, names in classes.items() if other != split)
            if (said - own and not (is_class and shared and not _plain(name))) or (
                said and is_class and not whole and _plain(name)
            ):
                raise DataError(
                    f"{self._path(each)} looks like a split and lies where a class is expected: move it, or, where it "
                    f"is none, {_write(self.found.splits)}."
                )

    def _has_classes(self, folder: str, split: str, known: set[str]) -> bool:
        """Whether a split has class folders; what lies in none of them is left aside."""
        full = self._full(folder)
        if not full:
            if split == "train":
                raise DataError(f"There are no class folders in {self._path(folder)}: {self._unlabelled(LAYOUT)}.")
            self._aside(folder, f"in no class folder: {split} is taken to have no labels")
            return False
        for each in sorted(set(self.inner[folder]) - set(full)):
            if split == "train" or self._name(each) not in known:
                raise DataError(
                    f"The class folder {self._path(each)} has no images: put images there, or remove it. Images are "
                    f"files that end in {', '.join(IMG_EXTENSIONS)}."
                )
            self.found.aside[f"{each}/"] = "holds no images"
        if stray := self.images[folder]:
            if split == "train" and (len(full) == 1 or 2 * stray > self.total[folder]):
                what = f"its one folder {self._name(full[0])}/" if len(full) == 1 else "its folders, more than in them"
                raise DataError(
                    f"{self._path(folder)} has {stray} images beside {what}, so that these can hardly be classes: "
                    f"{self._unlabelled('put each image into a class folder')}."
                )
            self.found.aside[f"{folder}/" if folder else "./"] = f"{stray} images in no class folder"
        return True


def _pick(
    root: str, found: Layout, names: Sequence[str], chosen: Mapping[str, Sequence[str]], *, deep: bool
) -> list[str]:
    """Put into `found` what a person's key `splits` names, each name once; return the other names.

    deep: whether a pattern's star also stands for folders, and a folder's name for all that is in it.
    """
    for split, patterns in chosen.items():
        for pattern in patterns:
            plain = "/".join(part for part in pattern.split("/") if part not in ("", "."))
            alike = [name for name in names if deep or name.count("/") == plain.count("/")]
            matched = [name for name in alike if name == plain or fnmatchcase(name, plain)]
            if deep and not matched:
                matched = [name for name in names if _within(name, plain)]
            if not matched:
                there = ", ".join(sorted(filter(None, names))[:5]) or "nothing"
                raise DataError(f"{root}: splits.{split} = {pattern!r} names nothing; there is: {there}.")
            found.splits.setdefault(split, []).extend(matched)
    taken: dict[str, str] = {}
    for split, of_split in found.splits.items():
        for name in of_split:
            # Folders hold each other; they are few, where tables may be many
            nested = [other for other in taken if _within(name, other) or _within(other, name)] if not deep else []
            if name in taken or nested:
                other = name if name in taken else nested[0]
                raise DataError(
                    f"{root}: {name or '.'} ({split}) and {other or '.'} ({taken[other]}) of the key splits hold the "
                    "same images: name each once."
                )
            taken[name] = split
    return [name for name in names if name not in taken]


def _parts(name: str) -> set[str]:
    """The words of a name, in lower case: cut at what is no letter, and also at capitals within."""
    runs = _RUN.findall(name)
    return {run.lower() for run in runs} | {
        part.lower() for run in runs if run.isascii() for part in _CAMEL.findall(run)
    }


def _is_pictures(name: str) -> bool:
    """Whether a name says that there are pictures, and of a class nothing."""
    said = {run.lower() for run in _RUN.findall(name) if not _WORD.fullmatch(run.lower())}
    return bool(said) and said <= PICTURES


def _plain(name: str) -> bool:
    """Whether a name says nothing but a split."""
    return {run.lower() for run in _RUN.findall(name) if not _WORD.fullmatch(run.lower())} <= FILLERS


def _above(folder: str) -> str:
    return folder.rpartition("/")[0]


def _within(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


def _list(names: Sequence[str]) -> str:
    return " and ".join(names)


def _write(splits: Mapping[str, Sequence[str]]) -> str:
    """What to write into the dataset's block."""
    guess = splits or {"train": ["..."], "test": ["..."]}
    text = ", ".join(f"{split}: [{', '.join(map(_quoted, names[:3]))}]" for split, names in guess.items())
    return f"say which is which in the dataset's block with splits: {{{text}}}"


def _quoted(name: str) -> str:
    """A name as YAML takes it."""
    return (name or ".") if re.fullmatch(r"[\w./-]*", name) else "'" + name.replace("'", "''") + "'"
