"""16-bit greyscale whose white is not 65,535: read by `white_level`, or noted as nearly black."""

import numpy as np
import pytest
import torch
from PIL import Image

from dqv2.data import DataError, Pack
from dqv2.data.dataset import pack_dataset
from dqv2.select.coreset import mix
from dqv2.select.export import export_coreset
from dqv2.stages.pack import Pack as PackStage
from tests.inputs import write_table


def grey(root, largest, kind=np.uint16):
    """A set of one image for each largest value, in classes a and b."""
    for k, value in enumerate(largest):
        pixels = np.random.default_rng(k).integers(0, value + 1, (8, 8)).astype(kind)
        pixels[0, 0] = value
        path = root / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return root


def packed(root, out, kind="image_folder", **options):
    pack_dataset("own", out, kind=kind, folder=str(root), size=8, workers=1, **options)
    return Pack.open(out / "train")


def test_grey_that_comes_out_nearly_black_is_told(tmp_path, caplog):
    root = grey(tmp_path / "set", [252, 200, 0, 4095, 4096, 65535])
    pack = packed(root, tmp_path / "out")
    assert pack.meta["dark"] == [
        {"name": "a/0.png", "largest": 252},
        {"name": "b/1.png", "largest": 200},
        {"name": "b/3.png", "largest": 4095},
    ]
    caplog.clear()
    with caplog.at_level("WARNING", "dqv2"):
        PackStage._report("own", "train", pack.meta, "out/meta.json")
    assert caplog.messages == [
        "pack own train: 3 images of 16-bit grey hold no value above 4,095, of 65,535 for white, and come out nearly "
        "black, such as a/0.png: dark in out/meta.json; where another value is white, set white_level"
    ]


def test_nothing_is_noted_of_other_sets(tmp_path):
    meta = packed(grey(tmp_path / "set", [65535, 5000]), tmp_path / "out").meta
    assert not {"dark", "white_level"} & meta.keys(), "what was packed before is the same, byte for byte"
    assert "dark" not in packed(grey(tmp_path / "8", [20, 30], np.uint8), tmp_path / "out").meta


@pytest.mark.parametrize("storage", ["packed", "streamed"])
def test_the_white_that_a_person_says(tmp_path, storage):
    root = grey(tmp_path / "set", [4095, 4000])
    pack = packed(root, tmp_path / "out", storage=storage, white_level=4095)
    assert pack.images[0].max() == 255
    assert 245 < pack.images[1].max() < 255
    assert "dark" not in pack.meta
    with pytest.raises(DataError, match=r"b/1\.png: .*grey value 4,000, over white_level 3,999"):
        packed(root, tmp_path / "out", storage=storage, white_level=3999)


@pytest.mark.parametrize("kind", ["image_folder", "table"])
def test_exports_have_the_white_that_a_person_says(tmp_path, kind):
    root = grey(tmp_path / "set", [255, 255])
    if kind == "table":
        cells = [path.read_bytes() for path in sorted(root.rglob("*.png"))]
        write_table(tmp_path / "table/train.parquet", ["a", "b"], cells=cells)
        root = tmp_path / "table"
    pack = packed(root, tmp_path / "out", kind, white_level=255)
    coreset = mix(len(pack), originals=1.0, tobias=0.0, generator=torch.Generator())
    export_coreset(tmp_path / "given", coreset, pack, None, source=str(root), images="links")
    found = sorted((tmp_path / "given/images").rglob("*.png"))
    assert [np.asarray(Image.open(path)).max() for path in found] == [255, 255]
