"""Whatever comes in, a result that keeps its promises or one sentence: features, manifests, checkpoints."""

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dqv2.data.errors import DataError
from dqv2.data.pack import Pack, write_pack
from dqv2.declared import load
from dqv2.runtime.resume import Resume
from dqv2.runtime.seeding import generator
from dqv2.select.candidates import Candidates
from dqv2.select.table import KEYS, SELECTORS
from dqv2.train.models import load_network, save_model
from dqv2.weights import WeightsError
from tests.unit.trainings import model

ODD = [0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan")]
# The one that is left out reads pixels
KINDS = [kind for kind in SELECTORS.values() if kind.gives != "list" and kind.name != "adaptive_bins"]
FEW = {"max_examples": settings.default.max_examples // 4, "suppress_health_check": list(HealthCheck)}


def tried(error, call, *given, **named):
    """What a call gives, or None and what it says."""
    try:
        return call(*given, **named), ""
    except error as refused:
        return None, str(refused)


@st.composite
def images(draw):
    """Features, logits, scores and labels of a few images: one alone, zero rows, NaN, classes of one, ..."""
    n, width, classes = draw(st.integers(1, 9)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    values = st.floats(-4, 4, width=32) | st.sampled_from(ODD).map(np.float32)
    sane = draw(st.booleans())
    values = st.floats(np.float32(0.25), 4, width=32) if sane else values
    made = [draw(arrays.arrays(np.float32, shape, elements=values)) for shape in ((n, width), (n, classes), (n,))]
    labels = draw(arrays.arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    return [torch.from_numpy(array) for array in (*made, labels)], sane


@settings(**FEW)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@given(images(), st.integers(1, 12), st.integers(0, 3))
def test_any_features_give_a_division_or_a_sentence(kind, drawn, n_bins, seed):
    (embedding, logits, scores, labels), sane = drawn
    keys = {"n_bins": n_bins, "n_strata": n_bins} | ({"score": kind.scores[0]} if kind.scores else {})
    keys = {key: keys.get(key, KEYS[key]) for key in kind.keys}
    candidates = Candidates(labels, embedding, logits, scores.double(), generator=generator(seed))
    found, said = tried(ValueError, load(kind.function), candidates, **keys)
    if found is None:
        assert not sane, said
        assert len(said) > 20
        assert "\n" not in said
        return
    assert found.shape == labels.shape
    assert found.dtype == torch.int64
    if kind.gives == "rank":
        for label in labels.unique():
            mine = found[labels == label].sort().values
            assert len(mine.unique()) == len(mine), "two images of a class cannot have one place"
    else:
        assert found.min() >= -1
        assert found.max() < max(n_bins, 1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pack") / "train"
    pixels = np.arange(3 * 3 * 8 * 8, dtype=np.uint8).reshape(3, 3, 8, 8)
    items = [(f"a/{i}.png", i % 2, None, image) for i, image in enumerate(pixels)]
    write_pack(folder, dataset="own", split="train", classes=["a", "b"], items=items, n=3, size=8)
    return folder


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})


@settings(**FEW)
@given(st.data())
def test_any_meta_of_a_pack_is_opened_or_named(pack, data):
    file = pack / "meta.json"
    before = file.read_bytes()
    meta = json.loads(before)
    for key in data.draw(st.sets(st.sampled_from(sorted(meta)), min_size=1, max_size=2)):
        meta[key] = data.draw(ANYTHING)
    try:
        file.write_text(json.dumps(meta), encoding="utf-8")
        found, said = tried(DataError, Pack.open, pack)
    finally:
        file.write_bytes(before)
    assert found is None or (len(found), found.images.shape) == (3, (3, 3, 8, 8))
    assert found is not None or str(pack) in said


@settings(**FEW)
@given(st.binary(max_size=200), st.integers(0, 150), st.booleans())
def test_any_bytes_in_a_manifest_are_named(pack, junk, place, cut):
    file = pack / "manifest.csv"
    before = file.read_bytes()
    after = before[:place] + junk + (b"" if cut else before[place + len(junk) :])
    assume(after != before)
    try:
        file.write_bytes(after)
        with pytest.raises(DataError, match="damaged"):
            Pack.open(pack)
    finally:
        file.write_bytes(before)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A finished network's file and a checkpoint, as they are."""
    from tests.unit.test_train_models import Network

    folder = tmp_path_factory.mktemp("kept")
    save_model(folder / "model.pt", model(), Network("resnet8", 3, 8))
    Resume(folder, {"a": 1}).save({"step": 1, "weight": torch.arange(1000.0)})
    return folder


@settings(**FEW)
@given(st.sampled_from(["cut", "zeroed", "junk", "empty"]), st.floats(0, 1), st.binary(min_size=1, max_size=40))
def test_a_damaged_network_is_never_a_traceback(kept, how, where, junk):
    """Flipped bits within the weights are for checksums to find; what cannot be read at all is named here."""
    whole = (kept / "model.pt").read_bytes()
    place = int(where * (len(whole) - 1))
    after = {"cut": whole[:place], "zeroed": whole[:place] + bytes(len(whole) - place), "empty": b""}
    after["junk"] = junk + whole[len(junk) :]
    file = kept / "damaged.pt"
    file.write_bytes(after[how])
    found, said = tried(WeightsError, load_network, file)
    if found is None:
        assert str(file) in said
        assert "weights_only" not in said
    else:
        assert how in ("zeroed", "junk"), "a zip's end says where its parts are: bytes between them are read by nobody"
