"""Tables of declarations: what they name is there, the docs show them, and reading them imports little."""

import inspect
import re
import subprocess
import sys

import pytest

from dqv2.config.data import KINDS
from dqv2.data.published import KNOWN_SETS
from dqv2.declared import by_name, load
from dqv2.paper.kinds import FIGURES, FigureKind
from dqv2.select.table import SAMPLERS, SELECTORS, Kind
from dqv2.semantic.table import MASK_SOURCES, MaskSource
from tests.conftest import ROOT

FUNCTIONS = {
    *(place for kind in SELECTORS.values() for place in (kind.function, kind.importance) if place),
    *(source.function for source in MASK_SOURCES.values()),
    *(place for kind in FIGURES.values() for place in (kind.arrange, kind.paint) if place),
    *(known.reader for known in KNOWN_SETS.values()),
}


@pytest.mark.parametrize("place", sorted(FUNCTIONS))
def test_a_function_that_a_table_names_is_there(place):
    assert inspect.isfunction(load(place))


def test_two_entries_have_two_names_that_a_configuration_may_have():
    with pytest.raises(ValueError, match="two entries are called 'random': choose another name"):
        by_name(*SELECTORS.values(), Kind("random", "mine:mine", "bins"))
    with pytest.raises(ValueError, match="an entry is called 'a b/c': a name is letters"):
        by_name(MaskSource("a b/c", "mine:mine"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Kind("mine", "mine", "bins"), "selector kind mine: function must be written as 'module:function'"),
        (lambda: Kind("mine", "a:b", "bin"), "selector kind mine: sampler has 'bin', which is none of bins, adaptive"),
        (lambda: Kind("mine", "a:b", "bins", ("feature",)), "reads has 'feature', which is none of features, logits"),
        (lambda: Kind("mine", "a:b", "bins", ("features")), "reads must be a tuple, such as .* got 'features'"),
        (lambda: Kind("mine", "a:b", "bins", keys=("n_bins")), "keys must be a tuple, such as .* got 'n_bins'"),
        (lambda: Kind("mine", "a:b", "bins", keys=("bins",)), "keys has 'bins', which is none of n_bins, lam"),
        (lambda: Kind("mine", "a:b", "adaptive"), "importance is for the sampler 'adaptive'"),
        (lambda: Kind("mine", "a:b", "classes"), "sampler 'classes' needs 'features' in reads"),
        (lambda: Kind("mine", "a:b", "bins", keys=("features",)), "the key 'features' needs 'features' in reads"),
        (lambda: Kind("mine", "a:b", "rank", ("scores",)), "'scores' in reads needs the key 'score'"),
        (lambda: Kind("mine", "a:b", "bins", stops=True), "stops=True is for the sampler 'rank'"),
        (lambda: MaskSource("mine", "a:b", reads="maps"), "mask source mine: reads has 'maps', which is none of sal"),
        (lambda: FigureKind("mine", "label", "a.b", ""), "figure kind mine: paint must be written as"),
        (lambda: FigureKind("mine", "label", "a:b", "{seeds}"), "marks may have {of} and {spread} in braces"),
        (lambda: FigureKind("mine", "label", "a:b", "", prints="values"), "prints must be a tuple"),
    ],
)
def test_an_entry_that_cannot_work_is_refused_in_a_sentence(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("place", ["dqv2.paper.figures:nosuch", "dqv2.paper.kinds:PAINT_LINES"])
def test_a_function_that_is_not_there_is_named(place):
    with pytest.raises(ImportError, match=r"dqv2.paper.* has no function [a-zA-Z_]+$"):
        load(place)


@pytest.mark.parametrize("kind", SELECTORS)
def test_a_selector_takes_the_keys_that_it_declares(kind):
    if SELECTORS[kind].gives == "list":
        return
    for place in filter(None, (SELECTORS[kind].function, SELECTORS[kind].importance)):
        parameters = inspect.signature(load(place)).parameters.values()
        keys = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        assert sorted(keys) == sorted(SELECTORS[kind].keys)


@pytest.mark.parametrize("kind", KNOWN_SETS)
def test_a_known_set_is_a_choice_of_the_configuration_with_its_keys(kind):
    known, fields = KNOWN_SETS[kind], KINDS[kind].model_fields
    assert set(known.options) <= set(fields)
    assert ("root" in fields) == bool(known.archives) == ("path" not in fields)
    assert ("variant" in fields) == bool(known.variants)
    assert min(known.sizes) > 1


def test_the_docs_show_the_tables():
    text = (ROOT / "docs/stages.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in (*SELECTORS, *MASK_SOURCES)), "run: python -m dqv2 stages accept"


def test_the_docs_name_the_selectors_by_which_classes_lose_their_shares():
    named = {"ccs": "CCS", "adaptive_bins": "ADQ", "class_adaptive_bins": "DQAS"}
    assert {name for name, kind in SELECTORS.items() if not SAMPLERS[kind.sampler].shares} == set(named)
    (row,) = re.findall("^.*the classes' shares.*$", (ROOT / "docs/assumptions.md").read_text(encoding="utf-8"), re.M)
    assert all(name in row.partition("exceptions")[2] for name in named.values())


@pytest.mark.parametrize("module", ["dqv2.select.table", "dqv2.semantic.table", "dqv2.paper.kinds"])
def test_a_table_imports_neither_torch_nor_numpy_nor_pandas(module):
    code = f"import sys, {module}; print({{'torch', 'numpy', 'pandas', 'matplotlib'}} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
