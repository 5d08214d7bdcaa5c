"""Originals that lie in the cells of tables, brought out as the files that they are."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from dqv2.data import DataError, Pack
from dqv2.data.image import rgb, upright
from dqv2.data.sources.table import cells
from dqv2.runtime.files import sha256

SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}  # of what timm's reader of folders lists


def bring_out(folder: Path, pack: Pack, rows: Sequence[int], source: Path) -> dict[int, Path]:
    """Write the cells of these rows of a pack into `folder`, each with its own bytes; returns row -> file.

    The ending says what the bytes are. What is neither JPEG nor PNG becomes a PNG of the same size. source: the folder
    of the tables. Raises DataError where a table or an image is gone, or is not the one that was packed.
    """
    folder.mkdir()
    manifest, place = pack.rows_of_manifest(), {pack.ids[row]: row for row in rows}
    found = {}
    for name, data in cells(source, pack.meta["table"], list(place)):
        row = place[name]
        if sha256(data) != manifest[row]["source_sha256"]:
            raise DataError(f"{source}: {name} is not the image that was packed: pack the set again (delete its pack).")
        suffix = next((suffix for magic, suffix in SUFFIXES.items() if data.startswith(magic)), "")
        found[row] = folder / f"{row}{suffix or '.bin'}"
        found[row].write_bytes(data)
        if not suffix:
            with Image.open(found[row]) as image:
                rgb(upright(image)[0]).save(folder / f"{row}.png")
            found[row].unlink()
            found[row] = folder / f"{row}.png"
    if lost := set(place) - {pack.ids[row] for row in found}:
        raise DataError(f"{source}: {len(lost)} images are gone from its tables, the first is {min(lost)}.")
    return found
