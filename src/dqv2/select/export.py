"""A coreset as a folder to give away: its ids with checksums, where it comes from, and its images if wanted."""

import csv
import hashlib
import platform
import re
import shutil
from collections import Counter
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from dqv2.data import DataError, Pack
from dqv2.data.folder import IMG_EXTENSIONS
from dqv2.data.image import rgb
from dqv2.data.sample import PART, read_place
from dqv2.runtime.files import atomic_dir, sha256, write_json
from dqv2.runtime.rows import RowWriter
from dqv2.select.coreset import Pool
from dqv2.semantic.recipe import Recipe

COLUMNS = ("id", "path", "class", "bin", "kind", "sha256", "image")
LIBRARIES = ("dqv2", "torch", "timm", "numpy", "pillow")
TIMMS = (".png", ".jpg", ".jpeg")  # what timm's reader of folders takes for images; torchvision's takes more
LONGEST = 200  # bytes of a file's name; file systems allow 255
AT_ONCE = 64  # images composed at a time


def export_coreset(
    folder: str | Path,
    coreset: Pool,
    pack: Pack,
    recipe: Recipe | None,
    *,
    source: str | None,
    redrawn: np.ndarray | None = None,
    images: str = "none",
    generated: str = "png",
    provenance: dict[str, Any] | None = None,
) -> Path:
    """Write a coreset's folder: `ids.csv`, `manifest.json` and, if asked, `images/CLASS/*`; whole or not at all.

    `ids.csv` has a line an image: id, path (where its original lies below the set's folder; empty where it is no file),
    class, bin, kind (original, tobias or redrawn), sha256 (of the original's file) and image (the file in this folder).

    Args:
        folder: to write; an older one is replaced.
        coreset, pack: what to export, and what its rows are of.
        recipe: of the Tobias images; None where there are none.
        source: the folder of the set's files; None where it has none.
        redrawn: uint8[K, 3, H, W], the coreset's images in its order after a pixel step such as DQ's; None for none.
            Each is written as `generated`, whatever `images` says of originals.
        images: "none"; "links" to the originals' files, "copies" of them, or "packed": the originals as they are
            packed, square and of one size.
        generated: "png" or "jpeg": how Tobias and redrawn images, and packed originals, are written.
        provenance: what else `manifest.json` should say of the coreset's making.

    Raises:
        DataError: an original's file is gone, or is no longer the one that was packed.
    """
    if coreset.tobias.any() and recipe is None and images != "none":
        raise ValueError("the coreset holds Tobias images, and no recipe was given")
    if redrawn is not None and len(redrawn) != len(coreset):
        raise ValueError(f"{len(redrawn)} redrawn images for a coreset of {len(coreset)}")
    rows = pack.rows_of_manifest()
    about = [rows[row] for row in coreset.rows]
    are_files = bool(pack.meta.get("files"))
    places = [(entry.get("source") or entry["id"]) if are_files else "" for entry in about]
    kinds = ["redrawn" if redrawn is not None else "tobias" if tobias else "original" for tobias in coreset.tobias]
    by_link = images in ("links", "copies") and are_files
    names = _image_names(coreset, pack, kinds, generated, by_link) if images != "none" else [""] * len(coreset)
    with atomic_dir(folder) as staged:
        if images != "none":
            given = [by_link and kind == "original" for kind in kinds]
            for name in {str(PurePosixPath(name).parent) for name in names}:
                (staged / name).mkdir(parents=True)
            for k in np.flatnonzero(given):
                _give(staged / names[k], Path(source or ".").expanduser(), about[k], places[k], images)
            _draw(staged, names, np.flatnonzero(np.logical_not(given)), coreset, pack, recipe, redrawn, generated)
        with (staged / "ids.csv").open("w", newline="", encoding="utf-8") as file:
            writer = RowWriter(file)
            writer.writerow(COLUMNS)
            for k, entry in enumerate(about):
                own = entry["id"], places[k], entry["class"], coreset.bins[k], kinds[k]
                writer.writerow([*own, entry.get("source_sha256", ""), names[k]])
        present = Counter(entry["class"] for entry in about)
        manifest = {
            "classes": pack.classes,
            "classes_without_images": [name for name in pack.classes if not present[name]],
            "dataset": pack.meta["dataset"],
            "images": {"form": images, "generated": generated} if images != "none" else None,
            "n": len(coreset),
            "n_redrawn": kinds.count("redrawn"),
            "n_tobias": int(coreset.tobias.sum()),
            "n_train": len(pack),
            "pack": {"fingerprint": pack.fingerprint, "size": pack.meta["width"], "format": pack.meta["format"]},
            "provenance": provenance or {},
            "sha256": {"ids.csv": sha256(staged / "ids.csv")},
            "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        }
        write_json(staged / "manifest.json", manifest)
    return Path(folder)


def coreset_files(ids: str | Path, source: str | Path, *, check: bool = True) -> list[tuple[Path, str]]:
    """The originals that an `ids.csv` names: (file, class) of each row of kind original, in its order.

    source: the set's folder, wherever it lies now and in whatever order its files are listed. check: compare each file
    with its checksum. Raises DataError where a file is not there, or is another one; it counts them and names the
    first.
    """
    found, faults = [], []
    with Path(ids).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["kind"] != "original":
                continue
            path = Path(source, row["path"]).expanduser()
            if not row["path"] or not path.is_file():
                faults.append(f"{row['id']}: there is no file {path}")
            elif check and sha256(path) != row["sha256"]:
                faults.append(f"{row['id']}: {path} is not the file that the coreset was made of")
            found.append((path, row["class"]))
    if faults:
        raise DataError(f"{len(faults)} of {len(found)} images of {ids} do not resolve in {source}: {faults[0]}")
    return found


def _image_names(coreset: Pool, pack: Pack, kinds: list[str], generated: str, by_link: bool) -> list[str]:
    """Where each image goes: images/CLASS/NAME, made from its id; unique, also where a system ignores case."""
    folders, names, taken = [], [], set()
    for i, name in enumerate(pack.classes):
        safe = re.sub(r"[/\\\0]", "_", name)
        folders.append(f"{safe}_{i}" if safe in ("", ".", "..") or safe in folders else safe)
    for row, tobias, kind in zip(coreset.rows, coreset.tobias, kinds, strict=True):
        own = PurePosixPath(pack.ids[row])
        given = by_link and kind == "original"
        suffix = f".{generated}" if not given else own.suffix if own.suffix.lower() in TIMMS else ".png"
        stem = re.sub(r"[/\\]", "_", str(own.with_suffix("") if own.suffix.lower() in IMG_EXTENSIONS else own))
        mark = ("_tobias" if tobias else "") + ("_redrawn" if kind == "redrawn" else "")
        stem += mark
        name = f"images/{folders[pack.labels[row]]}/{stem}{suffix}"
        if len((stem + suffix).encode()) > LONGEST or name.lower() in taken:
            short = hashlib.sha256(pack.ids[row].encode()).hexdigest()[:12]
            kept = stem.encode()[-(LONGEST - 20) :].decode(errors="ignore")
            name = f"images/{folders[pack.labels[row]]}/{kept}_{short}{mark}{suffix}"
        taken.add(name.lower())
        names.append(name)
    return names


def _draw(
    staged: Path,
    names: list[str],
    drawn: np.ndarray,
    coreset: Pool,
    pack: Pack,
    recipe: Recipe | None,
    redrawn: np.ndarray | None,
    generated: str,
) -> None:
    """Write the images of these places in the coreset: redrawn ones, Tobias images, or originals as packed."""
    for start in range(0, len(drawn), AT_ONCE):
        part = drawn[start : start + AT_ONCE]
        for chosen in (part[~coreset.tobias[part]], part[coreset.tobias[part]]):
            if not len(chosen):
                continue
            rows = coreset.rows[chosen]
            if redrawn is not None:
                made = redrawn[chosen]
            else:
                made = recipe.images(pack.images, rows) if coreset.tobias[chosen[0]] else pack.images[rows]
            for k, pixels in zip(chosen, made, strict=True):
                image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
                image.save(staged / names[k], **({"quality": 95} if generated == "jpeg" else {}))


def _give(target: Path, source: Path, entry: dict[str, str], place: str, images: str) -> None:
    """An original under its new name: a link, or a copy; a part of an archive is always copied out.

    Of a kind that timm does not list (.webp, .bmp, .tif and the like) it becomes a PNG of the same size.
    """
    part = PART.fullmatch(place) if entry.get("source") else None
    if part:
        data = read_place(source, entry["id"], place)
        known = entry.get("source_sha256")
        if isinstance(data, str) or sha256(data) != known:
            raise DataError(f"{source / place}: {entry['id']} is not there as it was packed: pack the set again.")
        target.write_bytes(data)
        return
    path = (source / place).absolute()
    if not path.is_file():
        raise DataError(f"{path} is gone: put it back, or set export.images to packed or none.")
    if sha256(path) != entry["source_sha256"]:
        raise DataError(f"{path} is not the file that was packed: pack the set again (delete its pack).")
    if path.suffix.lower() not in TIMMS:
        with Image.open(path) as image:
            rgb(ImageOps.exif_transpose(image)).save(target)
        return
    if images == "links":
        try:
            target.symlink_to(path)
            return
        except OSError:  # a file system without links
            pass
    shutil.copyfile(path, target)
