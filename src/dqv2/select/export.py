"""A coreset as a folder to give away: its ids with checksums, where it comes from, and its images if wanted."""

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import numpy as np
from PIL import Image

from dqv2.data import DataError, Pack
from dqv2.data.image import MAX_PIXELS, WHITE, as_people_see_it, seen_otherwise
from dqv2.data.sample import PART, read_place
from dqv2.data.sources.table import cells
from dqv2.runtime.files import atomic_dir, csv_writer, read_json, sha256, write_json
from dqv2.runtime.sentences import counted
from dqv2.select.coreset import Pool
from dqv2.select.lists import read_list
from dqv2.select.names import Form, Generated, class_folders, file_name
from dqv2.semantic.recipe import Recipe

COLUMNS = ("id", "path", "class", "index", "bin", "kind", "sha256", "image")
LIBRARIES = ("dqv2", "torch", "timm", "numpy", "pillow")
TIMMS = (".png", ".jpg", ".jpeg")  # what timm's folder reader takes for images; torchvision's takes more
SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}  # by first bytes, the formats that timm's reader lists
AT_ONCE = 64  # images composed at a time


def export_coreset(
    folder: str | Path,
    coreset: Pool,
    pack: Pack,
    recipe: Recipe | None,
    *,
    source: str | None,
    redrawn: np.ndarray | None = None,
    images: Form = "none",
    generated: Generated = "png",
    empty_classes: bool = False,
    provenance: dict[str, Any] | None = None,
) -> Path:
    """Write a coreset's folder atomically: `ids.csv`, `manifest.json`, `classes.txt`, `class_to_idx.json` and, if
    requested, `images/CLASS/*`.

    `ids.csv` has a line per image: id, path (of its original, relative to the set's folder; empty where it is not a
    file), class, index (of the class, in the whole set), bin, kind (original, tobias or redrawn), sha256 (of the
    original's file) and image (the file in this folder); and weight, the factor of its loss (mean 1), where the coreset
    was made with weights. `classes.txt` lists each class's folder by index, as timm's `--class-map` expects, and
    `class_to_idx.json` maps folder -> index: readers number the folders that they find, and a class without an image
    has none.

    Args:
        folder: where to write; an earlier export there is replaced.
        recipe: how the Tobias images are made; None where there are none.
        source: the folder of the set's files; None where it has none.
        redrawn: uint8[K, 3, H, W], the coreset's images in its order after a pixel step such as DQ's; None for none.
            Each is written in the format `generated`, whatever `images` says about originals.
        images: "none"; "links" to the originals' files, "copies" of them, or "packed": the originals as packed, square
            and of one size. For a set in tables, links and copies are files with the cells' own bytes.
        generated: "png" or "jpeg", the format of Tobias and redrawn images and of packed originals.
        empty_classes: also make a folder for a class without an image.
        provenance: what `manifest.json` should add on how the coreset was made: what JSON can hold, else TypeError.

    Raises DataError where an original's file is gone or is no longer the one that was packed; ValueError for other
    values of `images` or `generated`, where the coreset has Tobias images and no recipe is given, or rows that the pack
    has not, where `redrawn` has another length than the coreset, or where `folder` is, or contains, `source`;
    FileExistsError where `folder` has files and is no export.
    """
    for name, value, known in (("images", images, get_args(Form)), ("generated", generated, get_args(Generated))):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    if coreset.tobias.any() and recipe is None and images != "none":
        raise ValueError("the coreset holds Tobias images, and no recipe was given")
    if redrawn is not None and len(redrawn) != len(coreset):
        raise ValueError(f"{len(redrawn)} redrawn images for a coreset of {len(coreset)}")
    if wrong := [int(row) for row in coreset.rows if not 0 <= row < len(pack)]:
        raise ValueError(
            f"the coreset has row {wrong[0]}, and {pack.folder} {counted(len(pack), 'image')}: give the pack that it "
            "was drawn from"
        )
    try:
        json.dumps(provenance, sort_keys=True)
    except TypeError as error:
        raise TypeError(
            f"provenance must hold what JSON can: text, Python's numbers, lists and dictionaries ({error})"
        ) from error
    about = pack.rows_of_manifest(coreset.rows)
    are_files = bool(pack.meta.get("files"))
    places = [(entry.get("source") or entry["id"]) if are_files else "" for entry in about]
    kinds = ["redrawn" if redrawn is not None else "tobias" if tobias else "original" for tobias in coreset.tobias]
    by_link = images in ("links", "copies") and (are_files or "table" in pack.meta)
    given = [by_link and kind == "original" for kind in kinds]
    folder, root = Path(folder).expanduser(), Path(source or ".").expanduser()
    if source and root.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{folder} has the set's own files in {root}, which would be replaced: name another folder")
    folders = class_folders(pack.classes)
    with atomic_dir(folder, mark="manifest.json") as staged:
        held = {}
        if any(given) and not are_files:
            held = _bring_out(staged / "cells", pack, [int(coreset.rows[k]) for k in np.flatnonzero(given)], root)
        names = [""] * len(coreset)
        if images != "none":
            for label in range(len(folders)) if empty_classes else set(pack.labels[coreset.rows].tolist()):
                (staged / "images" / folders[label]).mkdir(parents=True)
            damaged, taken = _mended(pack), [set() for _ in folders]
            for k, (row, entry) in enumerate(zip(coreset.rows, about, strict=True)):
                suffix, label = f".{generated}", pack.labels[row]
                if given[k] and held:
                    suffix = held[row].suffix
                elif given[k]:
                    data, suffix = _read(root, entry, places[k], pack), PurePosixPath(entry["id"]).suffix
                    other = suffix.lower() not in TIMMS or entry["id"] in damaged
                    if as_png := other or seen_otherwise(data, max_pixels=_limit_of(entry)):
                        suffix = ".png"
                mark = "_tobias" * bool(coreset.tobias[k]) + "_redrawn" * (kinds[k] == "redrawn")
                names[k] = f"images/{folders[label]}/{file_name(pack.ids[row], suffix, mark, taken[label])}"
                if given[k] and held:
                    held[row].rename(staged / names[k])
                elif given[k] and as_png:
                    _write_png(data, staged / names[k], entry, _white_of(pack))
                elif given[k]:
                    _give(staged / names[k], root, entry, places[k], data, link=images == "links")
            _draw(staged, names, np.flatnonzero(np.logical_not(given)), coreset, pack, recipe, redrawn, generated)
        if held:
            (staged / "cells").rmdir()
        with (staged / "ids.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv_writer(file)
            weighted = coreset.weight is not None
            writer.writerow((*COLUMNS, "weight") if weighted else COLUMNS)
            for k, entry in enumerate(about):
                own = entry["id"], places[k], entry["class"], pack.labels[coreset.rows[k]], coreset.bins[k], kinds[k]
                weight = [repr(float(coreset.weight[k]))] if weighted else []
                writer.writerow([*own, entry.get("source_sha256", ""), names[k], *weight])
        (staged / "classes.txt").write_text("".join(f"{name}\n" for name in folders), encoding="utf-8")
        write_json(staged / "class_to_idx.json", {name: index for index, name in enumerate(folders)})
        # A set without files of its own has nothing to link to
        originals = "bytes of the tables' cells" if held else images if by_link else "packed"
        manifest = {
            "classes": pack.classes,
            "classes_without_images": without_images(coreset, pack),
            "dataset": pack.meta["dataset"],
            "images": None if images == "none" else {"form": images, "generated": generated, "originals": originals},
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
    return folder


def without_images(coreset: Pool, pack: Pack) -> list[str]:
    """The classes of the set that have no image in the coreset."""
    present = set(pack.labels[coreset.rows].tolist())
    return [name for label, name in enumerate(pack.classes) if label not in present]


def coreset_files(
    ids: str | Path, source: str | Path, *, check: bool = True, originals_only: bool = False
) -> list[tuple[Path, str]]:
    """The images of an `ids.csv`: (file, class) of each row, in its order. Originals are resolved in the set's folder;
    Tobias and redrawn images, and originals that are not files of their own (in tables and archives), next to
    `ids.csv`.

    ids: the file, or the exported folder that has it. source: the set's folder, wherever it is now and in whatever
    order its files are listed. check: compare each original in it with its checksum. originals_only: leave the other
    images out.

    Raises DataError where there is no ids.csv, or files are missing (as Tobias images are if the coreset was exported
    without images) or have changed: it gives their number and the first. Also where columns are missing, or the classes
    are not those of the `manifest.json` next to `ids.csv`.
    """
    found, faults = [], []
    ids = Path(ids).expanduser()
    ids = ids / "ids.csv" if ids.is_dir() else ids
    if not ids.is_file():
        raise DataError(f"there is no file {ids}: name the ids.csv of an exported coreset, or its folder.")
    columns = read_list(ids)
    if missing := [column for column in COLUMNS if column not in columns]:
        raise DataError(f"{ids} is not the ids.csv of an exported coreset: it has no column {', '.join(missing)}.")
    told = read_json(ids.with_name("manifest.json"))
    exported = isinstance(told, dict) and "classes_without_images" in told
    place = {name: str(index) for index, name in enumerate(told["classes"])} if exported else {}
    for row in (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)):
        if place and place.get(row["class"]) != row["index"]:
            raise DataError(
                f"{ids}: {row['id']} is of class {row['class']!r} with index {row['index']!r}, and manifest.json "
                "beside it has no such class: a program that takes names for numbers has saved it. Get or export it "
                "again."
            )
        original = row["kind"] == "original"
        if originals_only and not original:
            continue
        is_file = original and row["path"] and not PART.fullmatch(row["path"])
        path = Path(source, row["path"]).expanduser() if is_file else ids.parent / row["image"]
        if not is_file and not path.is_file():
            what = "an original that is not a file of its own" if original else f"a {row['kind']} image"
            faults.append(
                f"{row['id']} is {what}, which only an export with images has: set export.images"
                + ("" if original else ", or ask for originals_only=True")
            )
        elif not path.is_file():
            faults.append(f"{row['id']}: there is no file {path}")
        elif is_file and check and sha256(path) != row["sha256"]:
            faults.append(f"{row['id']}: {path} is not the file that the coreset was made of")
        found.append((path, row["class"]))
    if faults:
        raise DataError(f"{len(faults)} of {len(found)} images of {ids} do not resolve in {source}: {faults[0]}")
    return found


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
    """Write the images at these positions of the coreset: redrawn ones, Tobias images, or originals as packed.

    Where all the coreset's originals are grey, grey images are written with one channel, as the originals have.
    """
    parts = (pack.images[coreset.rows[start : start + AT_ONCE]] for start in range(0, len(coreset), AT_ONCE))
    grey = len(drawn) > 0 and all(map(_grey, parts))
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
                one = grey and _grey(pixels)  # the donor of its background may have colours
                image = Image.fromarray(np.ascontiguousarray(pixels[0] if one else pixels.transpose(1, 2, 0)))
                image.save(staged / names[k], **({"quality": 95} if generated == "jpeg" else {}))


def _grey(pixels: np.ndarray) -> bool:
    """Whether the three channels of images, uint8[..., 3, H, W], are equal."""
    pixels = np.asarray(pixels)
    return bool((pixels == pixels[..., :1, :, :]).all())


def _again(pack: Pack) -> str:
    """The advice for a set whose images have changed since it was packed."""
    options = pack.folder.with_name("options.json")  # as the stage that packs leaves it
    if not options.exists():
        return "pack the set again"
    return f"put it back, or have the set packed again: add --forcerun {options} to the command of the run"


def _read(source: Path, entry: dict[str, str], place: str, pack: Pack) -> bytes:
    """The bytes of an original's file or archive member; raises DataError where they are not those that were packed."""
    if _in_archive(entry, place):
        data = read_place(source, entry["id"], place)
        if isinstance(data, str) or sha256(data) != entry.get("source_sha256"):
            raise DataError(f"{source / place}: {entry['id']} is not there as it was packed: {_again(pack)}.")
        return data
    path = (source / place).absolute()
    if not path.is_file():
        raise DataError(f"{path} is gone: put it back, or set export.images to packed or none.")
    data = path.read_bytes()
    if sha256(data) != entry["source_sha256"]:
        raise DataError(f"{path} is not the file that was packed: {_again(pack)}.")
    return data


def _in_archive(entry: dict[str, str], place: str) -> bool:
    return bool(entry.get("source") and PART.fullmatch(place))


def _give(target: Path, source: Path, entry: dict[str, str], place: str, data: bytes, *, link: bool) -> None:
    """Put an original under its new name, as a link or a copy; a member of an archive is always copied."""
    if link and not _in_archive(entry, place):
        try:
            target.symlink_to((source / place).absolute())
            return
        except OSError:  # a file system without symbolic links
            pass
    target.write_bytes(data)


def _mended(pack: Pack) -> set[str]:
    """The ids of images whose files have damaged metadata that makes other readers fail."""
    return {entry["name"] for entry in pack.meta.get("mended", ())}


def _write_png(data: bytes, target: Path, entry: dict[str, str], white_level: int) -> None:
    """Decode a file's bytes and write the whole image as a PNG, oriented by its EXIF data, with one channel if grey.

    entry: its row of the pack's manifest. Raises DataError where it cannot be decoded.
    """
    image = as_people_see_it(data, max_pixels=_limit_of(entry), white_level=white_level)
    if isinstance(image, str):
        raise DataError(f"{entry['id']}: {image}.")
    image.save(target, "PNG")


def _limit_of(entry: dict[str, str]) -> int:
    """The pixel limit that applied when an image was packed, from its row of the manifest."""
    return max(MAX_PIXELS, int(entry.get("width") or 0) * int(entry.get("height") or 0))


def _white_of(pack: Pack) -> int:
    """The value of 16-bit grey that was white when the images were packed."""
    return pack.meta.get("white_level", WHITE)


def _bring_out(folder: Path, pack: Pack, rows: Sequence[int], source: Path) -> dict[int, Path]:
    """Write the table cells of these rows of a pack into `folder`, byte for byte; returns row -> file.

    The suffix follows from the bytes. An image that is neither JPEG nor PNG, has damaged metadata or is
    `seen_otherwise` becomes a PNG of the same size. source: the folder of the tables. Raises DataError where a table or
    an image is gone, or is not the one that was packed.
    """
    folder.mkdir()
    manifest, place = dict(zip(rows, pack.rows_of_manifest(rows), strict=True)), {pack.ids[row]: row for row in rows}
    found, damaged = {}, _mended(pack)
    for name, data in cells(source, pack.meta["table"], list(place)):
        row = place[name]
        if sha256(data) != manifest[row]["source_sha256"]:
            raise DataError(f"{source}: {name} is not the image that was packed: {_again(pack)}.")
        suffix = next((suffix for magic, suffix in SUFFIXES.items() if data.startswith(magic)), "")
        if suffix and name not in damaged and not seen_otherwise(data, max_pixels=_limit_of(manifest[row])):
            found[row] = folder / f"{row}{suffix}"
            found[row].write_bytes(data)
        else:
            found[row] = folder / f"{row}.png"
            _write_png(data, found[row], manifest[row], _white_of(pack))
    if lost := set(place) - {pack.ids[row] for row in found}:
        raise DataError(f"{source}: {counted(len(lost), 'image')} gone from its tables, the first is {min(lost)}.")
    return found
