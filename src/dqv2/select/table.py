"""The kinds of selectors: what each reads, how a coreset is drawn from it, which function it is. Imports no torch.

The choices and checks of the configuration, the dispatch, the docs and a test suite that all kinds pass come from
`SELECTORS`. docs/extend.md says how a kind is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dqv2.declared import markdown

__all__ = ["FEATURES", "KEYS", "SAMPLERS", "SCORES", "SELECTORS", "Kind", "Sampler", "as_markdown", "kinds_with"]

FEATURES = ("embedding", "gradient", "gradient_dq")
"""What images may be compared by."""

SCORES = ("grand", "el2n", "forgetting", "least_confidence", "entropy", "margin")
"""What images may be scored by, the higher the sooner kept."""

OF_A_PASS = tuple(name for name in SCORES if name != "forgetting")
"""The scores that one pass of a network gives; the others take its training, which sees originals alone."""

KEYS: dict[str, Any] = {
    "n_bins": 10,
    "lam": 1.0,
    "score": None,
    "features": "embedding",
    "n_strata": 50,
    "prune_hardest": 0.1,
    "manifest": None,
    "sha256": None,
}
"""The keys that a kind may take, with their defaults."""


@dataclass(frozen=True)
class Sampler:
    """How a coreset is drawn from a divided pool.

    Attributes:
        what: one line for the docs.
        draws: whether it draws at random.
        shares: whether every class keeps its share of the coreset, up to rounding, in a pool of several bins.
    """

    what: str
    draws: bool
    shares: bool


SAMPLERS = {
    "bins": Sampler("the same share of every bin", draws=True, shares=True),
    "adaptive": Sampler("from every bin by its size and importance", draws=True, shares=False),
    "strata": Sampler("the same number from every stratum", draws=True, shares=False),
    "rank": Sampler("the first of every class", draws=False, shares=True),
}


@dataclass(frozen=True)
class Kind:
    """A kind of selector.

    Attributes:
        name: the `kind` of the configuration's selectors.
        function: `module:function`, imported when it is used. It takes `Candidates` and, by their names, the `keys`,
            and returns int64[M]: the bin of each image (-1: left out), or its rank (0 is kept first).
        gives: "bin" or "rank"; "list" for a coreset that is read from a file, whose function is another.
        sampler: how a coreset is drawn from it, of `SAMPLERS`.
        what: what it does, one line.
        source: where it comes from.
        reads: of features (a network's embedding; its logits too where `features` compares gradients), logits, scores
            (means over several trainings) and pixels.
        keys: those of `KEYS` that its result depends on.
        scores: the choices for `score`.
        by_class: whether it needs the features only class by class, so that they need not all fit into memory.
        draws: whether the division draws at random.
        originals_only: whether it can choose from originals alone, not from Tobias images.
        importance: `module:function` of the importance of each image's bin, float64[M], from `Candidates`, the bins
            and the keys; for the sampler adaptive.
        depends_on_order: why another order of the images gives another result, where it does.
    """

    name: str
    function: str
    gives: Literal["bin", "rank", "list"]
    sampler: str
    what: str
    source: str
    reads: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    by_class: bool = False
    draws: bool = False
    originals_only: bool = False
    importance: str | None = None
    depends_on_order: str = ""


SELECTORS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "random",
            "dqv2.select.kinds:one_bin",
            gives="bin",
            sampler="bins",
            what="leaves all images in one bin",
            source="the control of the paper",
        ),
        Kind(
            "graphcut",
            "dqv2.select.kinds:graphcut",
            gives="rank",
            sampler="rank",
            what="ranks greedily by GraphCut gains",
            source="Iyer et al. 2021; DeepCore (Guo et al. 2022)",
            reads=("features",),
            keys=("lam", "features"),
            by_class=True,
        ),
        Kind(
            "graphcut_bins",
            "dqv2.select.kinds:graphcut_into_bins",
            gives="bin",
            sampler="bins",
            what="fills bin after bin by GraphCut gains, as DQ does",
            source="Zhou et al. 2023, Dataset Quantization",
            reads=("features",),
            keys=("n_bins", "lam", "features"),
            by_class=True,
        ),
        Kind(
            "random_bins",
            "dqv2.select.kinds:at_random",
            gives="bin",
            sampler="bins",
            what="divides at random",
            source="DQ_V2, table 3",
            keys=("n_bins",),
            draws=True,
        ),
        Kind(
            "uniform_bins",
            "dqv2.select.kinds:in_turn",
            gives="bin",
            sampler="bins",
            what="deals the images over the bins in turn",
            source="DQ_V2, table 3",
            keys=("n_bins",),
            depends_on_order="images are dealt in their order",
        ),
        Kind(
            "score_bins",
            "dqv2.select.kinds:by_quantiles",
            gives="bin",
            sampler="bins",
            what="divides by quantiles of a score of one pass",
            source="DQ_V2, table 3 (EarlyTrain)",
            reads=("features", "logits"),
            keys=("n_bins", "score"),
            scores=OF_A_PASS,
        ),
        Kind(
            "adaptive_bins",
            "dqv2.select.kinds:graphcut_into_bins",
            gives="bin",
            sampler="adaptive",
            what="DQ's bins, of which the important ones give more",
            source="Li et al. 2025, Adaptive Dataset Quantization",
            reads=("features", "pixels"),
            keys=("n_bins", "lam", "features"),
            by_class=True,
            importance="dqv2.select.kinds:importance_of_bins",
        ),
        Kind(
            "score",
            "dqv2.select.kinds:by_score",
            gives="rank",
            sampler="rank",
            what="ranks by a score, the highest first",
            source="Paul et al. 2021; Toneva et al. 2019; Coleman et al. 2020",
            reads=("scores",),
            keys=("score",),
            scores=SCORES,
            originals_only=True,
        ),
        Kind(
            "ccs",
            "dqv2.select.kinds:into_strata",
            gives="bin",
            sampler="strata",
            what="drops the hardest images and cuts the range of a score into strata",
            source="Zheng et al. 2023, Coverage-centric Coreset Selection",
            reads=("scores",),
            keys=("score", "n_strata", "prune_hardest"),
            scores=SCORES,
            originals_only=True,
        ),
        Kind(
            "herding",
            "dqv2.select.kinds:herding",
            gives="rank",
            sampler="rank",
            what="keeps the mean of the chosen near the class mean",
            source="Welling 2009; Chen et al. 2010",
            reads=("features",),
            keys=("features",),
        ),
        Kind(
            "k_center",
            "dqv2.select.kinds:k_center",
            gives="rank",
            sampler="rank",
            what="takes the image farthest from those chosen",
            source="Sener & Savarese 2018",
            reads=("features",),
            keys=("features",),
        ),
        Kind(
            "craig",
            "dqv2.select.kinds:craig",
            gives="rank",
            sampler="rank",
            what="covers the class by facility location",
            source="Mirzasoleiman et al. 2020, CRAIG",
            reads=("features",),
            keys=("features",),
            depends_on_order="either of two images that are nearest to each other gains the same: the first is taken",
        ),
        Kind(
            "gradmatch",
            "dqv2.select.kinds:gradmatch",
            gives="rank",
            sampler="rank",
            what="matches the class's mean by orthogonal pursuit",
            source="Killamsetty et al. 2021, GRAD-MATCH",
            reads=("features",),
            keys=("features",),
        ),
        Kind(
            "published",
            "dqv2.select.published:published_coreset",
            gives="list",
            sampler="rank",
            what="takes a list of ids that was published",
            source="its `manifest`",
            keys=("manifest", "sha256"),
            originals_only=True,
        ),
    )
}


def kinds_with(key: str) -> list[str]:
    """The kinds that take a key."""
    return [kind.name for kind in SELECTORS.values() if key in kind.keys]


def as_markdown() -> str:
    """The table for the docs."""
    rows = []
    for kind in SELECTORS.values():
        drawn = "the list itself" if kind.gives == "list" else SAMPLERS[kind.sampler].what
        keys = ", ".join(f"`{key}`" for key in kind.keys)
        reads = ", ".join(kind.reads) or "nothing"
        rows.append([f"`{kind.name}`", kind.what, drawn, reads, keys or "none", kind.source])
    return markdown(["`kind`", "what it does", "what is drawn", "what it reads", "keys", "source"], rows)
