"""Made-up tables for the claims as written: every comparison holds by far, or its opposite does, or neither."""

import itertools
import zlib

import numpy as np
import pandas as pd

from dqv2.paper.claims import ClaimTest
from tests.unit.made_up import LABELS, TITLES

STEP, LARGE, SMALL = 100.0, 3.0, 0.05  # between means; standard deviations
ANY = {"tobias_size": [4, 32]}  # what `each: all` finds in a table


def tables_for(claims, sign, seeds=40, datasets=None):
    """Experiment -> its table. ``sign`` 1: each comparison holds; -1: its opposite does; 0: no arm differs from any.

    ``datasets`` replaces those of every experiment, as a smaller scale does.
    """
    tests = [ClaimTest.model_validate(test) for claim in claims for test in claim["tests"]]
    names = dict.fromkeys(test.experiment for test in tests)
    return {name: table_for([t for t in tests if t.experiment == name], sign, seeds, datasets) for name in names}


def table_for(tests, sign, seeds, datasets):
    measured = {}  # (y, arm) -> values
    for y in dict.fromkeys(test.y for test in tests):
        mine = [test for test in tests if test.y == y]
        above, wider, leads, alike = [], [], {}, {}
        for test in mine:
            for here in places(test, datasets):
                if test.direction == "comparable":
                    alike[key(here | test.of)] = test.margin**0.5
                    alike.setdefault(key(here | test.against), 1)
                    continue
                relate(test, here, along(test, mine), above, wider, leads)
        means, spreads = ranks(above), ranks(wider)
        for arm in dict.fromkeys([*means, *spreads, *leads, *alike]):
            mean = 1000 + sign * STEP * (means.get(arm, 0) + leads.get(arm, 0))
            narrow = arm in spreads and spreads[arm] == {1: 0, -1: 1}.get(sign)
            spread = SMALL if narrow else LARGE
            if arm in alike:  # the same; far beyond the margin; at the margin, where nothing can be told
                spread = LARGE * {1: 1, -1: alike[arm] ** 6, 0: alike[arm]}[sign]
            measured[y, arm] = mean + spread * draw(seeds, y, arm)
    for name in {test.minus for test in tests if test.minus}:
        measured |= {(name, arm): 10 + draw(seeds, name, arm) for _, arm in list(measured)}
    rows = []
    for arm in dict.fromkeys(arm for _, arm in measured):
        columns = dict(arm)
        told = {"dataset_title": TITLES[columns["dataset"]], "seed": range(seeds)}
        told |= {"label": LABELS.get(columns["method"], columns["method"])} if "method" in columns else {}
        values = {y: found for (y, other), found in measured.items() if other == arm}
        rows.append(pd.DataFrame(columns | told | values))
    return pd.concat(rows, ignore_index=True)


def places(test, datasets):
    """The datasets and values of ``each`` that a test is made at."""
    each = {name: ANY[name] if values == "all" else values for name, values in test.each.items()}
    known = (datasets if test.stand_in else []) if datasets else test.datasets
    return product({"dataset": known} | each)


def along(test, tests):
    """The places of a trend's axis: those that the other tests of its experiment name."""
    named = [side.get(test.over, []) for other in tests for side in (other.of, other.against, other.each)]
    return sorted({value for values in named for value in (values if isinstance(values, list) else [values])})


def relate(test, here, axis, above, wider, leads):
    """Put the (lower, higher) pairs of arms that a test asks for into ``above`` (means) and ``wider`` (variances)."""
    if test.over:
        rising = test.direction == "higher"
        arms = [key(here | test.of | {test.over: place}) for place in axis]
        if test.against:
            leads |= {arm: i if rising else len(arms) - 1 - i for i, arm in enumerate(arms)}
        else:
            above += [pair if rising else pair[::-1] for pair in itertools.pairwise(arms)]
        return
    for of, against in itertools.product(product(test.of), product(test.against)):
        pair = key(here | against), key(here | of)
        pair = pair[::-1] if test.direction == "lower" else pair
        (wider if test.statistic == "variance" else above).append(pair)


def ranks(pairs):
    """Arm -> how many steps it lies above the lowest."""
    found = dict.fromkeys(itertools.chain(*pairs), 0)
    for _ in found:
        for low, high in pairs:
            found[high] = max(found[high], found[low] + (low != high))
    return found


def product(block):
    choices = [values if isinstance(values, list) else [values] for values in block.values()]
    return [dict(zip(block, values, strict=True)) for values in itertools.product(*choices)]


def key(columns):
    return tuple(sorted(columns.items()))


def draw(seeds, *of):
    """Values with a mean of 0 and a standard deviation of 1 exactly, each arm's in an order of its own."""
    values = np.random.default_rng(zlib.crc32(repr(of).encode())).normal(size=seeds)
    return (values - values.mean()) / values.std(ddof=1) if seeds > 1 else values
