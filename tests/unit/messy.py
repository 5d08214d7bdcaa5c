"""A folder as people have them, with every oddity, and its pack."""

import shutil

import numpy as np
from PIL import Image

from dqv2.data import Pack
from dqv2.data.packing import pack_set
from dqv2.data.sources import open_set
from tests.miniatures import photo, save

ODD_NAMES = [
    "with space.png",
    'it\'s "quoted".png',
    "two\nlines.png",
    "Ünïcödé 猫.png",
    "comma, semi;.png",
    "a'b`$(x).png",
]


def messy(root):
    """A folder with everything; returns the ids that cannot be read, and the ids that are copies."""
    cat, dog = root / "cat", root / "dog"
    for k, name in enumerate(ODD_NAMES):
        save(cat / name, seed=k)
    for k in range(6):
        save(dog / "nested" / "deeper" / f"{k}.png", seed=100 + k, size=(30, 17))
    exif = Image.Exif()
    exif[0x0112] = 6
    save(dog / "turned.jpg", seed=7, size=(40, 24), exif=exif)
    photo(8).convert("L").save(dog / "grey.png")
    photo(9).convert("CMYK").save(dog / "print.jpg")
    photo(10).convert("RGBA").save(dog / "clear.png")
    photo(11).convert("P").save(dog / "palette.png")
    Image.fromarray(np.random.default_rng(12).integers(0, 65536, (16, 20), dtype=np.uint16)).save(dog / "deep.png")
    photo(13).save(dog / "moves.webp", save_all=True, append_images=[photo(14)], duration=100, lossless=True)
    photo(15).save(dog / "really.png", "JPEG")  # wrong extension
    Image.new("RGB", (1, 1), (9, 99, 199)).save(dog / "dot.png")
    photo(16, (1, 3000)).save(dog / "strip.png")
    photo(17).save(root / "elsewhere.bmp")
    (dog / "link.bmp").symlink_to(root / "elsewhere.bmp")
    (root.parent / "apart").mkdir()
    save(root.parent / "apart" / "far.png", seed=18)
    (dog / "linked").symlink_to(root.parent / "apart")
    shutil.copy(dog / "grey.png", cat / "same as grey.png")
    save(root / "lone" / "only.png", seed=19)  # a class with one image
    (cat / "notes.txt").write_text("no image by its name")
    (cat / "film.gif").write_bytes(b"GIF89a")
    whole = save(cat / "cut.jpg", seed=20, size=(64, 64)).read_bytes()
    (cat / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (cat / "empty.png").write_bytes(b"")
    (cat / "text.jpg").write_text("no image")
    (cat / "gone.png").symlink_to(root / "nowhere.png")
    Image.new("L", (4000, 3000)).save(cat / "huge.png")
    bad = {f"cat/{name}" for name in ("cut.jpg", "empty.png", "text.jpg", "gone.png", "huge.png")}
    return bad, {"dog/grey.png"}


OPTIONS = {"size": 12, "validation": 0.0, "test": 0.0, "max_pixels": 1_000_000}


def pack_folder(path, out, *, size, validation=0.1, test=0.2, seed=0, per_class=None, **options):
    """Split -> its pack."""
    images = open_set("image_folder", path, validation=validation, test=test, seed=seed, per_class=per_class)
    return pack_set(images, out, size=size, dataset=images.root.resolve().name, **options)


def packed(root, out, **options):
    return Pack.open(pack_folder(root, out, workers=2, **{**OPTIONS, "on_bad": "skip", **options})["train"])
