"""The labels of tables: from the values of a column to classes, or an error that says why that is impossible."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dqv2.data.errors import DataError
from dqv2.data.words import nearly
from dqv2.runtime.sentences import counted

LONGEST = 200  # bytes of a class's name, which becomes a folder's
NUMBER, TEXT, LOGICAL = "numbers", "text", "true and false"


@dataclass
class Labels:
    """The labels of one table."""

    file: Path  # the table
    values: list[Any]  # the values of its column
    names: list[str] | None  # names of the classes, where the file's metadata has them

    @staticmethod
    def known(value: Any) -> bool:
        """Whether a value is a label: not None, NaN, empty text, or -1, which marks images without one."""
        text = value.strip() if isinstance(value, str) else value
        return not (value is None or value != value or (isinstance(text, str) and text in ("", "-1")) or value == -1)

    def kind(self) -> str | None:
        """The kind of its labels (`NUMBER`, `TEXT` or `LOGICAL`); None without labels.

        Raises DataError for other values, or mixed kinds.
        """
        kinds = Counter(map(_kind, filter(self.known, self.values)))
        for other in sorted(set(kinds) - {NUMBER, TEXT, LOGICAL}):
            shown = next(value for value in self.values if self.known(value) and _kind(value) == other)
            raise DataError(
                f"{self.file}: {kinds[other]} of {len(self.values)} labels are not classes but {other}, the first is "
                f"{_short(shown)}: name a column of class names or numbers with label:."
            )
        if len(kinds) > 1:
            raise DataError(f"{self.file} has labels of both kinds, {' and '.join(kinds)}: write them all as one.")
        return next(iter(kinds), None)


def read_labels(
    root: Path, shards: Mapping[str, Sequence[Labels]]
) -> tuple[list[str], dict[str, list[int]], dict[str, str]]:
    """Read the labels of all tables: the classes, split -> class index of each row, and split -> why it is left aside
    (a test split without labels).

    shards: split -> the labels of its tables. Raises DataError where labels are missing, are neither numbers nor text
    nor booleans, differ in kind between tables, are unknown in train, or are too long for a folder's name.
    """
    aside = {}
    for split, of_split in shards.items():
        values = [value for shard in of_split for value in shard.values]
        missing = Counter(_short(value) for value in values if not Labels.known(value))
        if missing.total() == len(values) and split != "train":
            aside[split] = f"{counted(len(values), 'image')} without labels"
        elif missing:
            _refuse_missing(root, split, of_split, missing, len(values))
    shards = {split: of_split for split, of_split in shards.items() if split not in aside}
    _check_kinds([shard for of_split in shards.values() for shard in of_split])
    given = next((shard.names for shard in shards["train"] if shard.names), None)
    texts = {split: [_names(shard, given) for shard in of_split] for split, of_split in shards.items()}
    used = {name for of_shard in texts["train"] for name in of_shard}
    classes = [*(given or ()), *sorted(used - set(given or ()), key=_order)]
    place = {name: i for i, name in enumerate(classes)}
    for split, of_split in texts.items():
        names = [name for of_shard in of_split for name in of_shard]
        if unknown := [name for name in names if name not in place]:
            raise DataError(
                f"{root}: {len(unknown)} labels of {split} are not classes of train, the first is {unknown[0]!r}"
                f"{nearly(unknown[0], classes)}: remove these rows, or leave {split} aside by the key splits."
            )
    if long := next((name for name in classes if len(name.encode()) > LONGEST), None):
        raise DataError(
            f"{root}: the label {_short(long)} has {len(long.encode())} bytes, and a class becomes a folder's name of "
            f"at most {LONGEST}: shorten the labels, or name another column with label:."
        )
    numbers = {split: [place[name] for of_shard in of_split for name in of_shard] for split, of_split in texts.items()}
    return classes, numbers, aside


def _refuse_missing(root: Path, split: str, shards: Sequence[Labels], missing: Counter, n: int) -> None:
    counts = ", ".join(f"{count} are {what}" for what, count in missing.most_common(5))
    file = next(shard.file for shard in shards if not all(map(Labels.known, shard.values)))
    raise DataError(
        f"{root}: {missing.total()} of {n} labels of {split} are missing ({counts}; the first in {file}): remove these "
        "rows or label them (where -1 is a class, give it a name); for a coreset of all images without labels set "
        "unlabelled: true."
    )


def _check_kinds(shards: Sequence[Labels]) -> None:
    kinds = {}
    for shard in shards:
        if kind := shard.kind():
            kinds.setdefault(kind, shard)
    named = any(shard.names for shard in shards)
    if len(kinds) > 1 and not named:
        (one, of_one), (other, of_other), *_ = sorted(kinds.items())
        raise DataError(
            f"the labels of {of_one.file} are {one} and those of {of_other.file} are {other}: write them all as one, "
            "or name the tables of one kind with splits:."
        )


def _names(shard: Labels, given: Sequence[str] | None) -> list[str]:
    """The class name of each row; numbers are looked up in the table's own names, else in those of the first table."""
    names = shard.names or given
    found = []
    for value in shard.values:
        if isinstance(value, str):
            found.append(value)
        elif names:
            if not 0 <= value < len(names):
                raise DataError(f"{shard.file}: the label {value} is none of its {len(names)} classes.")
            found.append(names[int(value)])
        else:
            found.append(str(value) if isinstance(value, bool) else str(int(value)))
    return found


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return TEXT
    if isinstance(value, bool):
        return LOGICAL
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return NUMBER
    kinds = {list: "lists", dict: "dictionaries", bytes: "bytes", float: "fractions"}
    return kinds.get(type(value), f"of type {type(value).__name__}")


def _order(name: str) -> tuple[int, int, str]:
    """Sort key: numbers by value, before names."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _short(value: Any) -> str:
    if value is None or value != value:
        return "None" if value is None else "NaN"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
