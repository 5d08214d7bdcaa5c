"""A folder as people have them: every oddity is read as it should be, or named and left out."""

import json
import os
import random
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from dqv2.data import DataError, Pack
from dqv2.data.folder import open_folder, pack_folder
from dqv2.data.image import MAX_PIXELS, decode, read_image
from dqv2.data.packing import pack_set
from dqv2.data.sample import ImageSet, Sample
from dqv2.select.coreset import Pool, mix
from dqv2.select.export import coreset_files, export_coreset
from dqv2.select.published import published_coreset
from dqv2.semantic.recipe import make_recipe
from tests.miniatures import photo, save

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names that other systems do not allow")

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


OPTIONS = {"size": 12, "validation": 0.0, "test": 0.0, "progress": False, "max_pixels": 1_000_000}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "my set"
    return root, *messy(root)


def packed(root, out, **options):
    return Pack.open(pack_folder(root, out, workers=2, **{**OPTIONS, "on_bad": "skip", **options})["train"])


def test_by_policy_error_all_that_cannot_be_read_is_counted_and_named(folder, tmp_path):
    root, bad, _ = folder
    with pytest.raises(DataError) as caught:
        packed(root, tmp_path / "out", on_bad="error")
    text = str(caught.value)
    assert text.startswith(f"{len(bad)} of 31 images in {root} cannot be read (replace or remove them, or set on_bad:")
    assert all(name in text for name in bad)
    for reason in (
        "truncated",
        "the file is empty",
        "not an image",
        "No such file",
        "over the limit of 1,000,000 pixels",
    ):
        assert reason in text
    assert not (tmp_path / "out").exists()


def test_by_policy_skip_the_rest_is_packed_and_what_is_left_out_is_listed(folder, tmp_path):
    root, bad, twice = folder
    pack = packed(root, tmp_path / "out")
    pack.verify()
    assert {entry["name"] for entry in pack.meta["left_out"]} == bad
    assert {entry["name"] for entry in pack.meta["duplicates"]} == twice
    assert set(pack.meta["ignored"]) == {"cat/notes.txt", "cat/film.gif"}
    assert pack.classes == ["cat", "dog", "lone"]
    assert len(pack) == 26
    assert {f"cat/{name}" for name in ODD_NAMES} < set(pack.ids)
    assert {"dog/link.bmp", "dog/linked/far.png", "dog/nested/deeper/0.png", "lone/only.png"} < set(pack.ids)


def test_every_kind_is_read_as_a_person_sees_it(folder, tmp_path):
    root, *_ = folder
    pack = packed(root, tmp_path / "out")
    sizes = {row["id"]: (int(row["width"]), int(row["height"])) for row in pack.rows_of_manifest()}

    def image(name):
        return pack.images[pack.index([name])[0]].astype(int)

    assert sizes["dog/turned.jpg"] == (24, 40), "as it stands, not as it lies in the file"
    assert sizes["dog/strip.png"] == (1, 3000)
    assert (image("dog/dot.png") == np.array([9, 99, 199])[:, None, None]).all()
    expected = read_image(save(tmp_path / "p.png", seed=10), 12).astype(int)
    np.testing.assert_array_equal(image("dog/clear.png"), expected)
    first = read_image(save(tmp_path / "p.png", seed=13), 12).astype(int)
    np.testing.assert_array_equal(image("dog/moves.webp"), first)
    for name, seed in (("dog/really.png", 15), ("dog/print.jpg", 9)):
        expected = read_image(save(tmp_path / "p.png", seed=seed), 12).astype(int)
        assert abs(image(name) - expected).mean() < 30, name
    grey = image("dog/grey.png")
    assert (grey[0] == grey[1]).all()


def test_duplicates_by_policy(folder, tmp_path):
    root, _, twice = folder
    with pytest.raises(
        DataError, match=r"1 of 31 images .* come twice .*on_duplicate: skip.*\n  dog/grey.png: the same"
    ):
        packed(root, tmp_path / "out", on_duplicate="error")
    pack = packed(root, tmp_path / "out", on_duplicate="skip")
    assert not twice & set(pack.ids)
    assert {"name": "dog/grey.png", "reason": "the same file as cat/same as grey.png"} in pack.meta["left_out"]


def test_a_copy_in_another_split_is_noticed(tmp_path):
    for split in ("train", "test"):
        for i in range(3):
            save(tmp_path / "set" / split / "a" / f"{split}{i}.png", seed=i if i < 1 else i + 10 * len(split))
    out = pack_folder(tmp_path / "set", tmp_path / "out", **{**OPTIONS, "on_duplicate": "skip"})
    assert len(Pack.open(out["train"])) == 3
    assert Pack.open(out["test"]).ids == ["test/a/test1.png", "test/a/test2.png"]


def test_an_image_over_the_limit_is_not_decoded():
    import io

    stream = io.BytesIO()
    Image.new("L", (9000, 9000)).save(stream, "PNG")
    assert decode(stream.getvalue(), 8) == f"over the limit of {MAX_PIXELS:,} pixels (key max_pixels)"
    assert decode(stream.getvalue(), 8, max_pixels=90_000_000).width == 9000
    # Over twice Pillow's own limit Pillow itself refuses to open it; the message is the same
    assert decode(stream.getvalue(), 8, max_pixels=1000) == "over the limit of 1,000 pixels (key max_pixels)"


def test_a_link_to_a_folder_that_holds_it(tmp_path):
    save(tmp_path / "set/train/cat/a.png")
    (tmp_path / "set/train/cat/loop").symlink_to(tmp_path / "set/train")
    with pytest.raises(DataError, match=r"train/cat/loop is a link to a folder that holds it, .*set/train: remove it"):
        open_folder(tmp_path / "set", test=0)


@pytest.mark.parametrize("layout", ["", "train"])
def test_one_class_only(tmp_path, layout):
    for i in range(4):
        save(tmp_path / "set" / layout / "cat" / f"{i}.png", seed=i)
    pack = packed(tmp_path / "set", tmp_path / "out")
    assert (pack.classes, len(pack)) == (["cat"], 4)


def test_five_thousand_classes(tmp_path):
    first = save(tmp_path / "one.png", size=(4, 4))
    for k in range(5000):
        folder = tmp_path / "set" / f"class {k:04d}"
        folder.mkdir(parents=True)
        os.link(first, folder / "a.png")
    pack = packed(tmp_path / "set", tmp_path / "out", size=4)
    assert (len(pack.classes), len(pack)) == (5000, 5000)
    assert pack.labels.tolist() == list(range(5000))
    assert len(pack.meta["duplicates"]) == 4999


def test_what_the_disk_cannot_hold_is_refused_with_the_estimate(tmp_path, monkeypatch):
    from collections import namedtuple

    from dqv2.data import packing

    for i in range(4):
        save(tmp_path / "set/cat" / f"{i}.png", seed=i)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: namedtuple("usage", "free")(100_000))
    with pytest.raises(DataError, match=r"4 images at 224 pixels take about 0\.0 GB, .* storage: streamed"):
        packed(tmp_path / "set", tmp_path / "out", size=224)
    assert not (tmp_path / "out").exists()
    assert len(packed(tmp_path / "set", tmp_path / "out", size=224, storage="streamed")) == 4


def test_a_disk_that_fills_up_while_packing_leaves_nothing(tmp_path, monkeypatch):
    import errno

    from dqv2.data import pack as pack_module

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for i in range(4):
        save(tmp_path / "set/cat" / f"{i}.png", seed=i)
    monkeypatch.setattr(pack_module, "_write_manifest", full)
    with pytest.raises(OSError, match="No space left"):
        packed(tmp_path / "set", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """Twelve times as many images of 30 kB of packed pixels each take no more."""
    import tracemalloc

    class Made(ImageSet):
        def readers(self, samples, max_pixels=0):
            for s in samples:
                yield s, lambda s=s: np.full((100, 100, 3), int(s.id) % 251, np.uint8)

    peaks = []
    for n in (100, 1200):
        samples = [Sample(str(i), 0, "a") for i in range(n)]
        made = Made(tmp_path, ["a"], {"train": samples, "validation": [], "test": []})
        tracemalloc.start()
        pack_set(made, tmp_path / "out", size=100, dataset="made", workers=2, progress=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3_000_000 < 1200 * 30_000


# -- coresets of it ---------------------------------------------------------------------------------------------------


def exported(folder, tmp_path, **options):
    """Half of the originals and half of their Tobias images, as a folder."""
    root, *_ = folder
    pack = packed(root, tmp_path / "out")
    draws = torch.Generator().manual_seed(0)
    coreset = mix(len(pack), originals=0.6, tobias=0.4, generator=draws)
    masks = torch.zeros(len(pack), 4, 4, dtype=torch.bool)
    masks[:, 1:3] = True
    recipe = make_recipe(masks, generator=draws)
    target = export_coreset(tmp_path / "coreset", coreset, pack, recipe, source=str(root), **options)
    return target, coreset, pack, recipe


def table(target):
    import csv

    with (target / "ids.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("images", ["links", "copies", "packed"])
@pytest.mark.parametrize("generated", ["png", "jpeg"])
def test_a_coreset_of_a_messy_folder_is_read_by_torchvision_and_timm(folder, tmp_path, images, generated):
    from timm.data import create_dataset
    from torchvision.datasets import ImageFolder

    target, coreset, pack, recipe = exported(folder, tmp_path, images=images, generated=generated)
    theirs = ImageFolder(target / "images")
    rows = table(target)
    assert len(theirs) == len(coreset) == len(rows)
    by_file = {row["image"]: row for row in rows}
    for path, label in theirs.samples:
        row = by_file[os.path.relpath(path, target)]
        assert theirs.classes[label] == row["class"]
    assert all(image.size for image, _ in theirs)
    timms = create_dataset("", root=str(target / "images"))
    assert len(timms) == len(coreset)
    assert all(image.size for image, _ in timms)
    for k, row in enumerate(rows):
        path = target / row["image"]
        if row["kind"] == "tobias":
            assert path.suffix == f".{generated}"
            if generated == "png":
                np.testing.assert_array_equal(
                    np.asarray(Image.open(path)).transpose(2, 0, 1), recipe.images(pack.images, coreset.rows[[k]])[0]
                )
        elif images == "links" and path.suffix in (".png", ".jpg") and not row["id"].endswith((".webp", ".bmp")):
            assert path.is_symlink()
            assert path.resolve().read_bytes() == (folder[0] / row["path"]).read_bytes()
        else:
            assert not path.is_symlink()


@pytest.mark.parametrize("images", ["none", "links", "packed"])
def test_a_redrawn_coreset_is_given_away_with_its_new_pixels(folder, tmp_path, images):
    root, *_ = folder
    pack = packed(root, tmp_path / "out")
    coreset = mix(len(pack), originals=0.6, tobias=0.0, generator=torch.Generator().manual_seed(0))
    redrawn = np.random.default_rng(0).integers(0, 256, (len(coreset), *pack.images.shape[1:]), dtype=np.uint8)
    options = {"source": str(root), "redrawn": redrawn, "images": images}
    target = export_coreset(tmp_path / "coreset", coreset, pack, None, **options)
    rows = table(target)
    assert {row["kind"] for row in rows} == {"redrawn"}
    assert coreset_files(target / "ids.csv", root) == [], "no original is of this coreset"
    for row, pixels in zip(rows, redrawn, strict=True) if images != "none" else []:
        assert row["image"].endswith("_redrawn.png")
        with Image.open(target / row["image"]) as image:
            np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1), pixels)
    assert json.loads((target / "manifest.json").read_text())["n_redrawn"] == len(coreset)
    with pytest.raises(ValueError, match="redrawn images for a coreset of"):
        export_coreset(tmp_path / "coreset", coreset, pack, None, **options | {"redrawn": redrawn[1:]})


def test_a_folder_below_a_persons_home_is_found(folder, tmp_path, monkeypatch):
    root, *_ = folder
    monkeypatch.setenv("HOME", str(root.parent))
    pack = packed(root, tmp_path / "out")
    coreset = mix(len(pack), originals=0.6, tobias=0.0, generator=torch.Generator().manual_seed(0))
    home = f"~/{root.name}"
    target = export_coreset(tmp_path / "coreset", coreset, pack, None, source=home, images="links")
    assert all((target / row["image"]).exists() for row in table(target))
    assert len(coreset_files(target / "ids.csv", home)) == len(coreset)


def test_ids_resolve_after_the_folder_was_moved_and_listed_in_another_order(folder, tmp_path):
    target, coreset, pack, _ = exported(folder, tmp_path)
    moved = tmp_path / "another disk" / "set"
    files = [p for p in folder[0].rglob("*") if p.is_file() and not p.is_symlink()] + [folder[0] / "dog/link.bmp"]
    random.Random(0).shuffle(files)
    for path in [*files, *((tmp_path / "apart").iterdir())]:
        inside = path.is_relative_to(folder[0])
        new = moved / (path.relative_to(folder[0]) if inside else f"dog/linked/{path.name}")
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, new)
    shutil.rmtree(folder[0])
    rows = [row for row in table(target) if row["kind"] == "original"]
    found = coreset_files(target / "ids.csv", moved)
    assert [(str(p.relative_to(moved)), name) for p, name in found] == [(row["path"], row["class"]) for row in rows]
    again = packed(moved, tmp_path / "out2")
    originals = Pool(*(v[~coreset.tobias] for v in (coreset.rows, coreset.tobias, coreset.bins, coreset.rank)))
    np.testing.assert_array_equal(again.images[again.index([row["id"] for row in rows])], pack.images[originals.rows])
    (moved / rows[0]["path"]).write_bytes(b"another")
    (moved / rows[1]["path"]).unlink()
    with pytest.raises(DataError, match=r"2 of \d+ images of .*ids\.csv do not resolve .*is not the file"):
        coreset_files(target / "ids.csv", moved)


def test_the_manifest_tells_the_making(folder, tmp_path):
    target, coreset, pack, _ = exported(folder, tmp_path, provenance={"seed": 3})
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["n"] == len(coreset)
    assert manifest["n_tobias"] == int(coreset.tobias.sum())
    assert manifest["pack"]["fingerprint"] == pack.fingerprint
    assert manifest["provenance"] == {"seed": 3}
    assert manifest["images"] is None
    assert set(manifest["versions"]) == {"python", "dqv2", "torch", "timm", "numpy", "pillow"}
    assert list(target.iterdir()) != []
    assert {row["image"] for row in table(target)} == {""}


def test_an_original_that_changed_is_not_given_away(folder, tmp_path):
    root, *_ = folder
    packed(root, tmp_path / "out")
    for path in root.rglob("*.png"):
        if not path.is_symlink() and path.stat().st_size > 100:
            path.write_bytes(path.read_bytes() + b"\0")
    pack = Pack.open(tmp_path / "out/train")
    coreset = mix(len(pack), originals=1.0, tobias=0.0, generator=torch.Generator())
    with pytest.raises(DataError, match="is not the file that was packed"):
        export_coreset(tmp_path / "coreset", coreset, pack, None, source=str(root), images="links")
    assert not (tmp_path / "coreset").exists()


# -- published coresets -----------------------------------------------------------------------------------------------


def test_a_published_list_is_the_coreset(folder, tmp_path):
    pack = packed(folder[0], tmp_path / "out")
    chosen = pack.ids[3:9]
    plain = tmp_path / "ids.txt"
    plain.write_text("\n".join(i for i in chosen if "\n" not in i) + "\n")
    expected = [row for row, name in enumerate(pack.ids) if name in chosen and "\n" not in name]
    assert published_coreset(plain, pack).rows.tolist() == expected
    coreset = mix(len(pack), originals=0.5, tobias=0.0, generator=torch.Generator())
    target = export_coreset(tmp_path / "coreset", coreset, pack, None, source=str(folder[0]))
    with (target / "ids.csv").open("a") as file:
        file.write("\n")
    again = published_coreset(target / "ids.csv", pack)
    np.testing.assert_array_equal(again.rows, coreset.rows)
    assert not again.tobias.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no image"),
        ("id\nlone/only.png\nlone/only.png\n", "names 1 images twice"),
        ("id,class\nlone/only.png,cat\n", "1 images are of another class, such as lone/only.png: cat, here lone"),
        ("id,kind\nlone/only.png,tobias\n", "1 of 1 images are no originals"),
        ("id,class\nlone/only.png\n", "1 lines have too few columns, such as lone/only.png"),
        ("id\nlone/other.png\n", "1 of 1 ids are not in the pack"),
    ],
)
def test_faults_of_a_published_list(folder, tmp_path, text, message):
    pack = packed(folder[0], tmp_path / "out")
    (tmp_path / "ids.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        published_coreset(tmp_path / "ids.csv", pack)
