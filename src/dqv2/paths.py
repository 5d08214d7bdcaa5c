"""Where each stage writes. Paths carry the axes in the order of dependence; `results/<run>/` goes before each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

PACK = "{dataset}/data/{split}"
PACK_OPTIONS = "{dataset}/data/options.json"
SPLITS = "{dataset}/data/splits.json"
EARLY = "{dataset}/early/{backbone}/seed-{seed}/model.pt"
SALIENCY = "{dataset}/saliency/{backbone}/seed-{seed}/saliency.npy"
EMBEDDING = "{dataset}/saliency/{backbone}/seed-{seed}/embedding.npy"
LOGITS = "{dataset}/saliency/{backbone}/seed-{seed}/logits.npy"
RECIPE = "{dataset}/tobias/mask-{mask}/size-{size}/seed-{seed}/recipe.npz"
FEATURES = "{dataset}/features/mask-{mask}/size-{size}/backbone-{backbone}/seed-{seed}/embedding.npy"
FEATURE_LOGITS = "{dataset}/features/mask-{mask}/size-{size}/backbone-{backbone}/seed-{seed}/logits.npy"
BINS = "{dataset}/bins/{selection}/seed-{seed}/bins.csv"
CORESET = "{dataset}/coreset/{selection}/keep-{keep}/seed-{seed}/coreset.csv"
PUBLISHED = "published/{selector}.csv"
SCORES = "{dataset}/scores/{backbone}/seed-{seed}/scores.npz"
AUTOENCODER = "{dataset}/autoencoder/{autoencoder}/model.pt"  # pre-trained here
WEIGHTS = "autoencoders/{autoencoder}.json"  # published weights, looked at
PIXELS = "{dataset}/pixels/{selection}/keep-{keep}/{pixels}/seed-{seed}/pixels.npz"
# {step} is empty, or "pixels-NAME/" where something is done to the coreset's pixels
EXPORT = "{dataset}/coreset/{selection}/keep-{keep}/{step}seed-{seed}/export-{form}"
MODEL = "{dataset}/train/{selection}/keep-{keep}/{step}{trainer}/seed-{seed}/model.pt"
TRAINING = "{dataset}/train/{selection}/keep-{keep}/{step}{trainer}/seed-{seed}/training.json"
METRICS = "{dataset}/train/{selection}/keep-{keep}/{step}{trainer}/seed-{seed}/metrics.json"

EVALUATION = METRICS.replace("/train/", "/evaluate/")  # the place of its log and benchmark, apart from training's


def ratio(value: float) -> str:
    """A keep ratio as it stands in a path: 0.1, 1."""
    return f"{value:.12g}"


def chunk_name(seeds: Iterable[int]) -> str:
    """A chunk of seeds as it stands in a rule's or a log's name: 0_1_2."""
    return "_".join(str(seed) for seed in seeds)


# How an axis is read from a path; any other is one folder
AXES = {"selection": ".+?", "step": "(?:pixels-[^/]+/)?"}


@cache
def regex(pattern: str) -> re.Pattern[str]:
    """What matches the paths of a pattern, with a group for each axis."""
    parts = re.split(r"\{(\w+)\}", pattern)
    names = {i: f"(?P<{name}>{AXES.get(name, '[^/]+')})" for i, name in enumerate(parts) if i % 2}
    return re.compile("".join(names.get(i, re.escape(part)) for i, part in enumerate(parts)))


def axes_of(pattern: str, path: str) -> dict[str, str]:
    """The axes that the path of a stage's output, results/<run>/..., carries: "keep" -> "0.1".

    Raises:
        ValueError: the path is none of the pattern's.
    """
    found = regex(pattern).fullmatch("/".join(str(path).split("/")[2:]))
    if found is None:
        raise ValueError(f"{path} is no results/<run>/{pattern}")
    return found.groupdict()


def cost(pattern: str) -> str:
    """Where a stage notes what making `pattern` cost."""
    return f"{pattern.rpartition('/')[0]}/cost.json"
