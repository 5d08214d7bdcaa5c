"""Published coresets: a list of ids with its checksum, used in place of a selection."""

import csv
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from dqv2.data import DataError, Pack
from dqv2.data.download import check_checksum, download
from dqv2.runtime.files import atomic_path
from dqv2.runtime.sentences import counted
from dqv2.select.coreset import Pool
from dqv2.select.lists import read_list


def fetch_ids(manifest: str, sha256: str, path: str | Path) -> None:
    """Download or copy a published list of ids, from an http(s) URL or a file, to `path`.

    Raises DataError where it cannot be obtained, or its SHA-256 differs from the one published.
    """
    path = Path(path)
    if source := list_on_disk(manifest, sha256):
        with atomic_path(path) as temporary:
            shutil.copyfile(source, temporary)
    else:
        path.unlink(missing_ok=True)
        download(manifest, path, f"sha256:{sha256}")


def list_on_disk(manifest: str, sha256: str) -> Path | None:
    """The file of a published list; None for one at an address. Raises DataError where it is missing or another."""
    if manifest.startswith(("http://", "https://")):
        return None
    source = Path(manifest).expanduser()
    if not source.is_file():
        raise DataError(
            f"there is no file {source.absolute()} with a published coreset: change manifest of the selector."
        )
    check_checksum(source, f"sha256:{sha256}", "it is another list than the one published")
    return source


def published_coreset(path: str | Path, pack: Pack, *, keep: float | None) -> Pool:
    """The coreset that a published list names, in the order of the pack.

    path: CSV with a column id (an `ids.csv` or a `coreset.csv`; columns bin, class, kind and weight are read where
    present), or one id per line. pack: the training images. keep: the keep ratio that the list is used for; None:
    any. Raises DataError where the number of ids is more than 2 % off that ratio, an id is unknown or duplicated, a
    class differs, a bin or weight is not a valid number, or the list contains Tobias images, which ids alone do not
    determine.
    """
    columns = read_list(path)
    ids = columns["id"]
    if not ids:
        raise DataError(f"{path} names no image.")
    if generated := [kind for kind in columns.get("kind", []) if kind.strip().casefold() != "original"]:
        raise DataError(
            f"{path}: {len(generated)} of {len(ids)} images are not originals (kind {generated[0]!r}), and their "
            "pixels cannot be made from ids: use the folder of images that was published with them as a dataset of "
            "kind image_folder."
        )
    if len(set(ids)) < len(ids):
        raise DataError(f"{path} names {len(ids) - len(set(ids))} images twice.")
    _require_known(path, ids, pack)
    if keep is not None and abs(len(ids) - keep * len(pack)) > 0.02 * keep * len(pack) + 1:
        raise DataError(
            f"the published coreset has {len(ids)} of {len(pack)} images, which is not a keep ratio of {keep:g}: set "
            f"keep_ratio: {len(ids) / len(pack):.4g}"
        )
    rows = np.asarray(pack.index(ids), np.int64)
    wrong = [
        (name, said, pack.classes[pack.labels[row]])
        for name, said, row in zip(ids, columns.get("class", []), rows, strict=False)
        if said != pack.classes[pack.labels[row]]
    ]
    if wrong:
        name, said, ours = wrong[0]
        raise DataError(
            f"{path}: {counted(len(wrong), 'image')} of another class, such as {name}: {said}, here {ours}."
        )
    bins, weights = (_numbers(path, columns, name) for name in ("bin", "weight"))
    bins = np.zeros(len(rows)) if bins is None else np.nan_to_num(bins)
    if (bins % 1).any() or np.abs(bins).max() >= 2**31:
        raise DataError(f"{path}: every bin must be a whole number.")
    pool = Pool(rows, np.zeros(len(rows), bool), bins.astype(np.int64), np.full(len(rows), -1, np.int64))
    if weights is not None:
        if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.max() > 0):
            raise DataError(f"{path}: every weight must be a number of at least 0, and one above 0.")
        pool = replace(pool, weight=weights / weights.mean())
    return pool.take(np.argsort(rows))


def _require_known(path: str | Path, ids: list[str], pack: Pack) -> None:
    """Raise DataError where ids are not in the pack: their number, the first, and what ids are."""
    known = set(pack.ids)
    unknown = [name for name in ids if name not in known]
    if not unknown:
        return
    first = unknown[1] if unknown[1:] and unknown[0] == ids[0] else unknown[0]  # the first line may be a header
    meant = next((name for name in _readings(first) if name in known), None)
    remedy = f" (write {meant})" if meant else ""
    what = "paths relative to the dataset's folder" if pack.meta.get("files") else "those of the pack's manifest.csv"
    raise DataError(
        f"{path}: {len(unknown)} of {len(ids)} ids are not in the pack {pack.folder}, such as {first[:200]!r}{remedy}. "
        f"Ids are {what}, such as {pack.ids[0]}, and in a CSV with a header their column must be called id. Ids of "
        "another dataset or split, or of another packing of it, cannot be used."
    )


def _readings(name: str) -> Iterator[str]:
    """What somebody may have meant by an id: without spaces, with slashes, relative to some folder, the first cell."""
    name = name[:10_000]  # a file with all its ids in one line is one id
    for text in (name, *next(csv.reader([name]), [])):
        parts = PurePosixPath(text.strip().replace("\\", "/")).parts
        yield from ("/".join(parts[start:]) for start in range(len(parts)))


def _numbers(path: str | Path, columns: dict[str, list[str]], name: str) -> np.ndarray | None:
    """A column as float64[K], NaN where a cell is empty; None where the column is missing or empty."""
    if not any(columns.get(name, [])):
        return None
    try:
        return np.array([float(cell) if cell else np.nan for cell in columns[name]])
    except ValueError as error:
        raise DataError(f"{path}: column {name} should hold numbers: {error}.") from error
