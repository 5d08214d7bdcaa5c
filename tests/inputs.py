"""Sets of images as people have them, in miniature: how each is made, and what has to come of it."""

import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from tests.miniatures import jpeg, save


@dataclass
class Input:
    """A set below a folder, and what comes of it: images of each split and classes, or a message.

    Attributes:
        paths: files to make: images by their endings, anything else as text; a path that ends in / is an empty folder.
        splits, classes: what is read.
        refused: a pattern of the message, where it is refused.
        options: of the dataset's block.
        aside: names of what is left aside.
    """

    paths: list[str]
    splits: dict[str, int] = field(default_factory=dict)
    classes: list[str] = field(default_factory=lambda: ["cat", "dog"])
    refused: str | None = None
    options: dict = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)

    def make(self, root):
        root.mkdir()
        for seed, path in enumerate(self.paths):
            if path.endswith("/"):
                (root / path).mkdir(parents=True)
            elif path.endswith((".png", ".jpg")):
                save(root / path, seed=seed)
            else:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text("no image")
        return root


def pets(*folders, n=3, names=("cat", "dog")):
    """n images of each class below each of these folders."""
    return [f"{folder}/{name}/{i}.png".lstrip("/") for folder in folders for name in names for i in range(n)]


BOTH = {"train": 6, "test": 6}
FOLDERS = {
    "training and testing": Input(pets("training", "testing"), BOTH),
    "capitals": Input(pets("TRAIN", "Test"), BOTH),
    "a prefix": Input(pets("birds_train", "birds_test"), BOTH),
    "years": Input(pets("train2017", "val2017"), {"train": 6, "validation": 6}),
    "capitals within": Input(pets("trainSet", "TestImages"), BOTH),
    "Kaggle's double folders": Input(pets("seg_train/seg_train", "seg_test/seg_test"), BOTH),
    "images within splits": Input(pets("train/images", "test/images"), BOTH),
    "Roboflow's valid": Input(
        [*pets("train", "valid", "test"), "README.roboflow.txt"], {"train": 6, "validation": 6, "test": 6}
    ),
    "dev and eval": Input(pets("train", "dev", "eval"), {"train": 6, "validation": 6, "test": 6}),
    "a test split with fewer classes": Input([*pets("train"), *pets("test", names=["dog"])], {"train": 6, "test": 3}),
    "a test split without labels": Input([*pets("train"), "test/1.png", "test/2.png"], {"train": 6}, aside=["test/"]),
    "a test class of no image": Input(
        [*pets("train"), *pets("test", names=["dog"]), "test/cat/"], {"train": 6, "test": 3}, aside=["test/cat/"]
    ),
    "checkpoints of notebooks": Input(
        [*pets("train"), "train/.ipynb_checkpoints/0.png", ".ipynb_checkpoints/0.png", "__MACOSX/train/cat/._0.png"],
        {"train": 6},
        aside=["train/.ipynb_checkpoints/", ".ipynb_checkpoints/", "__MACOSX/"],
    ),
    "hidden files of systems": Input(
        [*pets("train"), "train/cat/._0.png", "train/cat/.DS_Store", "train/cat/Thumbs.db"],
        {"train": 6},
        aside=["train/cat/._0.png", "train/cat/.DS_Store", "train/cat/Thumbs.db"],
    ),
    "images next to classes": Input([*pets("train"), "train/x.png"], {"train": 6}, aside=["train/"]),
    "masks beside their images": Input(
        [*pets(""), "cat/0_mask.png", "cat/0_mask_1.png", "dog/2-segmentation.png", "dog/lone_mask.png"],
        {"train": 7},
        aside=["cat/0_mask.png", "cat/0_mask_1.png", "dog/2-segmentation.png"],
    ),
    "masks that a person keeps": Input(
        [*pets(""), "cat/0_mask.png", "dog/2 GT.png", "dog/masks/0.png"], {"train": 9}, options={"masks": "keep"}
    ),
    "faces with and without masks": Input(
        pets("", names=["with_mask", "without_mask"]), {"train": 6}, ["with_mask", "without_mask"]
    ),
    "a class called train": Input(pets("", names=["bus", "train"]), {"train": 6}, ["bus", "train"]),
    "classes with a split's word": Input(
        pets("train", "test", names=["bullet_train", "pregnancy_test", "cat"]),
        {"train": 9, "test": 9},
        ["bullet_train", "cat", "pregnancy_test"],
    ),
    "classes that a person names": Input(
        pets("", names=["test", "train"]), {"train": 6}, ["test", "train"], options={"splits": {"train": ["."]}}
    ),
    "pictures that a person names": Input(
        [*pets("images"), *pets("masks")], {"train": 6}, options={"splits": {"train": ["images"]}}, aside=["masks/"]
    ),
    "Intel's images, as a person names them": Input(
        [*pets("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred/1.png"],
        BOTH,
        options={"splits": {"train": ["seg_train"], "test": ["seg_test"]}},
        aside=["seg_pred/"],
    ),
    "what a person does not name": Input(
        [*pets("data/a", "data/b"), "x/1.png", "x/deep/2.png", "data/y.png", "z.png"],
        {"train": 6},
        options={"splits": {"train": ["data/a"]}},
        aside=["data/b/", "x/", "data/", "./"],
    ),
    "a part without labels": Input(
        [*pets("train", "b"), "a/1.png"],
        BOTH,
        options={"splits": {"train": ["train"], "test": ["a", "b"]}},
        aside=["a/"],
    ),
    "parts that a person names": Input(
        pets("a", "b", "c"), {"train": 12, "test": 6}, options={"splits": {"train": ["a", "b"], "test": ["c"]}}
    ),
    "no labels": Input(["1.png", "deep/2.png"], {"train": 2}, ["all"], options={"unlabelled": True}),
    "no labels, in splits": Input(
        ["train/1.png", "train/2.png", "test/3.png"], {"train": 2, "test": 1}, ["all"], options={"unlabelled": True}
    ),
    "labels not wanted": Input(pets("train", "test"), BOTH, ["all"], options={"unlabelled": True}),
    "a wrapper that a person names": Input(
        pets("train/data", "test/data"), BOTH, options={"splits": {"train": ["train/data"], "test": ["test/data"]}}
    ),
    "domains that a person names": Input(
        pets("art", "clipart"), {"train": 12}, options={"splits": {"train": ["art", "clipart"]}}
    ),
    "classes that hold the same folders, as a person says": Input(
        pets("cat", "dog", names=["day", "night"]), {"train": 12}, options={"splits": {"train": ["."]}}
    ),
    "classes that hold a folder each": Input(
        [*pets("cat", "dog", names=["images"]), "cat/masks/0.png"], {"train": 6}, aside=["cat/masks/"]
    ),
    "classes that hold one folder of the same name": Input(pets("cat", "dog", names=["left"]), {"train": 6}),
    "a class that holds a kind called like another class": Input(
        [*pets(""), *pets("dog", names=["cat"])], {"train": 9}
    ),
    "a class within a folder of its own name": Input([*pets("", names=["dog"]), "cat/cat/1.png"], {"train": 4}),
    "classes of different folders": Input(
        [*pets("cat", names=["tabby", "lion"]), *pets("dog", names=["wolf", "poodle"])], {"train": 12}
    ),
    "protective gear": Input(["mask/a.png", "helmet/b.png"], {"train": 2}, ["helmet", "mask"]),
    "a mask and none": Input(["mask/0.png", "no_mask/0.png"], {"train": 2}, ["mask", "no_mask"]),
    "one split in the names of images": Input(["cat/train_1.png", "dog/train_2.png"], {"train": 2}),
    "splits in the names of images, as a person says": Input(
        ["cat/train_1.png", "dog/test_2.png"], {"train": 2}, options={"splits": {"train": ["."]}}
    ),
    "bins of a network's storage": Input(
        [*pets(""), "#recycle/cat/1.png", "@tmp/1.png", "cat/@Recycle/1.png"],
        {"train": 6},
        aside=["#recycle/", "@tmp/", "cat/@Recycle/"],
    ),
    # Refused
    "a wrapper that is no class": Input(
        pets("train/data", "test/data"), refused=r"set/train holds only data/, in which cat/ .*\[train/data\]"
    ),
    "domains of classes": Input(
        pets("art", "clipart"),
        refused=r"set/art and .*set/clipart both hold cat/ and dog/: .*train: \[art\], test: \[clipart\]",
    ),
    "years, of which the last has fewer classes": Input(
        [*pets("2021", names=["cat", "dog", "fox"]), *pets("2022"), *pets("2023", names=["cat"])],
        refused=r"set/2021 and .*set/2022 both hold cat/ and dog/: where .* are the classes, .*test: \[2022\]",
    ),
    "sites that share one class": Input(
        [*pets("siteA"), *pets("siteB", names=["dog", "fox"])],
        refused=r"siteA and .*siteB both hold dog/: where dog/ and its siblings .*; "
        r"where siteA/ and siteB/ are, .*\[\.\]",
    ),
    "sites in splits, one with a picture of its own": Input(
        [*pets("train/siteA"), *pets("train/siteB"), *pets("train/siteC", names=["Cat"]), "train/siteA/map.png"],
        refused=r"siteB and .*siteC both hold cat/: ",
    ),
    "domains whose classes are below images": Input(
        pets("amazon/images", "dslr/images"),
        refused=r"amazon/images and .*dslr/images both hold cat/ and dog/: .*\[dslr/images\].* amazon/ and dslr/ are,",
    ),
    "a folder that holds the classes beside it once more": Input(
        [*pets(""), *pets("Pets")],
        refused=r"set/Pets holds cat/ and dog/, and so does .*set: .*train: \[Pets\].*Pets/ is a class .*\[\.\]",
    ),
    "a split's folder that holds the classes of it once more": Input(
        [*pets("train"), *pets("train/Pets"), *pets("test")],
        refused=r"train/Pets holds cat/ and dog/, .*splits: \{train: \[train/Pets\], test: \[test\]\} in the ",
    ),
    "images next to anything": Input(
        ["images/1.png", "overlays/2.png"], refused=r"images/ and overlays/, pictures and .*train: \[images\]"
    ),
    "originals and their ground truth": Input(
        ["Original/1.png", "GroundTruth/2.png"], refused=r"Original/ and GroundTruth/, pictures and "
    ),
    "a segmentation set": Input(
        ["JPEGImages/1.jpg", "SegmentationClass/1.png"], refused=r"JPEGImages/ and SegmentationClass/, pictures and "
    ),
    "scans and masks": Input(
        ["scans/1.png", "scans/2.png", "masks/1.png"], refused=r"masks/ and scans/ hold files of the same names"
    ),
    "words grown together": Input(
        pets("birdstrain", "birdstest"), refused=r"birdstest/ and birdstrain/, which look like splits: .*splits: \{test"
    ),
    "splits in the names of images": Input(
        ["cat/train_1.png", "cat/test_1.png", "dog/Train2.png", "dog/val-3.png"],
        refused=r"names of all images mention a split, such as cat/test_1\.png: move .* for each of test and train",
    ),
    "splits in the names of images without labels": Input(
        ["train_1.png", "test_1.png"], options={"unlabelled": True}, refused="names of all images mention a split"
    ),
    "a training folder among classes": Input(
        [*pets(""), "trainset/1.png"], refused=r"set/trainset looks like a split and .*set/cat like a class"
    ),
    "no class folders": Input(["1.png"], refused=r"no class folders in .*set: .*set unlabelled: true"),
    "images next to one folder": Input(
        ["1.png", "deep/2.png"], refused=r"set has 1 images next to its one folder deep/.*set unlabelled: true"
    ),
    "more images next to the folders than in them": Input(
        ["1.png", "2.png", "3.png", "thumbs/2.png", "old/3.png"], refused="set has 3 images next to its folders, more"
    ),
    "images in one folder": Input(["images/1.png"], refused=r"images/, which does not .*unlabelled: true"),
    "no class folders in train": Input(
        ["train/1.png", *pets("test")], refused=r"no class folders in .*set/train: .*unlabelled"
    ),
    "images of a detection set": Input(
        ["train/images/1.png", "train/labels/1.txt", "test/images/2.png"], refused=r"no class folders in .*train/images"
    ),
    "images and masks": Input(
        [*pets("images"), *pets("masks")], refused=r"set has images/ and masks/.*splits: \{train: \[images\]\}"
    ),
    "images and masks in splits": Input(
        ["train/image/1.png", "train/mask/1.png"], refused=r"train has image/ and mask/.*\[train/image\]"
    ),
    "Intel's images": Input(
        [*pets("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred/1.png"],
        refused=r"seg_test looks like a split and .*seg_pred like a class.*test: \[seg_test\], train: \[seg_train\]",
    ),
    "splits and classes": Input(
        [*pets("train"), *pets("", names=["dog"])], refused=r"set/train looks like a split and .*set/dog like a class"
    ),
    "a flat test among classes": Input(
        [*pets(""), "test/1.png"], refused=r"set/test looks like a split and .*set/cat like a class.*train: \[\.\]"
    ),
    "two splits in a name": Input(pets("train_val", "test"), refused="train_val mentions train and validation at once"),
    "two splits in a path": Input(pets("train/test"), refused="train/test mentions two splits"),
    "two folders for a split": Input(pets("train", "val", "valid"), refused="both valid/ and val/: remove one, or say"),
    "images and masks of a split": Input(
        [*pets("train_images"), *pets("train_masks")], refused=r"remove one, or .*splits: \{train: \[train_images\]\}"
    ),
    "words grown together, without labels": Input(
        ["mytrain/1.png", "mytest/1.png"], options={"unlabelled": True}, refused="mytest/ and mytrain/, which look like"
    ),
    "a split of one class that is called after a test": Input(
        [*pets("train", names=["blood test", "x-ray"]), *pets("test", names=["blood test"])],
        {"train": 6, "test": 3},
        ["blood test", "x-ray"],
    ),
    "a split within a class": Input(
        ["cat/train/1.png", "cat/test/2.png", "dog/train/1.png"], refused="set/cat/test looks like a split where"
    ),
    "a class that looks like a split": Input(
        [*pets("train"), "train/test/1.png"], refused="train/test looks like a split where a class"
    ),
    "an unknown class in test": Input(
        [*pets("train"), *pets("test", names=["ox"])],
        refused=r"1 are not in train: ox \(only in test\).*leave test aside",
    ),
    "a class that is written otherwise in test": Input(
        [*pets("train"), *pets("test", names=["Cat"])],
        refused=r"not in train: Cat \(only in test\) \('Cat' is nearly train's 'cat'\)",
    ),
    "an empty class": Input([*pets("train"), "train/ox/"], refused="class folder .*train/ox has no images: put images"),
    "a folder twice": Input(
        pets("train", "test"), options={"splits": {"train": ["."], "test": ["test"]}}, refused="hold the same images"
    ),
    "a folder that is not there": Input(
        pets("train"),
        options={"splits": {"train": ["trian"]}},
        refused=r"splits\.train = 'trian' names nothing; .*train",
    ),
}


def special_files(root):
    """A FIFO, a socket, and a link to a device among images; returns their names."""
    os.mkfifo(root / "train/cat/pipe.png")
    with socket.socket(socket.AF_UNIX) as made, suppress(OSError):
        there = os.getcwd()  # noqa: PTH109 (a socket's path must be short)
        os.chdir(root / "train/cat")
        made.bind("socket.png")
        os.chdir(there)
    (root / "train/cat/zero.png").symlink_to("/dev/zero")
    return {f"train/cat/{name}.png" for name in ("pipe", "socket", "zero")}


def write_table(path, labels, *, cells=None, names=None, kind="parquet", first=0, **columns):
    """A table of images with labels (a list, or an array of Arrow's); None: no column of labels."""
    n = len(labels) if labels is not None else len(cells)
    cells = [{"bytes": jpeg(first + i), "path": f"{i}.jpg"} for i in range(n)] if cells is None else cells
    columns = {"image": pa.array(cells), **columns}
    if n == 0:
        columns["image"] = pa.array([], pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    if labels is not None:
        columns["label"] = labels
    table = pa.table(columns)
    if names:
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({b"huggingface": json.dumps(info).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return path
