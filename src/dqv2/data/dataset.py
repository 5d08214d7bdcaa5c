"""From a dataset's block of the configuration to its packs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqv2.config.data import KINDS
from dqv2.data.errors import DataError
from dqv2.data.pack import Pack
from dqv2.data.places import FILES, folders_in, no_test, note_files, states_of
from dqv2.data.sample import MASK_OF, MASKS_OF
from dqv2.data.words import alike
from dqv2.declared import check_choice
from dqv2.runtime.files import load_json
from dqv2.runtime.logging import logger, say
from dqv2.runtime.sentences import counted

if TYPE_CHECKING:
    from dqv2.data.sample import ImageSet

MANY, LONG = 3, 40  # classes that are named, letters of a name
MISSING = {"nan", "NaN", "<NA>", "NaT"}  # how pandas writes a missing value as text

# The options of a dataset that say how its images are packed; the others say which images they are
PACKING = ("size", "storage", "on_bad", "on_duplicate", "max_pixels", "white_level", "workers")


def pack_dataset(name: str, out: str | Path, *, kind: str, split_seed: int = 0, **options: Any) -> dict[str, int]:
    """Write the packs `out/train`, `out/validation` and `out/test`; returns split -> number of images.

    What is taken for which split is logged before any image is read; `out/files.csv` records sizes and times of
    files and folders.

    kind: as in the configuration's datasets. split_seed: seed of splits that are drawn at random. options: those of
    `pack_digits`, or `folder` and those of `open_set` and `pack_set`. Raises DataError where images are missing or
    cannot be read, ValueError or TypeError for another kind or option; nothing is written then.
    """
    check_choice(kind, "kind", KINDS)
    if kind == "digits":
        from dqv2.data.digits import pack_digits

        folders = pack_digits(out, dataset=name, seed=split_seed, **options)
        note_files({}, Path(out, FILES))
    else:
        from dqv2.data.packing import pack_set

        if not isinstance(options.get("folder"), str | Path):
            raise ValueError(f"folder must be the path of the images of {name}, got {options.get('folder')!r}")
        packing = {key: options[key] for key in PACKING if key in options}
        root = Path(options["folder"]).expanduser().absolute()
        states = states_of(root, folders_in(root))  # before listing, so that what is added from then on shows
        images = list_set(kind=kind, split_seed=split_seed, **options)
        _tell(name, images)
        states |= states_of(images.root, images.files())
        folders = pack_set(images, out, dataset=name, **packing)
        note_files(states | images.named, Path(out, FILES))
    return {split: len(Pack.open(folder)) for split, folder in folders.items()}


def list_set(*, kind: str, folder: str, split_seed: int = 0, **options: Any) -> "ImageSet":
    """The images of a set by split, as they would be packed; no image is opened. Arguments as for `pack_dataset`.

    Raises DataError where packing would: for an unclear layout, missing labels, or shares that cannot be drawn.
    """
    from dqv2.data.sources import open_set

    return open_set(kind, folder, seed=split_seed, **{k: v for k, v in options.items() if k not in PACKING})


def _tell(name: str, images: "ImageSet") -> None:
    """Log what was taken for which split, and what was left aside."""
    for part in images.layout:
        shown = ", ".join(part["from"][:3]) + (f" and {len(part['from']) - 3} more" if len(part["from"]) > 3 else "")
        named = _names([images.classes[k] for k in sorted({s.label for s in images.splits[part["split"]]})])
        classes = f"{part['classes']:,} class{'es' * (part['classes'] != 1)}"
        within = len({s.id.rpartition("/")[0] for s in images.splits[part["split"]]})
        folders = f" in {within:,} folders" if within > part["classes"] else ""
        say(f"{name}: {shown} -> {part['split']}: {classes} ({named}), {counted(part['images'], 'image')}{folders}")
    for missing in sorted(MISSING & {*images.classes}):
        logger.warning("%s: a class is called %s, which may stand for missing labels", name, missing)
    if twins := alike(images.classes):
        one, other, n = *map(ascii, twins[0][:2]), counted(len(twins), "such pair")
        what = f"the classes {one} and {other} differ only in case, spaces or the encoding of letters ({n})"
        logger.warning("%s: %s: if they are one class, give them one name", name, what)
    for noun, reason in (("image", MASK_OF), ("folder", MASKS_OF)):
        if masks := [entry["name"] for entry in images.aside if entry["reason"].startswith(f"{reason} ")]:
            were = "was left out as a mask" if len(masks) == 1 else "were left out as masks"
            what = f"{counted(len(masks), noun)} {were} of other images (such as {masks[0]})"
            logger.warning("%s: %s: to keep them, set masks: keep", name, what)
    for entry in images.aside:
        logger.info("%s: %s is left out: %s", name, entry["name"], entry["reason"])


def _names(classes: Sequence[str]) -> str:
    """The first few of these names, each on one line and short."""
    first = classes if len(classes) <= MANY + 1 else classes[:MANY]
    shown = [name if name.isprintable() else ascii(name) for name in first]
    short = [name if len(name) <= LONG else f"{name[: LONG - 3]}..." for name in shown]
    return ", ".join(short) + ", ..." * (len(short) < len(classes))


def require_test(splits: str | Path, name: str) -> None:
    """Raise DataError where a dataset's `splits.json` lists no test images; called before a training."""
    if not load_json(splits)["test"]:
        raise DataError(no_test(name, name))
