"""Whatever is done to a configuration: it is refused in sentences that name keys, or its whole plan can be walked."""

import datetime
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dqv2.config import ConfigError, load_config
from dqv2.plan import Plan
from tests.conftest import merged

HOSTILE = [
    *(None, True, False, 0, 1, -1, 2, 3, 10**9, 10**30, 0.0, 0.1, 0.5, 1.0, -0.5, 1.5, 1e-300, 1e308),
    *(float("inf"), float("nan"), "inf", "nan", "1e3", "1_000", "0x10", "010", "1:30"),
    *("", " ", "null", "~", "no", "off", "x" * 300, "a/b", "..", ".hidden", "-n", "two words", "größe", "dq", "early"),
    *("a\nb", "\x00", "{x}", "{", "%s", "$x$", "~nobody-has-this-name/x", "package:a/b", "resnet18.tv_in1k", "self"),
    *([], {}, [[]], [None], {"x": 1}, [0.1, 0.1], ["dq", "dq"], [0, "0"], ["dq", "random"], [[0]], {"kind": "digits"}),
    *(datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, 12), b"bytes", {1, 2}, (1, 2), {1: 2}, {None: 1}),
]


def small():
    """A configuration with something of every kind, whose plan is walked in a moment."""
    values = merged("smoke.yaml")
    values["targets"] = [
        "fig1",
        "fig2",
        "fig3",
        "fig5a",
        "fig5b",
        "table1",
        "cost",
        "mask_overlap",
        "seeds",
        "baselines",
    ]
    values["experiments"]["give"] = {"method": ["random", "dq_v2"], "export": {"images": "links"}}
    values["experiments"]["baselines"]["method"] = ["random", "grand", "ccs", "adq", "dq_gradient", "dq_cutmix"]
    values["targets"].append("give")
    return values


def places(node, path=()):
    """Every place of a configuration, blocks and lists among them."""
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        yield from places(value, (*path, key))


PLACES = [path for path in places(small()) if path]
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(HOSTILE)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
CHANGES = st.tuples(
    st.sampled_from(["set", "set", "set", "drop", "add", "double"]),
    st.sampled_from(PLACES),
    st.sampled_from(HOSTILE) | ANYTHING,
)


def there(node, key):
    """Whether a block or list has this key; one that an earlier change has made into the other may not."""
    return key in node if isinstance(node, dict) else isinstance(node, list) and key in range(len(node))


def changed(values, how, path, value):
    """Values with one place set, left out, made a list of twice itself, or given another key beside it."""
    *parents, last = path
    node = values
    for key in parents:
        if not there(node, key):
            return
        node = node[key]
    if not there(node, last):
        return
    if how == "drop":
        del node[last]
    elif how == "add" and isinstance(node, dict):
        node[f"{last}_more"] = value
    else:
        node[last] = [node[last], node[last]] if how == "double" else value


def tried(values):
    """Whether a configuration is accepted; its whole plan then holds together, else each line names a key."""
    try:
        plan = Plan(load_config(values))
    except ConfigError as error:
        text = str(error)
        head, *lines = text.splitlines()
        assert "Traceback" not in text
        assert not re.search(r"function-(before|after|wrap)|\blist\[|pydantic", text), text
        for line in lines or [head]:
            key = re.split(r":| = | and ", line.strip())[0]
            assert key == "(top)" or set(key.split(".")[:1]) & {*values, *load_config(small()).model_fields_set}, text
            assert len(line) < 2000, "a sentence, not a dump"
        return False
    for job in plan.jobs([*plan.targets(), *plan.exports()]):
        plan.options(job)
        assert not max((len(part) for files in [plan.reads(job)] for part in str(files).split("/")), default=0) > 4000
    return True


def test_the_configuration_itself_is_accepted():
    assert tried(small())


@settings(max_examples=settings.default.max_examples // 4, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(CHANGES, min_size=1, max_size=3))
def test_accepted_and_walked_or_refused_in_sentences(changes):
    values = small()
    for change in changes:
        changed(values, *change)
    tried(values)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_anything_as_the_whole_configuration(value):
    if not isinstance(value, dict):
        with pytest.raises(ConfigError):
            load_config(value)
    assert not tried({"run": value})
