"""Miniatures of the published sets in their official layouts and archives, and a server that has them."""

import hashlib
import http.server
import io
import pickle
import shutil
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from dqv2.data.image import decode

WNIDS = ("n01440764", "n02102040")


def photo(seed, size=(20, 16)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def save(path, seed=0, size=(20, 16), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(seed, size).save(path, **options)
    return path


def read_image(path, size, **limits):
    """The pixels of an image file as it is packed, or the reason why it cannot be."""
    found = decode(path.read_bytes(), size, **limits)
    return found if isinstance(found, str) else found.pixels


def jpeg(seed, size=(20, 16)):
    stream = io.BytesIO()
    photo(seed, size).save(stream, "JPEG")
    return stream.getvalue()


def cifar10(root):
    """The folder cifar-10-batches-py; returns the MD5 of its batches, which differ from the official ones."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for k, name in enumerate(names):
        data = np.random.default_rng(k).integers(0, 256, (6, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [0, 1, 2, 0, 1, 2]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["airplane", "automobile", "bird"]}))
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def imagenette(root, name="imagenette2-160"):
    for split, n in (("train", 4), ("val", 2)):
        for k, wnid in enumerate(WNIDS):
            for i in range(n):
                save(root / name / split / wnid / f"{wnid}_{i}.JPEG", seed=10 * k + i + (100 if split == "val" else 0))


def food101(root):
    folder, lists = root / "food-101", {"train": {}, "test": {}}
    for k, name in enumerate(("apple_pie", "baby_back_ribs")):
        for i in range(5):
            save(folder / "images" / name / f"{1000 + i}.jpg", seed=10 * k + i)
            lists["train" if i < 3 else "test"].setdefault(name, []).append(f"{name}/{1000 + i}")
    (folder / "meta").mkdir()
    for split, found in lists.items():
        (folder / "meta" / f"{split}.json").write_text(str(found).replace("'", '"'))


def cub200(root):
    folder = root / "CUB_200_2011"
    names = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    files = [f"{name}/{name.split('.')[1]}_{i:04d}.jpg" for name in names for i in range(4)]
    for k, file in enumerate(files):
        save(folder / "images" / file, seed=k)
    lines = {
        "images": files,
        "image_class_labels": [1 + k // 4 for k in range(8)],
        "train_test_split": [int(k % 4 < 3) for k in range(8)],
        "bounding_boxes": ["2.0 0.0 8.0 16.0"] * 8,
        "classes": names,
    }
    for name, values in lines.items():
        (folder / f"{name}.txt").write_text("".join(f"{i} {value}\n" for i, value in enumerate(values, 1)))


def tiny_imagenet(root):
    folder = root / "tiny-imagenet-200"
    for k, wnid in enumerate(reversed(WNIDS)):  # wnids.txt is in no order
        for i in range(4):
            save(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", seed=10 * k + i, size=(64, 64))
        lines = "".join(f"{wnid}_{i}.JPEG\t{i}\t10\t63\t40\n" for i in range(4))
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(lines)
    notes = ""
    for i in range(4):
        save(folder / "val" / "images" / f"val_{i}.JPEG", seed=50 + i, size=(64, 64))
        notes += f"val_{i}.JPEG\t{WNIDS[i % 2]}\t0\t0\t31\t63\n"
    (folder / "val" / "val_annotations.txt").write_text(notes)
    (folder / "wnids.txt").write_text("\n".join(reversed(WNIDS)) + "\n")
    save(folder / "test" / "images" / "test_0.JPEG", size=(64, 64))  # the official one has these, without labels


MAKERS = {
    "cifar10": (cifar10, "cifar-10-python.tar.gz"),
    "imagenette-full": (lambda root: imagenette(root, "imagenette2"), "imagenette2.tgz"),
    "imagenette-320": (lambda root: imagenette(root, "imagenette2-320"), "imagenette2-320.tgz"),
    "imagenette-160": (imagenette, "imagenette2-160.tgz"),
    "food101": (food101, "food-101.tar.gz"),
    "cub200": (cub200, "CUB_200_2011.tgz"),
    "tiny_imagenet": (tiny_imagenet, "tiny-imagenet-200.zip"),
}


LAYOUTS = {  # training images, test images, classes, the first and the last training id
    "cifar10": (30, 6, ["airplane", "automobile", "bird"], "train/00000", "train/00029"),
    "food101": (6, 4, ["apple_pie", "baby_back_ribs"], "images/apple_pie/1000.jpg", "images/baby_back_ribs/1002.jpg"),
    "cub200": (
        6,
        2,
        ["001.Black_footed_Albatross", "002.Laysan_Albatross"],
        "images/001.Black_footed_Albatross/Black_footed_Albatross_0000.jpg",
        "images/002.Laysan_Albatross/Laysan_Albatross_0002.jpg",
    ),
    "tiny_imagenet": (
        8,
        4,
        list(WNIDS),
        "train/n01440764/images/n01440764_0.JPEG",
        "train/n02102040/images/n02102040_3.JPEG",
    ),
} | {
    f"imagenette-{variant}": (
        8,
        4,
        list(WNIDS),
        "train/n01440764/n01440764_0.JPEG",
        "train/n02102040/n02102040_3.JPEG",
    )
    for variant in ("full", "320", "160")
}


def archive(name, folder):
    """Write the archive of a miniature into `folder`; returns (file, its checksum, what the maker returned)."""
    make, file = MAKERS[name]
    source = folder / f"source-{name}"
    more = make(source)
    path = folder / file
    if file.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            for member in sorted(source.rglob("*")):
                out.write(member, member.relative_to(source))
    else:
        with tarfile.open(path, "w:gz") as out:
            for member in sorted(source.iterdir()):
                out.add(member, member.name)
    shutil.rmtree(source)
    return path, checksum(path), more


def checksum(path):
    return f"md5:{hashlib.md5(Path(path).read_bytes()).hexdigest()}"


class Server:
    """Serves a folder over loopback HTTP, with ranges; the first `cuts` answers break off after `after` bytes."""

    def __init__(self, folder):
        self.folder, self.cuts, self.after, self.asked, self.ranges, self.status = folder, 0, 0, [], True, None
        self.lengths = 1  # how often an answer says its length

    @contextmanager
    def running(self):
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.answer(self)

            def do_HEAD(self):
                owner.tell(self)

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            try:
                yield self
            finally:
                server.shutdown()

    def tell(self, request):
        request.send_error(405)

    def answer(self, request):
        self.asked.append((request.path, request.headers.get("Range")))
        path = self.folder / request.path.lstrip("/").split("?")[0]
        if self.status or not path.is_file():
            request.send_error(self.status or 404)
            return
        data, start = path.read_bytes(), 0
        if self.ranges and request.headers.get("Range"):
            start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(data)}")
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            request.send_response(200)
        rest = data[start:]
        for _ in range(self.lengths):
            request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        if self.cuts:
            self.cuts -= 1
            rest = rest[: self.after]
        request.wfile.write(rest)


class HubServer(Server):
    """The same with what Hugging Face's hub says of a file: its commit and, as its tag, its checksum."""

    etag = None  # another than the file's

    def tell(self, request):
        path = self.folder / request.path.lstrip("/").split("?")[0]
        request.send_response(200 if path.is_file() else 404)
        if path.is_file():
            request.send_header("ETag", f'"{self.etag or hashlib.sha256(path.read_bytes()).hexdigest()}"')
            request.send_header("X-Repo-Commit", "0" * 40)
            request.send_header("Content-Length", str(path.stat().st_size))
        request.end_headers()
