"""Exported coresets of each kind of input, read by torchvision, timm and Hugging Face's `datasets`: the same images,
with the class indices of the whole set."""

import csv
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dqv2.data import DataError, Pack
from dqv2.data.dataset import pack_dataset
from dqv2.data.digits import pack_digits
from dqv2.data.image import as_people_see_it
from dqv2.select.coreset import Pool, mix
from dqv2.select.export import coreset_files, export_coreset, without_images
from dqv2.select.names import SPLIT, class_folders, file_name
from dqv2.semantic.recipe import make_recipe
from dqv2.stages import stage
from tests.inputs import write_table
from tests.miniatures import cifar10, photo, save

ODD = [
    "a::b$HOME.png",
    "train_01.png",
    "a test.png",
    "VAL.png",
    "x-dev-2.jpg",
    "0eval9.png",
    "training.png",
    "plain.png",
    "trains.png",
]
CLASSES = ["Zebra", "apple", "express train", "train", "validation set"]


def folder(tmp_path):
    """Class folders and files that are called like splits."""
    for k, name in enumerate(CLASSES):
        for i, file in enumerate(ODD):
            save(tmp_path / "set/train" / name / file, seed=100 * k + i)
    splits = {"train": ["train"]}  # one of the classes is called so too
    return tmp_path / "set", {
        "kind": "image_folder",
        "splits": splits,
        "validation": 0.0,
        "test": 0.0,
        "per_class": None,
    }


def plain_folder(tmp_path):
    """Grey images of thirty classes."""
    for k in range(30):
        for i in range(5):
            path = tmp_path / "set" / f"class {k:02}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo(100 * k + i).convert("L").save(path)
    return tmp_path / "set", {"kind": "image_folder", "validation": 0.0, "test": 0.0, "per_class": None}


def table(tmp_path):
    """Whole numbers as labels, whose order is not that of their names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells, labels = [], [k % 12 for k in range(60)]
    for k in range(60):
        photo(k).save(data := io.BytesIO(), "PNG")
        cells.append({"bytes": data.getvalue(), "path": None})
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"image": cells, "label": labels}), tmp_path / "set/train.parquet")
    return tmp_path / "set", {"kind": "table", "validation": 0.0, "test": 0.0, "per_class": None}


def odd_labels(tmp_path):
    """Labels that a reader would pass over: hidden, with spaces around them, with what addresses have."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = [
        ".NET",
        "C++::Class",
        "__init__",
        "a/b",
        " cat",
        "dog ",
        "\u3000wide",
        "line\u2028end",
        "@eaDir",
        "x*[1]?$PATH",
    ]
    cells = []
    for k in range(60):
        photo(k).save(data := io.BytesIO(), "PNG")
        cells.append(data.getvalue())
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"image": cells, "label": (labels * 6)[:60]}), tmp_path / "set/train.parquet")
    return tmp_path / "set", {"kind": "table", "validation": 0.0, "test": 0.0, "per_class": None}


def cifar(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    found = cifar10(root)
    return root / "cifar-10-batches-py", {"kind": "cifar10", **({"checksums": found} if found else {})}


def packed(made, tmp_path):
    if made == "digits":
        return None, Pack.open(
            pack_digits(tmp_path / "out", size=16, train=60, validation=10, test=10, seed=0)["train"]
        )
    root, options = made(tmp_path)
    pack_dataset("mine", tmp_path / "out", folder=str(root), size=8, workers=1, **options)
    return str(root), Pack.open(tmp_path / "out/train")


def exported(made, tmp_path, **options):
    """A fifth of the originals and Tobias images of others, none of the second class."""
    root, pack = packed(made, tmp_path)
    draws = torch.Generator().manual_seed(0)
    pool = mix(len(pack), originals=0.4, tobias=0.3, generator=draws)
    kept = pack.labels[pool.rows] != 1
    coreset = Pool(*(values[kept] for values in (pool.rows, pool.tobias, pool.bins, pool.rank)))
    masks = torch.zeros(len(pack), 4, 4, dtype=torch.bool)
    masks[:, 1:3] = True
    recipe = make_recipe(masks, generator=draws)
    target = export_coreset(tmp_path / "exported", coreset, pack, recipe, source=root, **options)
    return target, coreset, pack


@pytest.fixture(
    params=[folder, plain_folder, table, odd_labels, "digits", cifar],
    ids=["folder", "grey", "table", "odd labels", "digits", "cifar"],
)
def made(request):
    return request.param


@pytest.mark.parametrize("images", ["links", "packed"])
def test_every_reader_finds_the_same_images_and_the_whole_sets_indices(made, tmp_path, images):
    from timm.data import create_dataset
    from torchvision.datasets import ImageFolder

    target, coreset, pack = exported(made, tmp_path, images=images)
    with (target / "ids.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = {row["image"]: int(row["index"]) for row in rows}
    assert len(wanted) == len(coreset)
    assert [pack.classes[int(row["index"])] for row in rows] == [row["class"] for row in rows]
    assert [int(row["index"]) for row in rows] == pack.labels[coreset.rows].tolist()
    indices = json.loads((target / "class_to_idx.json").read_text())
    assert list(indices.values()) == list(range(len(pack.classes)))
    assert pack.classes[1] in without_images(coreset, pack)

    class Coreset(ImageFolder):
        def find_classes(self, directory):
            return list(indices), indices

    found = Coreset(target / "images", allow_empty=True)
    assert {os.path.relpath(path, target): label for path, label in found.samples} == wanted
    timms = create_dataset("", root=str(target / "images"), class_map=str(target / "classes.txt"))
    names = timms.filenames(basename=False, absolute=True)
    assert {os.path.relpath(path, target): label for path, (_, label) in zip(names, timms, strict=True)} == wanted


def test_hugging_faces_datasets_finds_every_image(made, tmp_path):
    datasets = pytest.importorskip("datasets")
    target, *_ = exported(made, tmp_path, images="copies")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(target / "images"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    indices = json.loads((target / "class_to_idx.json").read_text())
    images = loaded["train"].cast_column("image", datasets.Image(decode=False))
    names = images.features["label"].names
    found = sorted((Path(row["image"]["path"]).name, indices[names[row["label"]]]) for row in images)
    with (target / "ids.csv").open(newline="", encoding="utf-8") as file:
        assert found == sorted((Path(row["image"]).name, int(row["index"])) for row in csv.DictReader(file))


def test_with_folders_for_all_classes_torchvision_needs_no_list(made, tmp_path):
    from torchvision.datasets import ImageFolder

    target, coreset, pack = exported(made, tmp_path, images="copies", empty_classes=True)
    found = ImageFolder(target / "images", allow_empty=True)
    assert [label for _, label in found.samples] == sorted(pack.labels[coreset.rows].tolist())
    assert len(found.classes) == len(pack.classes)


def test_generated_images_of_a_grey_set_are_grey(tmp_path):
    target, coreset, _ = exported(plain_folder, tmp_path, images="links")
    assert coreset.tobias.any()
    assert {Image.open(path).mode for path in target.glob("images/*/*.png")} == {"L"}
    coloured, *_ = exported(folder, tmp_path / "coloured", images="links")
    assert {Image.open(path).mode for path in coloured.glob("images/*/*_tobias.png")} == {"RGB"}


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (["cat", "dog"], ["cat", "dog"]),
        ([str(k) for k in range(3)], ["0", "1", "2"]),
        (["2", "10"], ["0_2", "1_10"]),
        (["10", "2"], ["0_10", "1_2"]),
        (["Bee", "ant"], ["0_Bee", "1_ant"]),
        (["class_1", "class_2"], ["class_1", "class_2"]),
        (["a\u00b2", "b"], ["a\u00b2", "b"]),
        (["bus", "train"], ["0_bus", "1_train~"]),
        (["Cat", "cat"], ["0_Cat", "1_cat"]),
        (["a/b", "a\nb"], ["0_a_b", "1_a_b"]),
        ([".", "x"], ["0_.", "1_x"]),
        ([".NET", "x"], ["0_.NET", "1_x"]),
        (["__init__", "x"], ["0___init__", "1_x"]),
        (["a ", "b"], ["a", "b"]),
        (["@eaDir", "b"], ["0_@eaDir", "1_b"]),
        (["a:b", "c"], ["a_b", "c"]),
    ],
)
def test_folders_of_classes_are_in_their_order(classes, folders):
    assert class_folders(classes) == folders


def test_a_label_too_long_for_a_file_system_is_cut(tmp_path):
    folders = class_folders(["a" * 1000, "a" * 999 + "b"])
    assert len(set(folders)) == 2
    for name in folders:
        (tmp_path / name).mkdir()


def test_a_file_of_any_name_is_unique_and_of_no_split():
    taken = set()
    ids = [f"train/{'val_' * 80}{k}.png" for k in range(3)] + [
        "a/b.png",
        "a_b.png",
        "A_B.png",
        "test",
        "Evaluation 1.x",
    ]
    names = [file_name(sample, ".png", "_tobias", taken) for sample in ids]
    assert len({name.lower() for name in names}) == len(ids)
    assert not any(SPLIT.search(name) and "~" not in name for name in names)
    assert all(len(name.encode()) <= 220 for name in names)
    assert names[6:] == ["test~_tobias.png", "Evaluation~ 1.x_tobias.png"]


def wrapped():
    """Files with sound pixels and damaged metadata, of several formats, and 16-bit grey: name -> bytes."""
    from tests.unit.test_wrapping import ODD_TAGS, RESOLUTION, TURNED, exif, text_chunks, tiff, with_chunks, with_exif

    pixels = np.random.default_rng(5).integers(0, 65536, (16, 16), dtype=np.uint16)
    Image.fromarray(pixels).save(deep := io.BytesIO(), "PNG")
    return {
        "text.png": with_chunks(text_chunks()["a large text"]),
        "number.jpg": with_exif("JPEG", exif(sorted([TURNED, RESOLUTION]))),
        "exif.jpg": with_exif("JPEG", b"MM\0*\xff\xff\xff\xff"),
        "number.webp": with_exif("WEBP", exif(sorted([TURNED, RESOLUTION]))),
        "deep.png": deep.getvalue(),
        "odd.tif": tiff(extra=[ODD_TAGS["an EXIF block that is none"]]),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["image_folder", "table"])
def test_images_with_damaged_metadata_are_given_away_so_that_every_reader_has_their_pixels(tmp_path, kind):
    datasets = pytest.importorskip("datasets")
    from timm.data import create_dataset
    from torchvision.datasets import ImageFolder

    files = wrapped()
    if kind == "table":
        write_table(tmp_path / "set/train.parquet", ["a"] * len(files), cells=list(files.values()))
    for name, data in files.items():
        (tmp_path / "set/a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "set/a" / name).write_bytes(data)
    pack_dataset("mine", tmp_path / "out", kind=kind, folder=str(tmp_path / "set"), size=8, workers=1)
    pack = Pack.open(tmp_path / "out/train")
    coreset = mix(len(pack), originals=1.0, tobias=0.0, generator=torch.Generator())
    target = export_coreset(tmp_path / "given", coreset, pack, None, source=str(tmp_path / "set"), images="copies")
    names = list(files) if kind == "table" else [sample.rpartition("/")[2] for sample in pack.ids]
    with (target / "ids.csv").open(newline="", encoding="utf-8") as file:
        places = {row["id"]: row["image"] for row in csv.DictReader(file)}
    wanted = {
        Path(places[sample]).name: np.asarray(as_people_see_it(files[name]).convert("RGB"))
        for sample, name in zip(pack.ids, names, strict=True)
    }
    theirs = ImageFolder(target / "images")
    found = {Path(path).name: np.asarray(theirs[i][0]) for i, (path, _) in enumerate(theirs.samples)}
    timms = create_dataset("", root=str(target / "images"))
    with_timm = {name: np.asarray(timms[i][0]) for i, name in enumerate(timms.filenames(basename=True))}
    loaded = datasets.load_dataset("imagefolder", data_dir=str(target / "images"), cache_dir=str(tmp_path / "cache"))
    raw = loaded["train"].cast_column("image", datasets.Image(decode=False))
    with_datasets = {
        Path(row["image"]["path"]).name: np.asarray(loaded["train"][i]["image"].convert("RGB"))
        for i, row in enumerate(raw)
    }
    for read in (found, with_timm, with_datasets):
        assert read.keys() == wanted.keys()
        for name, pixels in wanted.items():
            np.testing.assert_array_equal(read[name], pixels, name)


@pytest.mark.parametrize("made", [table, cifar], ids=["table", "cifar"])
def test_files_of_a_coreset_of_what_are_no_files(made, tmp_path):
    target, coreset, pack = exported(made, tmp_path, images="packed")
    found = coreset_files(target / "ids.csv", tmp_path / "set")
    assert [name for _, name in found] == [pack.classes[label] for label in pack.labels[coreset.rows]]
    assert all(path.is_file() for path, _ in found)
    (tmp_path / "bare").mkdir()
    bare, *_ = exported(made, tmp_path / "bare", images="none")
    with pytest.raises(
        DataError, match="is an original that is not a file of its own, which only an export with images"
    ):
        coreset_files(bare / "ids.csv", tmp_path / "set", originals_only=True)


def test_a_class_without_an_image_is_said_on_the_terminal(tmp_path, monkeypatch, caplog):
    _, coreset, pack = exported(plain_folder, tmp_path)
    monkeypatch.setattr("dqv2.select.coreset.read_pool", lambda *_: coreset)
    monkeypatch.setattr("dqv2.runtime.record.behind", lambda *_: [])
    monkeypatch.setattr("dqv2.runtime.logging.logger.propagate", True)
    job = SimpleNamespace(
        input=SimpleNamespace(train=str(tmp_path / "out/train"), coreset=""),
        inputs={},
        output=SimpleNamespace(folder=str(tmp_path / "again")),
        options={"images": "none", "generated": "png", "folder": None},
        wildcards=SimpleNamespace(selection="x", keep="0.1"),
        seed=0,
        load=lambda *_: None,
    )
    stage("export").run(job)
    empty = without_images(coreset, pack)
    said = next(record for record in caplog.records if record.levelname == "WARNING").getMessage()
    assert said.startswith(f"{len(empty)} of 30 classes have no image in this coreset (")
    assert "classes.txt and class_to_idx.json" in said
    assert np.isin(pack.labels[coreset.rows], [pack.classes.index(name) for name in empty]).sum() == 0


def test_turned_and_transparent_originals_are_given_away_as_they_were_packed(tmp_path):
    """Readers of folders turn nothing, and see the colour that lies under transparency."""
    from torchvision.datasets import ImageFolder

    (tmp_path / "set/a").mkdir(parents=True)
    picture = Image.new("RGB", (8, 8), "blue")
    picture.paste("red", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3
    for name, how in {"plain.jpg": {}, "turned.jpg": {"exif": exif}, "turned.png": {"exif": exif}}.items():
        picture.save(tmp_path / "set/a" / name, **how)
    clear = picture.convert("RGBA")
    clear.putalpha(0)
    clear.save(tmp_path / "set/a/clear.png")
    pack_dataset("mine", tmp_path / "out", kind="image_folder", folder=str(tmp_path / "set"), size=8, workers=1)
    pack = Pack.open(tmp_path / "out/train")
    coreset = mix(len(pack), originals=1.0, tobias=0.0, generator=torch.Generator())
    target = export_coreset(tmp_path / "given", coreset, pack, None, source=str(tmp_path / "set"), images="links")
    (linked,) = (path.name for path in target.glob("images/*/*") if path.is_symlink())
    assert linked.endswith("plain.jpg")
    assert len(list(target.glob("images/*/*.png"))) == 3
    with (target / "ids.csv").open(newline="", encoding="utf-8") as file:
        places = {row["image"]: row["id"] for row in csv.DictReader(file)}
    theirs = ImageFolder(target / "images")
    for i, (path, _) in enumerate(theirs.samples):
        row = pack.ids.index(places[os.path.relpath(path, target)])
        np.testing.assert_allclose(np.asarray(theirs[i][0], int), pack.images[row].transpose(1, 2, 0), atol=3)
