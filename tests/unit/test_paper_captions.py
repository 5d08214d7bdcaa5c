"""Captions print literally, whatever is in a name, and are valid reStructuredText."""

from html import unescape
from types import SimpleNamespace

import jinja2
import pytest
from docutils.core import publish_parts

from dqv2.paper.captions import escape, write_caption
from tests.conftest import ROOT

TEMPLATES = sorted((ROOT / "workflow/report").glob("*.rst"))
ODD = [
    "DQ_V2",
    "my_",
    "*x* `y` |z| a_ <b> [1]_ ::",
    "A. name",
    "1) two",
    "- a",
    ".. note",
    "=====",
    "(i) x",
    "a\\",
    "_x:",
]
STRICT = {"report_level": 2, "halt_level": 2, "_disable_config": True}


def printed(text):
    """What docutils prints of a text; any fault it finds raises."""
    body = publish_parts(text, writer_name="html", settings_overrides=STRICT)["body"]
    return unescape(body).replace("\u2019", "'")


@pytest.mark.parametrize("text", ODD)
def test_any_text_is_printed_as_it_is(text):
    assert f"<p>{text}</p>" in printed(f"before\n\n{escape(text)}\n\nafter")


@pytest.mark.parametrize("label", [None, "a demo_"])
@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_every_caption_of_the_report_is_valid_whatever_is_in_it(tmp_path, template, text, label):
    """As Snakemake renders them: with its own environment of Jinja, in its own words of a job."""
    write_caption(tmp_path / "c.rst", text, text, label)
    job = SimpleNamespace(
        rule="figure",
        input=[f"results/{text}/a_.csv", "b.csv"],
        output=SimpleNamespace(caption=tmp_path / "c.rst"),
        params=SimpleNamespace(options=SimpleNamespace(note=text, label=label, head={"note": text})),
        wildcards=SimpleNamespace(experiment="my_"),
        config=SimpleNamespace(run=text, experiments={"my_": {"about": text}}),
    )
    strict = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    caption = jinja2.Environment(**strict).from_string(template.read_text()).render(snakemake=job)
    found = printed(f"{caption}\n\n.. _figure.pdf: javascript:x")
    assert f"{text}." in found
    assert label or "Scale" not in found, "of no run but the paper's is the scale the paper's own"
    if template.stem in ("figure", "pictures"):
        assert f"<p>Made by rule figure from results/{text}/a_.csv, b.csv.</p>" in found, "a paragraph of its own"
        assert f"Configuration of run {text}, experiment my_:" in found


def test_a_caption_prints_as_it_is(tmp_path):
    note = "DQ_V2 · *x* `y` |z| a_ <b> [1]_ http://x:y \\n · n = 5 seeds · NVIDIA V100"
    write_caption(tmp_path / "c.rst", "effect of the mask_", note, "demo")
    parts = publish_parts(f".. include:: {tmp_path / 'c.rst'}\n\nafter", writer_name="html")
    text = parts["body"].replace("&lt;", "<").replace("&gt;", ">")
    assert note in text
    assert "Effect of the mask_." in text
    assert "Scale: demo, not the paper's own." in text.replace("’", "'")
    assert "problematic" not in text
    assert "<p>after</p>" in text


def test_the_papers_own_scale_is_said_of_its_run_alone(tmp_path):
    for run, scale in (("paper", "\nScale\\: the paper's own.\n"), ("my_images", "")):
        file = tmp_path / "results" / run / "captions" / "c.rst"
        file.parent.mkdir(parents=True)
        write_caption(file, "", "n = 5 seeds", None)
        assert file.read_text() == f"n = 5 seeds.\n{scale}"
