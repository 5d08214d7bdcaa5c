"""Class budgets by expected error reduction: classes whose error falls with more images get more (after DQAS).

Source: Zhao et al. 2024, Dataset Quantization with Active Learning based Adaptive Sampling (ECCV 2024, arXiv
2407.07268), from its abstract and what others report about it; its code was never published. It describes a class-wise
initialisation followed by active learning with expected error reduction, by which sensitive classes get more images
and stable ones fewer at the same sampling ratio. The size of the first part, the learner, the error, the number of
rounds and how images are drawn within a class are our choices (docs/assumptions.md).
"""

import torch
from torch import Tensor

from dqv2.apportion import largest_remainder, within_room
from dqv2.arguments import as_tensor, check_vector, random_order
from dqv2.select.sampling import class_ids, first_of_each_group, keep_count, place_in_group
from dqv2.select.similarity import Array, FeatureRows, as_features, check_features, check_matrix, take

FIRST = 0.5  # share of K that is given in proportion to the classes' sizes
ROUNDS = 5  # in which the rest is given
ROWS = 2**14  # of the features that are held in float64 at once
HALVES = 5  # random halves of the chosen items that the expected error reduction is averaged over


def sample_class_adaptive(
    bins: Tensor | Array,
    labels: Tensor | Array | None,
    features: Tensor | FeatureRows | Array,
    keep: float | int,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Draw K items, evenly from the bins within a class, with class shares set by expected error reduction: sorted
    indices, int64[K].

    Half of K is shared in proportion to the classes' sizes. The rest is given in five rounds, in each of which a class
    gets a part in proportion to its size times the expected fall of its error from one more item: see `expected_fall`.

    bins: int[N], as from `graphcut_bins`; labels: int[N] or None; features: float[N, D], the learner's input, which is
    held whole; keep: a ratio or a count as in `sample_bins`, K exact. Raises ValueError for other shapes, and features
    that are not finite or zero; TypeError for `GradientFeatures`.
    """
    bins, features = as_tensor(bins), as_features(features)
    if isinstance(features, FeatureRows):
        features = take(features, torch.arange(check_features(features)))
    check_matrix(features, "features")
    n = check_vector(bins, "bins")
    count, classes = keep_count(keep, n), class_ids(labels, n)
    if check_features(features) != n:
        raise ValueError(f"features has {len(features)} rows and bins {n} items; both need one an item")
    order = even_order(bins.cpu().unique(return_inverse=True)[1], classes, generator=generator)
    features, sizes = features.cpu(), torch.bincount(classes)
    taken = largest_remainder(sizes, max(1, round(FIRST * count)))
    for part in largest_remainder(torch.ones(ROUNDS, dtype=torch.int64), count - int(taken.sum())).tolist():
        fall = expected_fall(features, classes, order < taken[classes], generator=generator)
        taken = taken + within_room(fall * sizes, sizes - taken, part)
    return first_of_each_group(classes, order, taken).to(bins.device)


def expected_fall(features: Tensor, classes: Tensor, chosen: Tensor, *, generator: torch.Generator) -> Tensor:
    """By how much one more item of a class is expected to lower the class's error: float64[C], at least 0.

    The estimate is the error with a random half of every class's chosen items minus the error with all of them, per
    item left out, averaged over `HALVES` draws. A class with a single chosen item gets the mean of the others. The
    error is over the items that are not chosen. features, classes: as in `class_errors`; chosen: bool[N].
    """
    counts = torch.bincount(classes[chosen], minlength=int(classes.max()) + 1)
    half = (counts + 1) // 2
    with_all, with_half = class_errors(features, classes, chosen, ~chosen), 0
    places = torch.full((len(classes),), len(classes))
    for _ in range(HALVES):
        priority = random_order(len(classes), generator).cpu()
        places[chosen] = place_in_group(classes[chosen], priority[chosen])
        with_half = with_half + class_errors(features, classes, places < half[classes], ~chosen) / HALVES
    fall = ((with_half - with_all) / (counts - half).clamp(min=1)).clamp(min=0)
    if bool((counts > half).any()):
        fall[counts == half] = fall[counts > half].mean()
    return fall


def class_errors(features: Tensor, classes: Tensor, seen: Tensor, over: Tensor) -> Tensor:
    """Mean squared error on each class's items in `over`, of a learner fitted to those in `seen`: float64[C], 0 for a
    class without items.

    The learner is ridge regression (penalty 1) of the one-hot classes on the directions of the features and a constant.
    features: float[N, D], of which `ROWS` rows at a time are converted to float64; classes: int64[N], 0 to C - 1; seen,
    over: bool[N].
    """
    c, d = int(classes.max()) + 1, features.shape[1] + 1
    seen, over = seen.nonzero().flatten(), over.nonzero().flatten()
    if len(seen) < d:
        rows = _inputs(features, seen)
        inner = rows @ rows.T + torch.eye(len(rows), dtype=rows.dtype)
        weights = rows.T @ torch.linalg.solve(inner, _one_hot(classes[seen], c))
    else:
        inner, outer = torch.eye(d, dtype=torch.float64), torch.zeros(d, c, dtype=torch.float64)
        for part in seen.split(ROWS):
            rows = _inputs(features, part)
            inner += rows.T @ rows
            outer += rows.T @ _one_hot(classes[part], c)
        weights = torch.linalg.solve(inner, outer)
    errors = torch.zeros(c, dtype=torch.float64)
    for part in over.split(ROWS):
        error = ((_inputs(features, part) @ weights - _one_hot(classes[part], c)) ** 2).sum(1)
        errors += torch.bincount(classes[part], weights=error, minlength=c)
    return errors / torch.bincount(classes[over], minlength=c).clamp(min=1)


def _inputs(features: Tensor, places: Tensor) -> Tensor:
    """The directions of these items' features and a constant 1: float64[K, D + 1]."""
    units = torch.nn.functional.normalize(features[places].double(), dim=1)
    return torch.nn.functional.pad(units, (0, 1), value=1.0)


def _one_hot(classes: Tensor, c: int) -> Tensor:
    return torch.nn.functional.one_hot(classes, c).double()


def even_order(bins: Tensor, classes: Tensor, *, generator: torch.Generator) -> Tensor:
    """The position of each item in a random order of its class, int64[N], in which every prefix has about the same
    share of every bin of the class."""
    priority = random_order(len(bins), generator).cpu()
    group = (classes * (int(bins.max()) + 1) + bins).unique(return_inverse=True)[1]
    place = place_in_group(group, priority)
    share = (place + 0.5) / torch.bincount(group)[group]
    return place_in_group(classes, priority.argsort()[share[priority.argsort()].argsort(stable=True)].argsort())
