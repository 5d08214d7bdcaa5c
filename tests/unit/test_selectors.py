"""Every kind of selector in the table passes this suite, with every choice of what it compares or scores by."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from dqv2.config import Selector
from dqv2.runtime.seeding import generator
from dqv2.select.candidates import Candidates, PoolRows
from dqv2.select.coreset import Pool, draw_places, mix
from dqv2.select.published import published_coreset
from dqv2.select.selectors import divide
from dqv2.select.similarity import GradientFeatures
from dqv2.select.table import FEATURES, KEYS, OF_A_PASS, SAMPLERS, SCORES, SELECTORS
from dqv2.semantic.masks import foreground
from dqv2.semantic.recipe import make_recipe

UNEQUAL = (40, 23, 11, 6, 1)
CHECKSUM = "0" * 64


def selectors_of(kind):
    """The kind with each choice of its features or scores."""
    if "manifest" in kind.keys:
        return [Selector(kind=kind.name, manifest="ids.csv", sha256=CHECKSUM)]
    if kind.scores:
        return [Selector(kind=kind.name, score=score) for score in kind.scores]
    return [Selector(kind=kind.name, features=name) for name in (FEATURES if "features" in kind.keys else FEATURES[:1])]


def name_of(selector):
    kind = SELECTORS[selector.kind]
    return "-".join(
        [selector.kind, *([selector.score] if kind.scores else [])] + [selector.features] * ("features" in kind.keys)
    )


ALL = [pytest.param(selector, id=name_of(selector)) for kind in SELECTORS.values() for selector in selectors_of(kind)]
every_selector = pytest.mark.parametrize("selector", ALL)


def those(what):
    return pytest.mark.parametrize("selector", [case for case in ALL if what(SELECTORS[case.values[0].kind])])


@dataclass
class Made:
    """Made-up images, and what networks say of them; it stands for a pack."""

    labels: np.ndarray
    images: np.ndarray
    embedding: torch.Tensor
    logits: torch.Tensor
    scores: dict[str, np.ndarray]
    ids: list[str]
    classes: tuple[str, ...] = ("a", "b", "c", "d", "e")

    def __len__(self):
        return len(self.labels)

    def index(self, ids):
        return [self.ids.index(name) for name in ids]

    def take(self, order):
        """The same images in another order."""
        return Made(
            self.labels[order],
            self.images[order],
            self.embedding[order],
            self.logits[order],
            {name: values[order] for name, values in self.scores.items()},
            [self.ids[i] for i in order],
        )


def made(sizes=UNEQUAL):
    draws = np.random.default_rng(0)
    labels = draws.permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(labels)
    return Made(
        labels,
        draws.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8),
        torch.from_numpy(draws.random((n, 6), dtype=np.float32)),
        torch.from_numpy(draws.standard_normal((n, len(sizes)), dtype=np.float32)),
        {name: draws.random(n) for name in SCORES},
        [f"{i:03d}" for i in range(n)],
    )


def divided(selector, images, *, seed=0, pool=None, recipe=None, largest=None):
    """The pool of all originals, or `pool`, as the pipeline divides it: from what the selector says it reads."""
    pool = mix(len(images), originals=1, tobias=0, generator=generator(0)) if pool is None else pool
    kinds = bool((~pool.tobias).any()) + bool(pool.tobias.any())
    return divide(
        pool,
        images,
        [images.embedding] * kinds if selector.reads_features else [],
        [images.logits] * kinds if selector.reads_logits else [],
        scores={selector.score: images.scores[selector.score]} if selector.reads_scores else None,
        recipe=recipe if selector.reads_pixels else None,
        generator=generator(seed, "bins"),
        largest=largest,
        **selector.used,
    )


@pytest.fixture
def choose(tmp_path):
    """The coreset that a selector chooses, as the pipeline does it; for a published one a list of `count` ids."""

    def choose(selector, images, count, *, seed=0, **options):
        if SELECTORS[selector.kind].gives == "list":
            ids = sorted(images.ids)
            (tmp_path / "ids.csv").write_text("\n".join(["id", *ids[:count]]) + "\n")
            return published_coreset(tmp_path / "ids.csv", images, keep=count / len(images))
        pool = divided(selector, images, seed=seed, **options)
        how = {"sampler": selector.sampler, "generator": generator(seed, "sample")}
        if selector.sampler == "classes":
            kinds = bool((~pool.tobias).any()) + bool(pool.tobias.any())
            how["embedding"] = PoolRows(pool, [images.embedding] * kinds)[:]
        return pool.take(draw_places(pool, images.labels, count, **how))

    return choose


def most(selector, pool_size):
    """Images that a selector can choose at most."""
    left_out = round(selector.prune_hardest * pool_size) if "prune_hardest" in SELECTORS[selector.kind].keys else 0
    return pool_size - left_out


def values_of(pool):
    """All that is known of a pool's images, by their rows and kinds."""
    weights = np.zeros(len(pool)) if pool.importance is None else pool.importance
    columns = (pool.rows, pool.tobias, pool.bins, pool.rank, weights)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_the_suite_covers_every_kind_and_the_table_is_consistent():
    assert {case.values[0].kind for case in ALL} == set(SELECTORS)
    for kind in SELECTORS.values():
        assert set(kind.keys) <= set(KEYS), kind.name
        assert set(kind.reads) <= {"features", "logits", "scores", "pixels"}, kind.name
        assert kind.sampler in SAMPLERS, kind.name
        assert kind.gives == "list" or (kind.gives == "rank") == (kind.sampler == "rank"), kind.name
        assert ("score" in kind.keys) == bool(kind.scores), kind.name
        assert "features" in kind.reads or "features" not in kind.keys, kind.name
        assert (kind.importance is not None) == (kind.sampler == "adaptive"), kind.name
        assert set(kind.scores) <= set(SCORES if "scores" in kind.reads else OF_A_PASS), kind.name


@those(lambda kind: kind.gives != "list")
def test_it_divides_or_ranks_every_image_of_a_class(selector):
    kind, images = SELECTORS[selector.kind], made()
    pool = divided(selector, images)
    n = len(images)
    assert len(pool) == n
    for column in (pool.bins, pool.rank):
        assert column.dtype == np.int64
    if kind.gives == "rank":
        of_class = [pool.rank[images.labels == c] for c in range(5)]
        assert sorted(pool.rank) == list(range(n)) or all(sorted(r) == list(range(len(r))) for r in of_class)
        assert not pool.bins.any()
    else:
        assert (pool.rank == -1).all()
        assert (pool.bins >= 0).sum() == most(selector, n)
        filled = len(set(pool.bins.tolist()) - {-1})
        assert filled <= selector.n_strata if kind.sampler == "strata" else filled == selector.used.get("n_bins", 1)
    assert (pool.importance is not None) == (selector.sampler == "adaptive")


@every_selector
def test_it_chooses_exactly_as_many_images_as_asked_and_none_twice(selector, choose):
    images = made()
    for count in (1, 7, 40, most(selector, len(images))):
        coreset = choose(selector, images, count)
        assert len(coreset) == len(set(coreset.rows.tolist())) == count
        assert not coreset.tobias.any()
        assert coreset.rows.min() >= 0
        assert coreset.rows.max() < len(images)


@those(lambda kind: "scores" not in kind.reads and kind.gives != "list")
def test_it_chooses_from_originals_and_tobias_images(selector, choose):
    images = made()
    n = len(images)
    recipe = make_recipe(foreground(torch.rand(n, 4, 4, generator=generator(1)), 4), generator=generator(2))
    pool = mix(n, originals=1, tobias=0.5, generator=generator(0))
    for count in (9, len(pool)):
        coreset = choose(selector, images, count, pool=pool, recipe=recipe)
        chosen = set(zip(coreset.rows.tolist(), coreset.tobias.tolist(), strict=True))
        assert len(coreset) == len(chosen) == count
        assert chosen <= set(zip(pool.rows.tolist(), pool.tobias.tolist(), strict=True))


@every_selector
def test_a_seed_gives_one_coreset_and_another_seed_changes_what_is_drawn_alone(selector, choose):
    kind, images = SELECTORS[selector.kind], made()
    first, again, other = (values_of(choose(selector, images, 30, seed=seed)) for seed in (3, 3, 4))
    assert first == again
    drawn = kind.draws or (SAMPLERS[kind.sampler].draws and kind.gives != "list")
    assert (first != other) == drawn
    if kind.gives != "list":
        same = values_of(divided(selector, images, seed=3)) == values_of(divided(selector, images, seed=4))
        assert same != kind.draws


@those(lambda kind: kind.gives != "list" and SAMPLERS[kind.sampler].shares)
def test_every_class_keeps_its_share(selector, choose):
    images = made()
    for count in (5, 20, 57):
        found = np.bincount(images.labels[choose(selector, images, count).rows], minlength=5)
        assert abs(found - count * np.array(UNEQUAL) / len(images)).max() < (1 if selector.sampler == "rank" else 1.5)


@those(lambda kind: "features" in kind.reads)
def test_memory_mapped_features_give_the_same(selector, tmp_path):
    images = made()
    want = values_of(divided(selector, images))
    mapped = {}
    for name in ("embedding", "logits"):
        np.save(tmp_path / f"{name}.npy", getattr(images, name).numpy())
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    assert values_of(divided(selector, replace(images, **mapped))) == want
    assert (
        values_of(divided(selector, replace(images, **{k: torch.tensor(v).double() for k, v in mapped.items()})))
        == want
    )


def in_two_orders(selector, choose, sizes):
    """The division, or a list's coreset, of the same images in two orders; the second by the rows of the first."""
    images = made(sizes)
    order = np.random.default_rng(1).permutation(len(images))
    pools = [
        choose(selector, some, 20) if SELECTORS[selector.kind].gives == "list" else divided(selector, some)
        for some in (images, images.take(order))
    ]
    return values_of(pools[0]), values_of(replace(pools[1], rows=order[pools[1].rows]))


@those(lambda kind: not (kind.draws or kind.depends_on_order))
def test_images_in_another_order_give_the_same(selector, choose):
    """Classes whose bins never open with two images left, which are as good as each other to GraphCut."""
    first, second = in_two_orders(selector, choose, (40, 30, 20))
    assert [row[:-1] for row in first] == [row[:-1] for row in second]
    weights = [[row[-1] for row in rows] for rows in (first, second)]
    np.testing.assert_allclose(*weights, rtol=1e-12)  # of adaptive bins: sums in another order


@those(lambda kind: kind.depends_on_order)
def test_what_is_said_to_depend_on_the_order_does(selector, choose):
    first, second = in_two_orders(selector, choose, (40, 30, 20))
    assert first != second


@those(lambda kind: kind.reads)
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_what_is_not_finite_is_refused_in_a_sentence(selector, value):
    kind = SELECTORS[selector.kind]
    read = ["scores"] if selector.reads_scores else ["logits"] if selector.reads_logits else []
    if "features" in kind.keys or (selector.score == "grand" and not selector.reads_scores):
        read.append("embedding")
    for name in read:
        images = made()
        part = images.scores[selector.score] if name == "scores" else getattr(images, name)
        part[7] = value
        if selector.kind == "score" and value == float("inf"):  # which has a rank
            assert divided(selector, images).rank[7] == 0
            continue
        with pytest.raises(ValueError, match=r"\d+ of \d+ .*NaN.*first is index \d+"):
            divided(selector, images)


@every_selector
def test_classes_of_one_image_each(selector, choose):
    images = made((1, 1, 1, 1, 1))
    for count in (1, 3, most(selector, 5)):
        coreset = choose(selector, images, count)
        assert len(set(coreset.rows.tolist())) == count


@those(lambda kind: kind.gives != "list")
def test_more_images_than_there_are_are_refused_in_a_sentence(selector, choose):
    images = made()
    with pytest.raises(ValueError, match="asks for 82 images and the pool holds 81: lower keep_ratio"):
        choose(selector, images, len(images) + 1)
    if most(selector, len(images)) < len(images):
        with pytest.raises(ValueError, match=r"prune_hardest leaves 73 of 81 items, and keep asks for 74: lower"):
            choose(selector, images, 74)


@those(lambda kind: "features" in kind.reads)
def test_it_reads_class_by_class_where_the_table_says_so(selector, monkeypatch):
    asked, read, images = [], PoolRows.__getitem__, made()
    monkeypatch.setattr(PoolRows, "__getitem__", lambda rows, index: asked.append(index) or read(rows, index))
    divided(selector, images)
    most_at_once = max(len(images) if isinstance(index, slice) else len(index) for index in asked)
    assert (most_at_once <= max(UNEQUAL)) == SELECTORS[selector.kind].by_class


def test_features_are_what_their_names_say():
    images = made()
    embedding, logits, labels = images.embedding, images.logits, torch.from_numpy(images.labels)
    candidates = Candidates(labels, embedding, logits)
    assert candidates.features("embedding") is embedding
    plain, dq = (candidates.features(name) for name in ("gradient", "gradient_dq"))
    assert isinstance(plain, GradientFeatures)
    want = torch.softmax(logits.double(), 1) - torch.nn.functional.one_hot(labels, 5)
    assert torch.allclose(plain.residual, want)
    assert not torch.allclose(plain.residual, dq.residual)


def test_scores_keep_the_hardest_first():
    logits = torch.zeros(3, 2)
    logits[:, 0] = torch.tensor([5.0, 0.1, 2.0])
    labels, embedding = torch.zeros(3, dtype=torch.int64), torch.ones(3, 2)
    for name in OF_A_PASS:
        assert Candidates(labels, embedding, logits).score(name).argsort(descending=True).tolist() == [1, 2, 0], name


@those(lambda kind: kind.gives != "list")
def test_of_the_largest_coreset_alone_smaller_ones_are_the_same(selector):
    kind, images = SELECTORS[selector.kind], made()
    full = divided(selector, images)
    for largest in (1, 13, 40, len(images)):
        pool = divided(selector, images, largest=largest)
        ranked = pool.rank >= 0
        if not kind.stops:
            assert values_of(pool) == values_of(full)
            continue
        assert largest <= ranked.sum() < largest + 5
        assert pool.rank[ranked].tolist() == full.rank[ranked].tolist()
        for count in range(1, largest + 1):
            how = {"sampler": "rank", "generator": None}
            some, all_of_it = (p.take(draw_places(p, images.labels, count, **how)) for p in (pool, full))
            assert values_of(some) == values_of(all_of_it)
        if largest + 5 < len(images):
            with pytest.raises(ValueError, match=r"stopped at its budget .*let an experiment ask for this keep ratio"):
                draw_places(pool, images.labels, largest + 5, sampler="rank", generator=None)


def test_a_list_divides_no_images():
    with pytest.raises(ValueError, match="'published' is a list of ids"):
        divide(Pool(*[np.zeros(1, np.int64)] * 4), made(), [], [], generator=generator(0), kind="published")
