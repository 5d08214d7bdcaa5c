"""Originals that lie in the cells of tables, brought out as the files that they are."""

from collections.abc import Sequence
from pathlib import Path

from dqv2.data import DataError, Pack
from dqv2.data.image import MAX_PIXELS, as_people_see_it, seen_otherwise
from dqv2.data.sources.table import cells
from dqv2.runtime.files import sha256

SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}  # of what timm's reader of folders lists


def mended(pack: Pack) -> set[str]:
    """The ids of images whose files have damaged metadata, at which other readers stop."""
    return {entry["name"] for entry in pack.meta.get("mended", ())}


def write_png(data: bytes, target: Path, entry: dict[str, str]) -> None:
    """Write the whole image of a file's bytes as a PNG, turned as its camera says, in one channel where it has one.

    entry: its row of the pack's manifest. Raises DataError where it cannot be decoded.
    """
    image = as_people_see_it(data, max_pixels=limit_of(entry))
    if isinstance(image, str):
        raise DataError(f"{entry['id']}: {image}.")
    image.save(target, "PNG")


def limit_of(entry: dict[str, str]) -> int:
    """The limit of pixels that an image was packed within, by its row of the manifest."""
    return max(MAX_PIXELS, int(entry.get("width") or 0) * int(entry.get("height") or 0))


def bring_out(folder: Path, pack: Pack, rows: Sequence[int], source: Path) -> dict[int, Path]:
    """Write the cells of these rows of a pack into `folder`, each with its own bytes; returns row -> file.

    The ending says what the bytes are. What is neither JPEG nor PNG, has damaged metadata or is `seen_otherwise`
    becomes a PNG of the same size. source: the folder of the tables. Raises DataError where a table or an image is
    gone, or is not the one that was packed.
    """
    folder.mkdir()
    manifest, place = pack.rows_of_manifest(), {pack.ids[row]: row for row in rows}
    found, damaged = {}, mended(pack)
    for name, data in cells(source, pack.meta["table"], list(place)):
        row = place[name]
        if sha256(data) != manifest[row]["source_sha256"]:
            raise DataError(f"{source}: {name} is not the image that was packed: pack the set again (delete its pack).")
        suffix = next((suffix for magic, suffix in SUFFIXES.items() if data.startswith(magic)), "")
        if suffix and name not in damaged and not seen_otherwise(data, max_pixels=limit_of(manifest[row])):
            found[row] = folder / f"{row}{suffix}"
            found[row].write_bytes(data)
        else:
            found[row] = folder / f"{row}.png"
            write_png(data, found[row], manifest[row])
    if lost := set(place) - {pack.ids[row] for row in found}:
        raise DataError(f"{source}: {len(lost)} images are gone from its tables, the first is {min(lost)}.")
    return found
