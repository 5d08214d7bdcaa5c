"""The coresets of a messy folder as folders to give away, and published lists of them."""

import csv
import io
import json
import os
import random
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dqv2.data import DataError, Pack
from dqv2.data.dataset import pack_dataset
from dqv2.select.coreset import Pool, mix
from dqv2.select.export import coreset_files, export_coreset
from dqv2.select.published import published_coreset
from dqv2.semantic.recipe import make_recipe
from tests.inputs import write_table
from tests.miniatures import photo
from tests.unit.messy import messy, packed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names that other systems do not allow")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "my set"
    return root, *messy(root)


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
    assert coreset_files(target / "ids.csv", root, originals_only=True) == [], "no original is of this coreset"
    if images == "none":
        with pytest.raises(DataError, match=r"is a redrawn image, which only an export with images has: set export\."):
            coreset_files(target / "ids.csv", root)
    else:
        assert [path for path, _ in coreset_files(target / "ids.csv", root)] == [target / row["image"] for row in rows]
    for row, pixels in zip(rows, redrawn, strict=True) if images != "none" else []:
        assert row["image"].endswith("_redrawn.png")
        with Image.open(target / row["image"]) as image:
            np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1), pixels)
    assert json.loads((target / "manifest.json").read_text())["n_redrawn"] == len(coreset)
    with pytest.raises(ValueError, match="redrawn images for a coreset of"):
        export_coreset(tmp_path / "coreset", coreset, pack, None, **options | {"redrawn": redrawn[1:]})


def test_no_export_replaces_other_files(folder, tmp_path):
    target, coreset, pack, recipe = exported(folder, tmp_path)
    root, *_ = folder
    shutil.copytree(root / "lone", tmp_path / "own" / "train" / "lone")
    before = sorted(tmp_path.rglob("*"))
    for wrong, error in ((root, ValueError), (tmp_path, ValueError), (tmp_path / "out", FileExistsError)):
        with pytest.raises(error, match="would be replaced"):
            export_coreset(wrong, coreset, pack, recipe, source=str(root))
    for options in ({"images": "link"}, {"images": None}, {"images": "packed", "generated": "jpg"}):
        with pytest.raises(
            ValueError, match=r"(images must be one of none, links, .*|generated must be one of png, jpeg), got"
        ):
            export_coreset(target, coreset, pack, recipe, source=str(root), **options)
    alone = {"kind": "image_folder", "validation": 0.0, "test": 0.0, "per_class": None, "size": 8, "workers": 1}
    with pytest.raises(FileExistsError, match=r"own/train would be replaced"):
        pack_dataset("mine", tmp_path / "own", folder=str(tmp_path / "own"), **alone)
    assert sorted(tmp_path.rglob("*")) == before
    export_coreset(target, coreset, pack, recipe, source=str(root))


def test_a_folder_below_a_persons_home_is_found(folder, tmp_path, monkeypatch):
    root, *_ = folder
    monkeypatch.setenv("HOME", str(root.parent))
    pack = packed(root, tmp_path / "out")
    coreset = mix(len(pack), originals=0.6, tobias=0.0, generator=torch.Generator().manual_seed(0))
    home = f"~/{root.name}"
    target = export_coreset(tmp_path / "coreset", coreset, pack, None, source=home, images="links")
    assert all((target / row["image"]).exists() for row in table(target))
    assert len(coreset_files(target / "ids.csv", home)) == len(coreset)


def test_another_list_than_an_export_s_is_refused_and_a_spreadsheet_s_is_read(folder, tmp_path):
    target, coreset, *_ = exported(folder, tmp_path, images="links")
    ids = target / "ids.csv"
    ids.write_bytes(b"\xef\xbb\xbf" + ids.read_bytes())
    assert len(coreset_files(ids, folder[0])) == len(coreset)
    for text, missing in (
        ("", "path, class"),
        ("id,label\n", "path, class"),
        ("id,class,kind\na/1.png,a,original\n", "path"),
    ):
        (tmp_path / "list.csv").write_text(text)
        with pytest.raises(
            DataError, match=rf"list\.csv is not the ids\.csv of an exported coreset.* column {missing}"
        ):
            coreset_files(tmp_path / "list.csv", folder[0])


def test_an_exported_folder_stands_for_its_ids_and_what_is_not_there_is_named(folder, tmp_path):
    target, *_ = exported(folder, tmp_path, images="links")
    assert coreset_files(target, folder[0]) == coreset_files(target / "ids.csv", folder[0])
    for wrong, named in ((tmp_path, tmp_path / "ids.csv"), (target / "other.csv", target / "other.csv")):
        with pytest.raises(DataError, match=f"there is no file {named}: name the ids.csv of an exported coreset"):
            coreset_files(wrong, folder[0])
    with pytest.raises(DataError, match=f"do not resolve in {tmp_path}/nowhere"):
        coreset_files(target, tmp_path / "nowhere")


def test_classes_that_a_program_took_for_numbers_are_refused(tmp_path):
    for name in ("007", "7", "1e2"):
        (tmp_path / "set" / name).mkdir(parents=True)
        photo(len(name), (20, 20)).save(tmp_path / "set" / name / "0001.png")
    pack = packed(tmp_path / "set", tmp_path / "out")
    coreset = mix(len(pack), originals=1.0, tobias=0.0, generator=torch.Generator())
    ids = export_coreset(tmp_path / "coreset", coreset, pack, None, source=str(tmp_path / "set")) / "ids.csv"
    assert [name for _, name in coreset_files(ids, tmp_path / "set")] == ["007", "1e2", "7"]
    written = ids.read_text(encoding="utf-8")
    for there, saved in ((",007,", ",7,"), (",1e2,", ",100,")):
        ids.write_text(written.replace(there, saved), encoding="utf-8")
        with pytest.raises(
            DataError, match=rf"is of class '{saved[1:-1]}' with index '\d', and manifest\.json .* again"
        ):
            coreset_files(ids, tmp_path / "set")
    ids.write_bytes(written.replace(",", ";").encode("utf-8-sig"))
    with pytest.raises(DataError, match=r"begins with 'id;path.*: save it as CSV in UTF-8, with commas"):
        coreset_files(ids, tmp_path / "set")


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
    with pytest.raises(DataError, match=rf"{len(coreset) - len(rows)} of {len(coreset)} images .* is a tobias image"):
        coreset_files(target / "ids.csv", moved)
    found = coreset_files(target / "ids.csv", moved, originals_only=True)
    assert [(str(p.relative_to(moved)), name) for p, name in found] == [(row["path"], row["class"]) for row in rows]
    again = packed(moved, tmp_path / "out2")
    originals = Pool(*(v[~coreset.tobias] for v in (coreset.rows, coreset.tobias, coreset.bins, coreset.rank)))
    np.testing.assert_array_equal(again.images[again.index([row["id"] for row in rows])], pack.images[originals.rows])
    (moved / rows[0]["path"]).write_bytes(b"another")
    (moved / rows[1]["path"]).unlink()
    with pytest.raises(DataError, match=r"2 of \d+ images of .*ids\.csv do not resolve .*is not the file"):
        coreset_files(target / "ids.csv", moved, originals_only=True)


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
    with pytest.raises(DataError, match="is not the file that was packed: pack the set again"):
        export_coreset(tmp_path / "coreset", coreset, pack, None, source=str(root), images="links")
    options = tmp_path / "out/options.json"
    options.write_text("{}")
    with pytest.raises(DataError, match=f"have the set packed again: add --forcerun {options} to the command"):
        export_coreset(tmp_path / "coreset", coreset, pack, None, source=str(root), images="links")
    assert not (tmp_path / "coreset").exists()


@pytest.mark.parametrize("images", ["links", "copies"])
def test_originals_in_tables_are_given_away_with_their_own_bytes(tmp_path, images):
    """Whatever their size and format; a format that timm does not list becomes a PNG of the same size."""
    from torchvision.datasets import ImageFolder

    cells = [encoded(i, kind) for i, kind in enumerate(["JPEG", "PNG", "WEBP", "JPEG", "PNG", "BMP"])]
    write_table(
        tmp_path / "set/train-0.parquet", ["a", "b", "a"], cells=[{"bytes": c, "path": None} for c in cells[:3]]
    )
    write_table(
        tmp_path / "set/train-1.parquet", ["b", "a", "b"], cells=[{"bytes": c, "path": None} for c in cells[3:]]
    )
    pack_dataset("own", tmp_path / "packs", kind="table", folder=str(tmp_path / "set"), size=8, workers=1)
    pack = Pack.open(tmp_path / "packs/train")
    coreset = mix(6, originals=1.0, tobias=0.0, generator=torch.Generator())
    options = {"source": str(tmp_path / "set"), "images": images}
    target = export_coreset(tmp_path / "coreset", coreset, pack, None, **options)
    rows = {row["id"]: row for row in table(target)}
    endings = [".jpg", ".png", ".png", ".jpg", ".png", ".png"]
    for i, (cell, ending) in enumerate(zip(cells, endings, strict=True)):
        file = target / rows[f"train/{i:07d}"]["image"]
        assert file.suffix == ending
        with Image.open(file) as image, Image.open(io.BytesIO(cell)) as original:
            assert image.size == original.size == (40 + i, 30)
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.asarray(original.convert("RGB")))
        assert (file.read_bytes() == cell) == (i not in (2, 5))
    assert [path.name for path in target.iterdir() if path.is_dir()] == ["images"]
    assert len(ImageFolder(target / "images")) == 6
    made = json.loads((target / "manifest.json").read_text())["images"]
    assert made == {"form": images, "generated": "png", "originals": "bytes of the tables' cells"}
    write_table(
        tmp_path / "set/train-0.parquet", ["a", "b", "a"], cells=[{"bytes": c, "path": None} for c in cells[3:]]
    )
    with pytest.raises(DataError, match="train/0000000 is not the image that was packed"):
        export_coreset(tmp_path / "coreset", coreset, pack, None, **options)
    (tmp_path / "set/train-0.parquet").unlink()
    with pytest.raises(DataError, match=r"train-0\.parquet cannot be read"):
        export_coreset(tmp_path / "coreset", coreset, pack, None, **options)


def encoded(seed, kind):
    stream = io.BytesIO()
    photo(seed, (40 + seed, 30)).save(stream, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return stream.getvalue()


# -- published coresets -----------------------------------------------------------------------------------------------


def test_a_published_list_is_the_coreset(folder, tmp_path):
    pack = packed(folder[0], tmp_path / "out")
    chosen = pack.ids[3:9]
    plain = tmp_path / "ids.txt"
    plain.write_text("\n".join(i for i in chosen if "\n" not in i) + "\n")
    expected = [row for row, name in enumerate(pack.ids) if name in chosen and "\n" not in name]
    assert published_coreset(plain, pack, keep=len(expected) / len(pack)).rows.tolist() == expected
    with pytest.raises(DataError, match=r"which is not a keep ratio of 0.9: set keep_ratio: 0\."):
        published_coreset(plain, pack, keep=0.9)
    coreset = mix(len(pack), originals=0.5, tobias=0.0, generator=torch.Generator())
    target = export_coreset(tmp_path / "coreset", coreset, pack, None, source=str(folder[0]))
    with (target / "ids.csv").open("a") as file:
        file.write("\n")
    again = published_coreset(target / "ids.csv", pack, keep=0.5)
    np.testing.assert_array_equal(again.rows, coreset.rows)
    assert not again.tobias.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no image"),
        ("id\nlone/only.png\nlone/only.png\n", "names 1 images twice"),
        ("id,class\nlone/only.png,cat\n", "1 image of another class, such as lone/only.png: cat, here lone"),
        ("id,kind\nlone/only.png,tobias\n", "1 of 1 images are not originals"),
        ("id,class\nlone/only.png\n", "1 line with too few or too many columns, such as lone/only.png"),
        ("id,weight\nlone/only.png,0,5\n", "1 line with too few or too many columns, such as lone/only.png,0,5: quote"),
        ("id;weight\nlone/only.png;0,5\n", "begins with 'id;weight', .* with commas between the columns"),
        ("sep=;\nid;weight\nlone/only.png;0,5\n", "begins with 'sep=;'"),
        ("Id;class\nlone/only.png;lone\n", "begins with 'Id;class', and its first column should be id"),
        ("id,class, Class\nlone/only.png,lone,lone\n", "has 2 columns class: keep one"),
        ("id, class\nlone/only.png, cat\n", "1 image of another class, such as lone/only.png: cat, here lone"),
        ("id,Class\nlone/only.png,cat\n", "1 image of another class"),
        (" ID ,kind\nlone/only.png,tobias\n", r"1 of 1 images are not originals \(kind 'tobias'\)"),
        ("id, kind\nlone/only.png,tobias\n", "1 of 1 images are not originals"),
        ("id,Kind\nlone/only.png,tobias\n", "1 of 1 images are not originals"),
        ('id,class\n"lone/only.png,lone\n', r"is not a complete CSV \("),
        ("id,bin\nlone/only.png,1.5\n", "every bin must be a whole number"),
        ("id,bin\nlone/only.png,inf\n", "every bin must be a whole number"),
        ("id\nlone/other.png\n", "1 of 1 ids are not in the pack"),
        ("id,bin\nlone/only.png,first\n", "column bin should hold numbers"),
        ("id,weight\nlone/only.png,-1\n", "every weight must be a number of at least 0"),
        ("id,weight\nlone/only.png,nan\n", "every weight must be a number of at least 0"),
    ],
)
def test_faults_of_a_published_list(folder, tmp_path, text, message):
    pack = packed(folder[0], tmp_path / "out")
    (tmp_path / "ids.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        published_coreset(tmp_path / "ids.csv", pack, keep=1 / len(pack))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("image_id\nlone/only.png\n", "such as 'image_id'. Ids"),
        ("path,label\nlone/only.png,lone\n", "such as 'lone/only.png,lone' (write lone/only.png)"),
        ("lone/only.png,lone\n", "such as 'lone/only.png,lone' (write lone/only.png)"),
        ("/home/me/my set/lone/only.png\n", "(write lone/only.png)"),
        ("id\n./lone/only.png\n", "such as './lone/only.png' (write lone/only.png)"),
        ("id\nlone\\only.png\n", "(write lone/only.png)"),
        ("id\nlone/only.png \n", "such as 'lone/only.png ' (write lone/only.png)"),
        ("id\nlone/other.png\n", "such as 'lone/other.png'. Ids"),
    ],
)
def test_ids_that_are_none_are_refused_with_what_ids_are(folder, tmp_path, text, remedy):
    pack = packed(folder[0], tmp_path / "out")
    (tmp_path / "ids.csv").write_text(text)
    with pytest.raises(DataError) as error:
        published_coreset(tmp_path / "ids.csv", pack, keep=1 / len(pack))
    assert "ids are not in the pack" in str(error.value)
    assert remedy in str(error.value)
    relative = f"Ids are paths relative to the dataset's folder, such as {pack.ids[0]}, and"
    assert relative in str(error.value)
    assert "column must be called id" in str(error.value)


def test_names_of_columns_may_have_capitals_and_spaces(folder, tmp_path):
    pack = packed(folder[0], tmp_path / "out")
    (tmp_path / "ids.csv").write_text(' ID, Class , "Weight", note\nlone/only.png, lone, 2, ours\n')
    read = published_coreset(tmp_path / "ids.csv", pack, keep=1 / len(pack))
    assert [pack.ids[row] for row in read.rows] == ["lone/only.png"]
    assert read.weight.tolist() == [1.0]


def test_a_list_that_went_through_a_spreadsheet_is_read_with_its_weights(folder, tmp_path):
    pack = packed(folder[0], tmp_path / "out")
    names = [name for name in pack.ids if not set(name) & set('\n"')][:3]
    lines = ["id,bin,weight,kind", *(f'"{name}",1.0,{w},Original' for name, w in zip(names, (4, 1, 1), strict=True))]
    (tmp_path / "ids.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, ""]).encode())
    read = published_coreset(tmp_path / "ids.csv", pack, keep=3 / len(pack))
    assert [pack.ids[row] for row in read.rows] == sorted(names, key=pack.ids.index)
    assert read.weight[[*map(pack.ids.__getitem__, read.rows)].index(names[0])] == 2
    assert read.bins.tolist() == [1, 1, 1]
    (tmp_path / "ids.csv").write_bytes("\n".join(lines).encode("utf-16"))
    with pytest.raises(DataError, match=r"ids\.csv is not in UTF-8: save it as CSV in UTF-8"):
        published_coreset(tmp_path / "ids.csv", pack, keep=3 / len(pack))


def test_weights_are_given_away_with_the_ids(folder, tmp_path):
    target, coreset, pack, recipe = exported(folder, tmp_path)
    assert "weight" not in table(target)[0]
    weights = np.linspace(0.5, 1.5, len(coreset))
    weighted = export_coreset(tmp_path / "weighted", replace(coreset, weight=weights), pack, recipe, source=None)
    assert [float(row["weight"]) for row in table(weighted)] == weights.tolist()
