"""The kinds of selectors: what each reads, how a coreset is drawn from it, which function it is. Imports no torch.

The choices and checks of the configuration, the dispatch, the table in the docs and a test suite that every kind must
pass are derived from `SELECTORS`; a function's docstring says what its kind does. See docs/code.md to add a kind.
"""

from dataclasses import dataclass
from typing import Any

from dqv2.declared import by_name, check_choices, check_functions, markdown, what_it_does

FEATURES = ("embedding", "gradient", "gradient_dq")  # what images may be compared by
# Scores of images; higher = kept first
SCORES = ("grand", "el2n", "forgetting", "least_confidence", "entropy", "margin")
# Those that one pass over a network gives; the others need its training, which sees originals alone
OF_A_PASS = tuple(name for name in SCORES if name != "forgetting")
READS = ("features", "logits", "scores", "pixels")
# The keys that a kind may take, with their defaults
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


@dataclass(frozen=True)
class Sampler:
    """How a coreset is drawn from a divided pool."""

    what: str  # one line for the docs
    draws: bool = True  # whether it draws at random
    shares: bool = False  # whether every class keeps its share of the coreset, up to rounding, also of several bins


SAMPLERS = {
    "bins": Sampler("the same share of every bin", shares=True),
    "adaptive": Sampler("from every bin by its size and importance"),
    "classes": Sampler("from every bin, more of classes whose error falls with more images"),
    "strata": Sampler("the same number from every stratum"),
    "rank": Sampler("the first of every class", draws=False, shares=True),
}


@dataclass(frozen=True)
class Kind:
    """A kind of selector; functions are `module:function`, imported when they are used."""

    name: str  # the `kind` of the configuration's selectors
    # Called with `Candidates` and the `keys` as keywords; returns int64[M]: the bin of each image (-1: left out), or
    # its rank (0 is kept first), distinct within each class
    function: str
    sampler: str  # how a coreset is drawn from it, of `SAMPLERS`
    # Of `READS`: "features" (a network's embedding; its logits too where `features` compares gradients), "logits",
    # "scores" (means over several trainings, known for originals alone) and "pixels"
    reads: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()  # those of `KEYS` that its result depends on
    by_class: bool = False  # whether it needs features only class by class, so that they need not all fit into memory
    draws: bool = False  # whether the division draws at random
    # For the sampler "adaptive": called with `Candidates`, the bins and the keys; returns the importance of each
    # image's bin, float64[M], finite and above 0
    importance: str | None = None
    depends_on_order: bool = False  # whether another order of the images gives another result
    stops: bool = False  # whether it ranks only as many images as the largest requested coreset needs (its budget)
    # Called with `Candidates`, the chosen, int64[K], and the keys; returns their weights, float64[K], at least 0
    weights: str | None = None

    def __post_init__(self) -> None:
        entry = f"selector kind {self.name}"
        check_functions(entry, function=self.function, importance=self.importance, weights=self.weights)
        check_choices(entry, "sampler", (self.sampler,), SAMPLERS)
        check_choices(entry, "reads", self.reads, READS)
        check_choices(entry, "keys", self.keys, KEYS)
        for wrong, why in (
            ((self.sampler == "adaptive") != (self.importance is not None), "importance is for the sampler 'adaptive'"),
            (self.stops and self.sampler != "rank", "stops=True is for the sampler 'rank'"),
            (
                "features" in self.keys and "features" not in self.reads,
                "the key 'features' needs 'features' in reads",
            ),
            (
                self.sampler == "classes" and "features" not in self.reads,
                "sampler 'classes' needs 'features' in reads",
            ),
            ("scores" in self.reads and "score" not in self.keys, "'scores' in reads needs the key 'score'"),
        ):
            if wrong:
                raise ValueError(f"{entry}: {why}")

    @property
    def gives(self) -> str:
        """ "bin" or "rank"; "list" for a coreset read from a file, whose function has another signature."""
        return "list" if "manifest" in self.keys else "rank" if self.sampler == "rank" else "bin"

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores that `score` may name."""
        return SCORES if "scores" in self.reads else OF_A_PASS if "score" in self.keys else ()


_DQ = ("n_bins", "lam", "features")
_GREEDY: Any = {"by_class": True, "stops": True}  # one image of a class after the other

SELECTORS = by_name(
    Kind("random", "dqv2.select.kinds:one_bin", "bins"),
    Kind("graphcut", "dqv2.select.kinds:graphcut", "rank", ("features",), ("lam", "features"), **_GREEDY),
    Kind("graphcut_bins", "dqv2.select.kinds:graphcut_into_bins", "bins", ("features",), _DQ, by_class=True),
    Kind("random_bins", "dqv2.select.kinds:at_random", "bins", keys=("n_bins",), draws=True),
    Kind("uniform_bins", "dqv2.select.kinds:in_turn", "bins", keys=("n_bins",), depends_on_order=True),
    Kind("score_bins", "dqv2.select.kinds:by_quantiles", "bins", ("features", "logits"), ("n_bins", "score")),
    Kind(
        "adaptive_bins",
        "dqv2.select.kinds:graphcut_into_bins",
        "adaptive",
        ("features", "pixels"),
        _DQ,
        by_class=True,
        importance="dqv2.select.kinds:importance_of_bins",
    ),
    # After DQAS (Zhao et al. 2024), whose code was never published
    Kind("class_adaptive_bins", "dqv2.select.kinds:graphcut_into_bins", "classes", ("features",), _DQ, by_class=True),
    Kind("score", "dqv2.select.kinds:by_score", "rank", ("scores",), ("score",)),
    Kind("ccs", "dqv2.select.kinds:into_strata", "strata", ("scores",), ("score", "n_strata", "prune_hardest")),
    Kind("herding", "dqv2.select.kinds:herding", "rank", ("features",), ("features",), **_GREEDY),
    Kind("k_center", "dqv2.select.kinds:k_center", "rank", ("features",), ("features",), **_GREEDY),
    # Two images nearest to each other have equal gains, and the first is taken
    Kind(
        "craig",
        "dqv2.select.kinds:craig",
        "rank",
        ("features",),
        ("features",),
        depends_on_order=True,
        weights="dqv2.select.kinds:weights_of_craig",
        **_GREEDY,
    ),
    Kind(
        "gradmatch",
        "dqv2.select.kinds:gradmatch",
        "rank",
        ("features",),
        ("features",),
        weights="dqv2.select.kinds:weights_of_gradmatch",
        **_GREEDY,
    ),
    Kind("published", "dqv2.select.published:published_coreset", "rank", keys=("manifest", "sha256")),
)


def kinds_with(key: str) -> list[str]:
    """The kinds that take a key."""
    return [kind.name for kind in SELECTORS.values() if key in kind.keys]


def as_markdown() -> str:
    """The table for the docs."""
    rows = []
    for kind in SELECTORS.values():
        what = ". ".join(what_it_does(place) for place in (kind.function, kind.importance) if place)
        drawn = "the list itself" if kind.gives == "list" else SAMPLERS[kind.sampler].what
        keys = ", ".join(f"`{key}`" for key in (*kind.keys, *(["weighted"] if kind.weights else [])))
        rows.append([f"`{kind.name}`", what, drawn, ", ".join(kind.reads) or "nothing", keys or "none"])
    return markdown(["`kind`", "what it does", "what is drawn", "what it reads", "keys"], rows)
