"""Which tables are which split, judging by the names of files and folders alone; what is unclear is refused."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from dqv2.data.errors import DataError
from dqv2.data.layout import Layout, pick
from dqv2.data.words import WORDS, as_key, splits_in, told_apart, what_to_write

TABLES = (".parquet", ".arrow")
UNFINISHED = (".incomplete", ".tmp", ".part")  # folders that `datasets` and downloaders leave behind
_SHARD = re.compile(r"(.*)[-_.](\d+)[-_]of[-_](\d+)(.*)", re.IGNORECASE)


def table_layout(root: str, files: Iterable[str], *, chosen: Mapping[str, Sequence[str]] | None = None) -> Layout:
    """The splits of tables, by the names of files and folders; all are train if no name indicates a split.

    root: the set's name in messages. files: paths below it, with forward slashes. chosen: split -> files, folders or
    patterns, as given by the user. Raises DataError where there is no training table; a path names two splits; some
    paths name a split and others do not; a split has files in both formats, or seems to have two versions of the set.
    """
    found, unnamed = Layout({}), []
    for file in sorted(files, key=lambda file: file.split("/")):
        *folders, name = file.split("/")
        hidden = any(part.startswith(("_", ".")) or part.endswith(UNFINISHED) for part in (*folders, name))
        if hidden or name.startswith("cache-"):
            found.aside[file] = "a hidden, temporary or cache file"
        elif chosen is None:
            said = set().union(*(splits_in(part) for part in (*folders, name)))
            if len(said) > 1:
                raise DataError(f"{root}/{file} mentions {' and '.join(sorted(said))} at once: {what_to_write({})}.")
            found.splits.setdefault(*said, []).append(file) if said else unnamed.append(file)
        else:
            unnamed.append(file)
    if chosen is not None:
        left = pick(root, found, unnamed, chosen, deep=True)
        found.aside |= dict.fromkeys(left, "not named by the key splits")
    elif unnamed and found.splits:
        raise DataError(
            f"{root}/{unnamed[0]} names no split, and {' and '.join(sorted(found.splits))} have tables of their own: "
            f"{what_to_write(found.splits)}."
        )
    elif pair := told_apart(unnamed):
        raise DataError(
            f"{root}/{' and '.join(pair.values())} look like tables of splits: "
            f"{what_to_write({split: [file] for split, file in pair.items()})}."
        )
    elif unnamed:
        found.splits["train"] = unnamed
    elif not found.splits:
        raise DataError(f"{root} holds no table: tables are files that end in {' or '.join(TABLES)}.")
    if "train" not in found.splits:
        raise DataError(
            f"{root} holds no .parquet or .arrow file with train in its name or its folder's"
            + (
                f" ({' and '.join(sorted(found.splits))} there is): {what_to_write(found.splits)}."
                if found.splits
                else "."
            )
        )
    for split, names in found.splits.items():
        if len({name.lower().rpartition(".")[2] for name in names}) > 1:
            raise DataError(
                f"{root}: {split} has both .parquet and .arrow files ({names[0]}, ...), which may be the same images "
                "twice: remove one kind, or name the files of each split with splits: in the dataset's block."
            )
        if chosen is None:
            _check_shards(root, split, names, found)
    found.splits = {split: found.splits[split] for split in WORDS if split in found.splits}
    return found


def _check_shards(root: str, split: str, names: Sequence[str], found: Layout) -> None:
    """Check shards, NAME-00000-of-00002, and names of a split that come in several folders: refuse two versions of a
    set, and record missing shards."""
    sets: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    first: dict[str, tuple[str, str]] = {}  # a name from its split on -> the folder above, and what to take there
    for name in names:
        if part := _SHARD.fullmatch(name):
            sets[part[1]].append((int(part[3]), int(part[2]), name))
        *folders, file = name.split("/")
        n = next((k for k, each in enumerate(folders) if splits_in(each)), len(folders))
        if part or splits_in(file) or n < len(folders):
            which = "/".join(folders[: n + 1]) if n < len(folders) else f"{part[1]}*" if part else name
            own = "/".join([*folders[n:], _SHARD.sub(r"\1", file)])
            place, other = first.setdefault(own, ("/".join(folders[:n]), which))
            if place != "/".join(folders[:n]):
                raise DataError(
                    f"{root}: {other} and {which} may be two versions of one set, whose images would come twice: "
                    f"name one, or both, in the dataset's block with {as_key({split: [other]})}, and other splits "
                    "likewise."
                )
    for prefix, parts in sets.items():
        totals, places = {total for total, *_ in parts}, [place for _, place, _ in parts]
        if len(totals) > 1 or len(set(places)) < len(places):
            raise DataError(
                f"{root}: {parts[0][2]} and {parts[-1][2]} are parts of two versions of one set, whose images would "
                "come twice: remove one version, or name the files of each split with splits: in the dataset's block."
            )
        if (lacking := max(totals) - len(places)) > 0:
            found.aside[f"{prefix}-*-of-{max(totals)}"] = f"{lacking} of its {max(totals)} parts are not there"
