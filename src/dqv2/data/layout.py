"""Which folders of images are which split and class, judging by names alone. What is unclear is refused, with a
suggestion for the configuration. No file is opened here. `tables.py` does the same for tables, with the same words.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from dqv2.data.errors import DataError
from dqv2.data.words import (
    IMAGES,
    MASKS,
    WORDS,
    as_key,
    is_masks,
    is_pictures,
    is_plain,
    parts_of,
    splits_in,
    told_apart,
    what_to_write,
)
from dqv2.runtime.sentences import counted

# torchvision.datasets.folder.IMG_EXTENSIONS; a test holds them equal. Importing torchvision takes seconds.
IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
LAYOUT = (
    "expected are train/CLASS/*, test/CLASS/* and, optionally, validation/CLASS/* (or val, valid, dev, in any case), "
    f"or CLASS/* alone, which is then split. Images are files that end in {', '.join(IMG_EXTENSIONS)}"
)


@dataclass
class Layout:
    """The layout that a set's names imply; paths are relative to the set's folder."""

    splits: dict[str, list[str]]  # split -> its folders of class folders ("" is the set's own), or its tables
    aside: dict[str, str] = field(default_factory=dict)  # path -> why it is not read


def folder_layout(
    root: str,
    images: Mapping[str, int],
    *,
    labelled: bool = True,
    chosen: Mapping[str, Sequence[str]] | None = None,
) -> Layout:
    """The splits of a folder of images, `SPLIT/CLASS/*` or `CLASS/*`.

    Args:
        root: the set's name in messages.
        images: each folder below it ("" the set's own), with forward slashes -> number of images directly in it.
        labelled: whether folders are classes; else the images of a split may be anywhere below its folder.
        chosen: split -> folders or patterns, as given by the user; the rest is left aside.

    Raises DataError where there are no training images; class folders are missing, empty, or look like splits or masks;
    splits and classes are side by side; a split has two folders, or a path names two splits.
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
                self.inner[above(folder)].append(folder)
            for each in lineage(folder):
                self.total[each] += count

    def read(self, chosen: Mapping[str, Sequence[str]] | None) -> Layout:
        top = self._full("")
        if not top and not (self.total[""] and not self.labelled):
            raise DataError(f"There are no class folders in {self.root}: {self._unlabelled(LAYOUT)}.")
        if chosen is not None:
            pick(self.root, self.found, [*self.images], chosen, deep=False)
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
            if len(top) == 1 and (self._full(top[0]) or is_pictures(top[0])) and self.labelled:
                raise DataError(
                    f"{self.root} has {top[0]}/, which does not look like one of the classes: "
                    f"{self._unlabelled(LAYOUT)}. If it holds the classes or splits, set path: {self.root}/{top[0]}."
                )
            self.found.splits["train"] = [""]
        self.found.splits = {split: self.found.splits[split] for split in WORDS if split in self.found.splits}
        if "train" not in self.found.splits:
            raise DataError(f"{self.root}: no folder is named as train: {what_to_write({'train': ['FOLDER']})}.")
        classes = {split: {self._name(c) for f in fs for c in self._full(f)} for split, fs in self.found.splits.items()}
        if self.labelled and len(classes["train"]) == 1:
            self._check_one_class(self.found.splits["train"])
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
        """Record what the user's key `splits` does not name: the outermost folders, and images next to named ones."""
        left, named, holding = "", set(taken), lineages(taken)
        for folder in sorted(self.images, key=lambda folder: folder.split("/")):
            if not named.isdisjoint(lineage(folder)) or (left and within(folder, left)):
                continue
            if folder in holding:
                if stray := self.images[folder]:
                    self.found.aside[f"{folder}/" if folder else "./"] = f"{stray} images not named by the key splits"
            elif self.total[folder]:
                left = folder
                self._aside(folder, "not named by the key splits")

    def _full(self, folder: str) -> list[str]:
        """The subfolders of a folder that have images at any depth."""
        return [each for each in sorted(self.inner[folder]) if self.total[each]]

    def _name(self, folder: str) -> str:
        return folder.rpartition("/")[2]

    def _path(self, folder: str) -> str:
        return f"{self.root}/{folder}" if folder else self.root

    def _aside(self, folder: str, why: str) -> None:
        count = self.images[folder] if not folder else self.total[folder]
        self.found.aside[f"{folder}/" if folder else "./"] = f"{counted(count, 'image')} {why}"

    def _unlabelled(self, text: str) -> str:
        return f"{text}. For images without classes set unlabelled: true"

    def _split_folders(self, top: Sequence[str]) -> dict[str, str] | None:
        """Split -> its folder; None where the folders are classes."""
        named = {folder: found for folder in top if (found := splits_in(folder))}
        others = [folder for folder in top if folder not in named]
        for folder, found in named.items():
            if len(found) > 1:
                raise DataError(
                    f"{self._path(folder)} mentions {' and '.join(sorted(found))} at once: "
                    f"{what_to_write({'train': [folder]})}."
                )
        if not named:
            return None
        if others:
            # A class may be called "train": among other classes, a folder without subfolders is one.
            if all(found == {"train"} and self._may_be_a_class(folder) for folder, found in named.items()):
                return None
            guess = {next(iter(found)): [folder] for folder, found in named.items()}
            raise DataError(
                f"{self._path(next(iter(named)))} looks like a split and {self._path(others[0])} like a class, and a "
                "set has splits or classes side by side, not both: "
                f"{what_to_write(guess if 'train' in guess else {})}, or, "
                "where all are classes, splits: {train: [.]}."
            )
        found: dict[str, str] = {}
        for folder in sorted(named, reverse=True):
            (split,) = named[folder]
            if split in found:
                both = [found[split], folder]
                images = [name for name in both if not parts_of(name) & MASKS] or both
                raise DataError(
                    f"{self.root} has both {both[0]}/ and {both[1]}/: remove one, or {what_to_write({split: images})}."
                )
            found[split] = folder
        if "train" not in found:
            raise DataError(
                f"{self.root} has {', '.join(f'{folder}/' for folder in sorted(found.values()))} but no train/ with "
                f"classes: {LAYOUT}."
            )
        return found

    def _may_be_a_class(self, folder: str) -> bool:
        """Whether a folder named after the training split may be a class, such as train or bullet_train."""
        return not self._full(folder) and (not is_plain(folder) or folder.lower() == "train")

    def _check_one_class(self, folders: Sequence[str]) -> None:
        """Refuse subfolders of a set's only class, as they probably are the classes."""
        for folder in folders:
            for each in self._full(folder):
                if inner := self._full(each):
                    raise DataError(
                        f"{self._path(folder)} holds only {self._name(each)}/, in which {self._name(inner[0])}/ and "
                        f"its siblings look like the classes: {what_to_write({'train': [each]})}, with test likewise; "
                        "or, if the images have no classes, set unlabelled: true."
                    )

    def _check_groups(self, split: str, full: Sequence[str]) -> None:
        """Refuse folders that share subfolders, as those of sites or years do: either level may be the classes; and a
        folder that holds two of those beside it once more, as archives that were unpacked twice do.

        Subfolders that are called images or masks are none; nor is a single name, as it would be the only class.
        """
        holding = defaultdict(list)  # name of a subfolder, in lower case -> the folders that hold it
        beside = {self._name(folder).lower() for folder in full}
        for folder in full if len(full) > 1 else ():
            place = self._unwrapped(folder, split)  # amazon/images/bike beside dslr/images/bike
            inside = [n for n in map(self._name, self._full(place)) if not is_pictures(n) and not is_masks(n)]
            own = self._name(folder).lower()
            again = [name for name in inside if name.lower() in beside and name.lower() != own]
            if len(again) > 1:
                both, inner = f"{again[0]}/ and {again[1]}/", self.found.splits | {split: [place]}
                raise DataError(
                    f"{self._path(place)} holds {both}, and so does {self._path(above(folder))}: remove what is there "
                    f"twice, or say which holds the classes with {as_key(inner)} in the dataset's block; where "
                    f"{self._name(folder)}/ is a class like {both}, with {as_key(self.found.splits)}."
                )
            for name in inside if not self.images[folder] else ():
                holding[name.lower()].append((folder, place, name))
        shared = {held[0][2]: held for held in holding.values() if len(held) > 1}
        if not shared or len(holding) == 1:
            return
        (one, in_one, _), (other, in_other, _) = next(iter(shared.values()))[:2]
        names = sorted(name for name, held in shared.items() if {one, other} <= {folder for folder, *_ in held})[:2]
        these = " and ".join(f"{name}/" for name in names)
        what = f"{these} are the classes" if len(names) > 1 else f"{these} and its siblings are the classes"
        raise DataError(
            f"{self._path(in_one)} and {self._path(in_other)} both hold {these}: where {what}, say what is in which "
            f"folder in the dataset's block with {as_key({'train': [in_one], 'test': [in_other]})}, or all under "
            f"train; where {self._name(one)}/ and {self._name(other)}/ are, with {as_key(self.found.splits)}."
        )

    def _unwrapped(self, folder: str, split: str, *, chosen: bool = False) -> str:
        """The folder that holds a split's classes, skipping folders that repeat the split's name or, unless `chosen`,
        say "images"."""
        while not self.images[folder] and len(inner := self._full(folder)) == 1:
            said = splits_in(self._name(inner[0]))
            if said - {split} and not chosen:
                raise DataError(f"{self._path(inner[0])} mentions two splits: {what_to_write({split: [inner[0]]})}.")
            name = self._name(inner[0])
            again = said == {split} and (is_plain(name) or name.lower() == self._name(folder).lower())
            if not again and (chosen or not is_pictures(name)):
                break
            folder = inner[0]
        return folder

    def _check_names(self, folder: str, split: str, classes: Mapping[str, set[str]]) -> None:
        """Refuse folders below a split, or below the set's folder, that are not classes."""
        own, whole = {split}, not folder
        full = self._full(folder)
        names = [self._name(each) for each in full]
        pictures = [name for name in names if is_pictures(name)]
        beside = [name for name in names if name not in pictures and parts_of(name) & MASKS] if pictures else []
        if self.labelled and not beside and (surely := [name for name in pictures if is_pictures(name, IMAGES)]):
            pictures, beside = surely, [name for name in names if name != surely[0]]
        if beside:
            inside = [f"{folder}/{pictures[0]}".lstrip("/")]
            raise DataError(
                f"{self._path(folder)} has {pictures[0]}/ and {beside[0]}/, pictures and what belongs to them, not "
                f"classes: to leave out {beside[0]}/, {what_to_write({split: inside})}, with unlabelled: true where "
                f"it has no class folders; or, where all are classes, {as_key(self.found.splits)}."
            )
        for each in self.total:
            if each == folder or not within(each, folder) or not self.total[each]:
                continue
            name, said = self._name(each), splits_in(self._name(each))
            is_class = above(each) == folder
            shared = any(name in names for other, names in classes.items() if other != split)
            if (said - own and not (is_class and shared and not is_plain(name))) or (
                said and is_class and not whole and is_plain(name)
            ):
                raise DataError(
                    f"{self._path(each)} looks like a split where a class is expected: move it, or, if it is "
                    f"not a split, {what_to_write(self.found.splits)}."
                )
        if pair := told_apart(full):
            both = " and ".join(f"{self._name(each)}/" for each in pair.values())
            each_named = {name: [each] for name, each in pair.items()}
            raise DataError(
                f"{self._path(folder)} has {both}, which look like splits: {what_to_write(each_named)}, or, where they "
                f"are classes, {as_key(self.found.splits)}."
            )
        if self.labelled:
            self._check_groups(split, full)

    def _has_classes(self, folder: str, split: str, known: set[str]) -> bool:
        """Whether a split has class folders; images outside them are left aside."""
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
                    f"{self._path(folder)} has {stray} images next to {what}, so these are unlikely to be classes: "
                    f"{self._unlabelled('put each image into a class folder')}."
                )
            self.found.aside[f"{folder}/" if folder else "./"] = f"{stray} images in no class folder"
        return True


def pick(
    root: str, found: Layout, names: Sequence[str], chosen: Mapping[str, Sequence[str]], *, deep: bool
) -> list[str]:
    """Add to `found` what the user's key `splits` names, each name once; return the other names.

    deep: whether a star in a pattern also matches across folders, and a folder's name all that is in it. Raises
    DataError where a pattern matches nothing, or the same images are named twice.
    """
    for split, patterns in chosen.items():
        for pattern in patterns:
            plain = "/".join(part for part in pattern.split("/") if part not in ("", "."))
            alike = [name for name in names if deep or name.count("/") == plain.count("/")]
            matched = [name for name in alike if name == plain or fnmatchcase(name, plain)]
            if deep and not matched:
                matched = [name for name in names if within(name, plain)]
            if not matched:
                there = ", ".join(sorted(filter(None, names))[:5]) or "nothing"
                raise DataError(f"{root}: splits.{split} = {pattern!r} names nothing; there is: {there}.")
            found.splits.setdefault(split, []).extend(matched)
    taken: dict[str, str] = {}
    first: dict[str, str] = {}  # folder -> the first name taken in it
    for split, of_split in found.splits.items():
        for name in of_split:
            other = next((each for each in lineage(name) if each in taken), first.get(name))
            if other is not None:
                raise DataError(
                    f"{root}: {name or '.'} ({split}) and {other or '.'} ({taken[other]}) of the key splits hold the "
                    "same images: name each once."
                )
            taken[name] = split
            for each in lineage(name):
                first.setdefault(each, name)
    return [name for name in names if name not in taken]


def above(folder: str) -> str:
    """The parent of a folder; "" is the set's own."""
    return folder.rpartition("/")[0]


def lineage(folder: str) -> Iterator[str]:
    """A folder and all that hold it, up to the set's own.

    Asking which of these are in a set takes as long for a million folders in it as for one; `within` each does not.
    """
    while folder:
        yield folder
        folder = above(folder)
    yield ""


def lineages(folders: Iterable[str]) -> set[str]:
    """Folders and all that hold one of them."""
    return {each for folder in folders for each in lineage(folder)}


def within(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or is inside it."""
    return not folder or path == folder or path.startswith(f"{folder}/")
