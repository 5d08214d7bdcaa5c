"""What the names of files and folders indicate: splits, pictures, masks."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

# The keywords of Hugging Face's datasets (data_files.py, SPLIT_KEYWORDS), which users' sets follow
WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLITS = {word: split for split, words in WORDS.items() for word in words}
IMAGES = {"images", "image", "imgs", "img", "jpegimages"}  # never the name of a class
PICTURES = IMAGES | {"pictures", "picture", "photos", "photo", "originals", "original", "rgb", "raw"}
MASKS = {
    "masks", "mask", "labels", "label", "annotations", "annotation", "segmentations", "segmentation", "segs", "seg",
    "gt", "gts", "groundtruth", "groundtruths", "truth", "bboxes", "bbox",
}  # fmt: skip
FILLERS = {"set", "data", "dataset", "split", "folder", "files", *PICTURES}  # meaningless next to a split's word

_LONGEST_FIRST = "|".join(sorted(SPLITS, key=len, reverse=True))
_WORD = re.compile(rf"((?:{_LONGEST_FIRST})+)(?:set|data|split|folder|images?|imgs?)?")
_EACH = re.compile(_LONGEST_FIRST)
_GLUED = re.compile(rf"({_LONGEST_FIRST})$|^({_LONGEST_FIRST})")
_RUN = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def splits_in(name: str) -> set[str]:
    """The splits that the name of a file or folder mentions: {"train"} for seg_train, TRAIN-2017 and trainSet."""
    return {
        SPLITS[word] for part in parts_of(name) if (found := _WORD.fullmatch(part)) for word in _EACH.findall(found[1])
    }


def parts_of(name: str) -> set[str]:
    """The words of a name, in lower case: split at non-letters, and also at capitals inside a word."""
    runs = _RUN.findall(name)
    return {run.lower() for run in runs} | {
        part.lower() for run in runs if run.isascii() for part in _CAMEL.findall(run)
    }


def is_pictures(name: str, words: set[str] = PICTURES) -> bool:
    """Whether a name only says that a folder holds pictures, and names no class."""
    return bool(said := _beside_splits(name)) and said <= words


def is_masks(name: str) -> bool:
    """Whether a name only says that a folder holds masks of pictures."""
    return bool(said := _beside_splits(name)) and said <= MASKS | {"ground", "class", "object"} and bool(said & MASKS)


def is_plain(name: str) -> bool:
    """Whether a name says nothing beyond a split."""
    return _beside_splits(name) <= FILLERS


def told_apart(names: Iterable[str]) -> dict[str, str] | None:
    """Split -> name, for two names that differ only in a split's word that is joined to another word, such as
    birdstrain and birdstest; None where there are no such names."""
    seen: dict[str, tuple[str, str]] = {}
    for name in names:
        for run in _RUN.finditer(name):
            for word in _GLUED.finditer(run[0].lower()) if not _WORD.fullmatch(run[0].lower()) else ():
                start, end = run.start() + word.start(), run.start() + word.end()
                rest = re.sub(r"\d+", "0", f"{name[:start]}\n{name[end:]}".lower())
                split, other = seen.setdefault(rest, (SPLITS[word[0]], name))
                if split != SPLITS[word[0]]:
                    return {split: other, SPLITS[word[0]]: name}
    return None


def alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ in capitals, spaces or the encoding of letters alone: ["cat", "Cat "], but not "a"
    and "A", which sets of letters tell apart."""
    found = defaultdict(list)
    for name in names:
        found["".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    return [group for key, group in found.items() if len(group) > 1 and len(key) > 1]


def nearly(name: str, names: Iterable[str]) -> str:
    """A remark where one of these names of train's is `alike`; else an empty text."""
    group = next((group for group in alike([name, *names]) if name in group), ())
    return f" ({name!a} is nearly train's {group[1]!a})" if group else ""


def what_to_write(splits: Mapping[str, Sequence[str]]) -> str:
    """What to write into the dataset's block, as a clause. splits: split -> names; if empty, an example is shown."""
    return f"say which is which in the dataset's block with {as_key(splits or {'train': ['...'], 'test': ['...']})}"


def as_key(splits: Mapping[str, Sequence[str]]) -> str:
    """The key `splits` as YAML, with at most three names per split."""
    text = ", ".join(f"{split}: [{', '.join(map(_quoted, names[:3]))}]" for split, names in splits.items())
    return f"splits: {{{text}}}"


def _beside_splits(name: str) -> set[str]:
    """The words of a name that do not name a split; SegmentationClass has two, JPEGImages one."""
    found = set()
    for run in _RUN.findall(name):
        whole = run.lower()
        if not _WORD.fullmatch(whole):
            is_one = whole in PICTURES | MASKS | FILLERS or not run.isascii()
            found |= {whole} if is_one else {part.lower() for part in _CAMEL.findall(run)}
    return {part for part in found if not _WORD.fullmatch(part)}


def _quoted(name: str) -> str:
    """A name, quoted for YAML where necessary: also no, null, 1e3 or a date, but not 2021, which is taken as it is."""
    import yaml  # only here: packing does not otherwise need it

    name = name or "."
    try:
        read = yaml.safe_load(name) if re.fullmatch(r"[\w./-]+", name) else None
    except (yaml.YAMLError, ValueError):  # ValueError: the 45th of a month
        read = None
    return name if type(read) in (str, int) and str(read) == name else "'" + name.replace("'", "''") + "'"
