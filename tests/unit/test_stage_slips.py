"""Slips of somebody who adds a stage or an entry of a table: a sentence says where and what."""

import sys
from dataclasses import replace

import pytest

from dqv2 import stages
from dqv2.paper.figures import draw
from dqv2.paper.kinds import FIGURES
from dqv2.plan.before import check_jobs
from dqv2.select.table import SELECTORS
from dqv2.semantic.table import MASK_SOURCES
from tests.conftest import make, merged

HEAD = "from dqv2.stages.base import Stage\n"
STAGE = "class Mine(Stage):\n    title = 'mine'\n    writes = {'csv': 'mine/{net}/mine.csv'}\n"


@pytest.fixture
def declared(tmp_path, monkeypatch):
    """Declares what the module `mine` among the stages has."""
    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(tmp_path)])

    def declared(text):
        (tmp_path / "mine.py").write_text(text)
        return stages._declared_in("mine")

    yield declared
    sys.modules.pop("dqv2.stages.mine", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "mine.py declares no stage, which is a class derived from Stage: a module declares one stage$"),
        (
            HEAD + STAGE + "class Other(Mine): pass\n",
            "mine.py declares the stages Mine and Other: a module declares one",
        ),
        (HEAD + "class Mine(Stage):\n    title = 'mine'\n", "the stage Mine has no writes, which name its out"),
        (HEAD + "class Mine(Stage):\n    title = 'mine'\n    writes = {}\n", "the stage Mine has no writes"),
        (HEAD + STAGE.replace("title", "name"), "mine.py: the stage Mine has no title"),
        (HEAD + "class Mine(Stage:\n", r"mine\.py, line 2: invalid syntax"),
        (HEAD + "\nimport nosuch\n", "No module named 'nosuch'"),
    ],
)
def test_a_module_that_declares_no_stage_is_told_in_a_sentence(declared, text, said):
    with pytest.raises(ValueError, match=said):
        declared(text)


def test_a_stage_may_have_helper_classes(declared):
    assert declared(f"{HEAD}{STAGE}class Helper: pass\n")().writes["csv"] == "mine/{net}/mine.csv"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("packs", "train"), "there is no stage 'packs': the stages are augment, autoencoder, "),
        (("pack", "trian"), "the stage pack writes no 'trian': it writes record, train, validation, test"),
        (
            ("pack", "train"),
            "results/demo/{dataset}/data/train has the axis dataset, and no value is given: pass dataset=",
        ),
    ],
)
def test_a_file_that_no_stage_writes_is_told_by_what_there_is(demo, asked, said):
    with pytest.raises(ValueError, match=said):
        make(demo).file(*asked)


@pytest.mark.parametrize(
    ("table", "name", "field", "entry"),
    [
        (SELECTORS, "random", "function", "selector kind"),
        (MASK_SOURCES, "network", "function", "mask source"),
        (FIGURES, "methods", "paint", "figure kind"),
        (FIGURES, "methods", "arrange", "figure kind"),
    ],
)
@pytest.mark.parametrize("place", ["dqv2.paper.kinds:nosuch", "dqv2.nosuch:mine"])
def test_a_function_that_cannot_be_imported_is_told_before_the_first_job(monkeypatch, table, name, field, entry, place):
    plan = make(merged("demo.yaml"))
    monkeypatch.setitem(table, name, replace(table[name], **{field: place}))
    said = "dqv2.paper.kinds has no function nosuch" if "kinds" in place else "No module named 'dqv2.nosuch'"
    with pytest.raises(ValueError, match=f"functions cannot be imported:\n  {entry} {name}: {said}"):
        check_jobs(plan, plan.jobs(plan.targets(["fig4a", "fig5b"])))


@pytest.mark.parametrize(
    ("field", "function", "said"),
    [
        ("paint", lambda *_: None, r"figure kind methods \(mine:it\) must return a list of .*; got NoneType"),
        (
            "arrange",
            lambda frame, spec: frame,
            r"figure kind methods \(mine:it\) must return \(frame, spec\); got DataFr",
        ),
    ],
)
def test_what_the_functions_of_a_figure_return_is_checked(monkeypatch, field, function, said):
    monkeypatch.setitem(sys.modules, "mine", type("mine", (), {"it": staticmethod(function)}))
    monkeypatch.setitem(FIGURES, "methods", replace(FIGURES["methods"], **{field: "mine:it"}))
    plan = make(merged("demo.yaml"))
    frame, _ = plan.planned_table("fig4a")
    with pytest.raises(ValueError, match=said):
        draw(frame, plan.spec("figure", "fig4a"), "")
