"""What a name of a file or folder says: the splits, pictures and masks that people mean by their words."""

import re
from collections.abc import Iterable, Mapping, Sequence

# The words of Hugging Face's datasets (data_files.py, SPLIT_KEYWORDS), which people's sets follow.
WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLITS = {word: split for split, words in WORDS.items() for word in words}
IMAGES = {"images", "image", "imgs", "img", "jpegimages"}  # what nobody calls a class
PICTURES = IMAGES | {"pictures", "picture", "photos", "photo", "originals", "original", "rgb", "raw"}
MASKS = {
    "masks", "mask", "labels", "label", "annotations", "annotation", "segmentations", "segmentation", "segs", "seg",
    "gt", "gts", "groundtruth", "groundtruths", "truth", "bboxes", "bbox",
}  # fmt: skip
FILLERS = {"set", "data", "dataset", "split", "folder", "files", *PICTURES}  # beside a split's word they say nothing

_LONGEST_FIRST = "|".join(sorted(SPLITS, key=len, reverse=True))
_WORD = re.compile(rf"((?:{_LONGEST_FIRST})+)(?:set|data|split|folder|images?|imgs?)?")
_EACH = re.compile(_LONGEST_FIRST)
_GLUED = re.compile(rf"({_LONGEST_FIRST})$|^({_LONGEST_FIRST})")
_RUN = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def splits_in(name: str) -> set[str]:
    """The splits that a file's or folder's name speaks of: {"train"} for seg_train, TRAIN-2017 and trainSet."""
    return {
        SPLITS[word] for part in parts_of(name) if (found := _WORD.fullmatch(part)) for word in _EACH.findall(found[1])
    }


def parts_of(name: str) -> set[str]:
    """The words of a name, in lower case: cut at what is no letter, and also at capitals within."""
    runs = _RUN.findall(name)
    return {run.lower() for run in runs} | {
        part.lower() for run in runs if run.isascii() for part in _CAMEL.findall(run)
    }


def is_pictures(name: str, words: set[str] = PICTURES) -> bool:
    """Whether a name says that there are pictures, and of a class nothing."""
    return bool(said := _beside_splits(name)) and said <= words


def is_masks(name: str) -> bool:
    """Whether a name says that there are masks of other pictures, and nothing else."""
    return bool(said := _beside_splits(name)) and said <= MASKS | {"ground", "class", "object"} and bool(said & MASKS)


def is_plain(name: str) -> bool:
    """Whether a name says nothing but a split."""
    return _beside_splits(name) <= FILLERS


def told_apart(names: Iterable[str]) -> dict[str, str] | None:
    """Split -> name of two names that differ by the words of splits alone, which are grown together with others, such
    as birdstrain and birdstest; None where there are none."""
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


def what_to_write(splits: Mapping[str, Sequence[str]]) -> str:
    """What to write into the dataset's block: split -> names, or an example where there are none."""
    return f"say which is which in the dataset's block with {as_key(splits or {'train': ['...'], 'test': ['...']})}"


def as_key(splits: Mapping[str, Sequence[str]]) -> str:
    """The key `splits` as YAML takes it; at most three names of each."""
    text = ", ".join(f"{split}: [{', '.join(map(_quoted, names[:3]))}]" for split, names in splits.items())
    return f"splits: {{{text}}}"


def _beside_splits(name: str) -> set[str]:
    """The words of a name that are no split's; SegmentationClass is two, JPEGImages one."""
    found = set()
    for run in _RUN.findall(name):
        whole = run.lower()
        if not _WORD.fullmatch(whole):
            is_one = whole in PICTURES | MASKS | FILLERS or not run.isascii()
            found |= {whole} if is_one else {part.lower() for part in _CAMEL.findall(run)}
    return {part for part in found if not _WORD.fullmatch(part)}


def _quoted(name: str) -> str:
    """A name as YAML takes it."""
    return (name or ".") if re.fullmatch(r"[\w./-]*", name) else "'" + name.replace("'", "''") + "'"
