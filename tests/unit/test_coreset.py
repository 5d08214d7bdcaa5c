"""The pool, its division and the coreset: exact counts, ids that resolve, Tobias images from their recipe."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dqv2.config import Selector
from dqv2.data import DataError
from dqv2.data.digits import pack_digits
from dqv2.data.pack import Pack
from dqv2.runtime.logging import logger
from dqv2.runtime.seeding import generator
from dqv2.select import coreset as c
from dqv2.select.baselines.adaptive import bin_importance, texture_levels
from dqv2.select.baselines.geometry import herding_order
from dqv2.select.candidates import Candidates
from dqv2.select.export import export_coreset
from dqv2.select.graphcut import graphcut_bins, graphcut_order
from dqv2.select.sampling import adaptive_bin_counts
from dqv2.select.selectors import divide, weigh
from dqv2.stages import stage


def used(kind, **keys):
    """A selector's options as the stages hand them on."""
    return Selector(kind=kind, **keys).used


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits")
    pack_digits(out, train=100, validation=20, test=20)
    return Pack.open(out / "train")


@pytest.mark.parametrize(("originals", "tobias"), [(1.0, 0.0), (1.0, 0.5), (0.5, 0.25), (0.0, 1.0)])
def test_shares_of_the_pool_are_exact(originals, tobias):
    pool = c.mix(41, originals=originals, tobias=tobias, generator=generator(0))
    for kind, share in ((False, originals), (True, tobias)):
        rows = pool.rows[pool.tobias == kind]
        assert len(rows) == len(set(rows)) == round(share * 41)


def test_an_enlarged_pool_has_more_bins_of_the_same_size(pack):
    n = len(pack)
    pool = c.mix(n, originals=1.0, tobias=0.5, generator=generator(0))
    features = [torch.rand(n, 5, generator=generator(1)) for _ in range(2)]
    divided = divide(pool, pack, features, [], **used("graphcut_bins", n_bins=10), generator=generator(3))
    sizes = np.bincount(divided.bins)
    assert len(sizes) == 15
    assert abs(sizes - n / 10).max() <= 5


def test_bins_that_are_empty_are_said_also_where_they_are_the_last(pack, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logger, "propagate", True)
    np.save(tmp_path / "features.npy", np.random.default_rng(0).random((len(pack), 4), np.float32))
    selector = used("graphcut_bins", n_bins=14)
    job = SimpleNamespace(
        input=SimpleNamespace(train=pack.folder, features=[tmp_path / "features.npy"], logits=[]),
        output=SimpleNamespace(bins=tmp_path / "bins.csv"),
        options={"mixture": {"originals": 1.0, "tobias": 0.0}, "selector": selector},
        wildcards=SimpleNamespace(selection="o100/bins"),
        clock=nullcontext,
        load=lambda name, how: None,
        generator=lambda purpose: generator(0),
    )
    stage("bin").run(job)
    bins = c.read_pool(job.output.bins, pack).bins
    assert bins.max() + 1 < 14, "the last ones"
    assert f"{14 - len(set(bins.tolist()))} of 14 bins are empty" in caplog.text


def test_features_of_originals_and_tobias_images_are_not_mixed_up(pack):
    n = len(pack)
    pool = c.mix(n, originals=0.3, tobias=0.3, generator=generator(0))
    originals = torch.rand(n, 4, generator=generator(1))
    tobias = torch.rand(n, 4, generator=generator(2))
    got = divide(pool, pack, [originals, tobias], [], **used("graphcut"), generator=generator(3))
    stacked = torch.stack([(tobias if t else originals)[r] for r, t in zip(pool.rows, pool.tobias, strict=True)])
    want = graphcut_order(stacked, torch.from_numpy(pack.labels[pool.rows]))
    assert torch.equal(torch.from_numpy(got.rank), want)
    with pytest.raises(ValueError, match="do not fit"):
        divide(pool, pack, [originals], [], **used("graphcut"), generator=generator(3))


@pytest.mark.parametrize("share", [2, -1, -0.1, float("nan"), "0.5", True, None])
def test_a_share_of_the_pool_is_one(share):
    for shares in ({"originals": share, "tobias": 0.5}, {"originals": 1.0, "tobias": share}):
        with pytest.raises(ValueError, match=r"(originals|tobias) must be a share in"):
            c.mix(41, **shares, generator=generator(0))


def test_a_share_that_comes_to_no_image_is_refused():
    with pytest.raises(ValueError, match=r"a share of 0\.001 of tobias comes to none"):
        c.mix(100, originals=1.0, tobias=0.001, generator=generator(0))


def test_ids_resolve_in_another_order(pack, tmp_path):
    pool = c.mix(len(pack), originals=0.5, tobias=0.5, generator=generator(0)).take(np.array([60, 3, 20, 99]))
    c.write_pool(tmp_path / "pool.csv", pool, pack)
    read = c.read_pool(tmp_path / "pool.csv", pack)
    assert read.rows.tolist() == pool.rows.tolist()
    assert read.tobias.tolist() == pool.tobias.tolist()
    lines = (tmp_path / "pool.csv").read_text().splitlines()
    (tmp_path / "turned.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert c.read_pool(tmp_path / "turned.csv", pack).rows.tolist() == pool.rows[::-1].tolist()


def test_strangers_are_refused(pack, tmp_path):
    path = tmp_path / "pool.csv"
    path.write_text("id,kind,class,bin,rank,importance\nsomeone,original,0,0,,\n")
    with pytest.raises(DataError, match="someone"):
        c.read_pool(path, pack)
    path.write_text(f"id,kind,class,bin,rank,importance\n{pack.ids[0]},copy,0,0,,\n")
    with pytest.raises(ValueError, match="copy"):
        c.read_pool(path, pack)
    path.write_text("id,class\n")
    with pytest.raises(ValueError, match="columns"):
        c.read_pool(path, pack)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"bin": "x"}, "line 3: bin 'x' is not a whole number"),
        ({"bin": "1.5"}, "line 3: bin '1.5' is not a whole number"),
        ({"bin": "9" * 30}, "line 3: bin '9{30}' is not a whole number of 64 bits"),
        ({"rank": "first"}, "line 3: rank 'first' is not a whole number"),
        ({"importance": "much"}, "line 3: importance 'much' is not a finite number"),
        ({"importance": ""}, "line 3: importance '' is not a finite number"),
        ({"weight": "nan"}, "line 3: weight 'nan' is not a finite number"),
        ({"class": "cat"}, "line 3: .* is of class 'cat', and in the pack of"),
    ],
    ids=str,
)
def test_cells_that_make_no_sense_are_named_with_their_line(pack, tmp_path, cells, message):
    pool = c.mix(len(pack), originals=0.1, tobias=0.0, generator=generator(0))
    ones = np.ones(len(pool))
    c.write_pool(tmp_path / "pool.csv", replace(pool, importance=ones, weight=ones), pack)
    lines = (tmp_path / "pool.csv").read_text().splitlines()
    row = dict(zip(c.WEIGHTED, lines[2].split(","), strict=True)) | cells
    (tmp_path / "pool.csv").write_text("\n".join([*lines[:2], ",".join(row.values()), *lines[3:]]))
    with pytest.raises(ValueError, match=f"pool.csv, {message}.*{c.REMEDY}"):
        c.read_pool(tmp_path / "pool.csv", pack)


def test_no_coreset_of_another_pack_and_no_making_that_json_cannot_hold_is_given_away(pack, tmp_path):
    pool = c.mix(len(pack), originals=0.1, tobias=0.0, generator=generator(0))
    for row in (len(pack), -1):
        with pytest.raises(ValueError, match=f"the coreset has row {row}, and .* 100 images: give the pack"):
            export_coreset(tmp_path / "out", replace(pool, rows=np.full_like(pool.rows, row)), pack, None, source=None)
    for value in (np.int64(3), {1, 2}, torch.ones(1)):
        with pytest.raises(TypeError, match=r"provenance must hold what JSON can: .* \(Object of type"):
            export_coreset(tmp_path / "out", pool, pack, None, source=None, provenance={"seed": value})
    assert not (tmp_path / "out").exists()


def test_adaptive_shares_follow_the_importance_of_the_bins(pack, tmp_path):
    """ADQ: importance is measured on the pool's own images, kept with the bins, and decides how many each bin gives."""
    n = len(pack)
    pool = c.mix(n, originals=1.0, tobias=0.0, generator=generator(0))
    features = torch.rand(n, 5, generator=generator(1))
    options = {"kind": "adaptive_bins", "n_bins": 5, "lam": 1.0, "features": "embedding"}
    divided = divide(pool, pack, [features], [], generator=generator(3), **options)
    images, _ = c.coreset_images(pool, pack, None)
    bins = torch.from_numpy(divided.bins)
    want = bin_importance(bins, texture_levels(images), features)
    np.testing.assert_allclose(divided.importance, want[bins].numpy())
    c.write_pool(tmp_path / "bins.csv", divided, pack)
    read = c.read_pool(tmp_path / "bins.csv", pack)
    assert np.array_equal(read.importance, divided.importance)
    drawn = read.take(c.draw_places(read, pack.labels, 40, sampler="adaptive", generator=generator(2)))
    counts = torch.bincount(torch.from_numpy(drawn.bins), minlength=5)
    assert torch.equal(counts, adaptive_bin_counts(bins, want, 40))
    skewed = replace(read, importance=np.where(read.bins == 3, 3.0, 1.0))
    more = skewed.take(c.draw_places(skewed, pack.labels, 40, sampler="adaptive", generator=generator(2)))
    assert (more.bins == 3).sum() > (drawn.bins == 3).sum()


def test_coverage_centric_pools_leave_the_hardest_out(pack):
    n = len(pack)
    hard = np.random.default_rng(0).random(n)
    scores = {"el2n": hard}
    pool = c.mix(n, originals=1.0, tobias=0.0, generator=generator(0))
    options = {"kind": "ccs", "score": "el2n", "n_strata": 10, "prune_hardest": 0.2}
    divided = divide(pool, pack, [], [], scores=scores, generator=generator(3), **options)
    kept = divided.rows[divided.bins >= 0]
    assert (len(divided), len(kept)) == (n, round(0.8 * n))
    assert hard[kept].max() < np.sort(hard)[-round(0.2 * n)]
    drawn = divided.take(c.draw_places(divided, pack.labels, 20, sampler="strata", generator=generator(2)))
    assert len(set(drawn.rows)) == 20
    assert np.bincount(drawn.bins).max() <= 3, "every stratum gives its part"
    with pytest.raises(ValueError, match="prune_hardest leaves"):
        c.draw_places(divided, pack.labels, 90, sampler="strata", generator=generator(2))


def test_scores_rank_the_rows_of_the_pool(pack):
    hard = np.random.default_rng(1).random(len(pack))
    pool = c.mix(len(pack), originals=0.5, tobias=0.0, generator=generator(0))
    options = {"kind": "score", "score": "grand"}
    ranked = divide(pool, pack, [], [], scores={"grand": hard}, generator=generator(3), **options)
    assert np.array_equal(ranked.rank.argsort(), np.argsort(-hard[pool.rows]))


def test_an_unknown_sampler_is_refused(pack):
    pool = c.mix(len(pack), originals=0.5, tobias=0.0, generator=generator(0))
    with pytest.raises(ValueError, match="no sampler 'lottery'"):
        c.draw_places(pool, pack.labels, 5, sampler="lottery", generator=generator(1))


BY = {
    "graphcut": graphcut_order,
    "graphcut_bins": graphcut_bins,
    "adaptive_bins": graphcut_bins,
    "herding": herding_order,
}


@pytest.mark.parametrize("features", ["embedding", "gradient"])
@pytest.mark.parametrize("kind", BY)
def test_a_kind_divides_by_the_function_of_its_name(pack, kind, features):
    pool = c.mix(len(pack), originals=1.0, tobias=0.0, generator=generator(0))
    arrays = [torch.rand(len(pack), d, generator=generator(d)) for d in (6, len(pack.classes))]
    labels = torch.from_numpy(pack.labels)
    options = used(kind, features=features)
    got = divide(pool, pack, *([values] for values in arrays), **options, generator=generator(3))
    want = BY[kind](Candidates(labels, *arrays).features(features), labels)
    assert (got.bins if "bins" in kind else got.rank).tolist() == want.tolist()


@pytest.mark.parametrize("kind", ["craig", "gradmatch"])
def test_weights_have_a_mean_of_one_and_are_kept_with_the_ids(pack, tmp_path, kind):
    pool = c.mix(len(pack), originals=1.0, tobias=0.0, generator=generator(0))
    features = [torch.rand(len(pack), 5, generator=generator(1)) * torch.arange(1, 6)]
    divided = divide(pool, pack, features, [], **used(kind), generator=generator(3))
    places = c.draw_places(divided, pack.labels, 30, sampler="rank", generator=generator(2))
    weights = weigh(pool, places, pack, features, [], **used(kind))
    assert weights.shape == (30,)
    assert weights.mean() == pytest.approx(1)
    assert len(set(weights.tolist())) > 5
    without = divided.take(places)
    c.write_pool(tmp_path / "plain.csv", without, pack)
    c.write_pool(tmp_path / "weighted.csv", replace(without, weight=weights), pack)
    plain, weighted = ((tmp_path / f"{name}.csv").read_text().splitlines() for name in ("plain", "weighted"))
    assert plain == [line.rpartition(",")[0] for line in weighted]
    assert c.read_pool(tmp_path / "plain.csv", pack).weight is None
    assert c.read_pool(tmp_path / "weighted.csv", pack).weight.tolist() == weights.tolist()
    assert c.read_pool(tmp_path / "weighted.csv", pack).take(np.array([3])).weight.tolist() == [weights[3]]


def test_kinds_without_weights_and_weights_of_nothing_are_refused(pack):
    pool = c.mix(len(pack), originals=1.0, tobias=0.0, generator=generator(0))
    with pytest.raises(ValueError, match="'herding' gives its images no weights"):
        weigh(pool, np.arange(3), pack, [torch.rand(len(pack), 5)], [], **used("herding"))
    with pytest.raises(ValueError, match="the weight 0: train without"):
        weigh(pool, np.arange(3), pack, [torch.zeros(len(pack), 5)], [], **used("gradmatch"))
