"""The page: one file, nothing fetched, every link and number where it should be."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from dqv2.paper.claims import judge
from dqv2.paper.collect import read_plain, write_csv
from dqv2.paper.figures import draw
from dqv2.paper.numbers import text_numbers
from dqv2.paper.page import build_page, heading
from dqv2.paper.reported import read_claims, reported_experiments, reported_text, reported_values
from dqv2.paper.style import save
from dqv2.paper.tables import write_table
from tests.unit.made_up import world

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What a reader of the page finds, and whether its tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.images, self.texts = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if tag == "a" else []
        self.images += [values] if tag == "img" else []
        assert tag not in ("script", "iframe", "link")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    tables = world(datasets=["digits"]) | {"fig4b": world()["fig4b"]}
    sections = []
    for name in ("fig4b", "table2"):
        runs = tables[name]
        runs = runs.assign(
            n_test=400, metrics="results/demo/" + runs["label"] + "/seed-" + runs["seed"].astype(str) + "/metrics.json"
        )
        png, md = folder / f"{name}.png", folder / f"{name}.md"
        if name == "fig4b":
            save(draw(runs, {"kind": "methods", "panel": "dataset_title"}, ""), folder / f"{name}.pdf", png)
        else:
            spec = {
                "caption": "<b>Methods</b>",
                "reported": [{"method": "dq", "keep_ratio": 0.1, "mean": 52.77, "plus_minus": 1.5}],
            }
            write_table(runs, spec, "", folder / "t.csv", md, folder / "t.tex")
        sections.append({
            "name": name, "about": "methods & <others>", "note": "n = 5 seeds · NVIDIA V100", "files": {"PNG": png},
            "pictures": [png] if name == "fig4b" else [], "printed": md if name == "table2" else None,
            "frame": runs, "reported": reported_values(name),
        })  # fmt: skip
    reported = {name: reported_values(name) for name in reported_experiments()}
    rows = judge(read_claims(), tables, "demo", reported)
    page = folder / "results/demo/report/index.html"
    head = {
        "run": "demo",
        "label": "demo",
        "note": "seeds 0 to 4",
        "files": {"claims": folder / "results/demo/claims.csv"},
    }
    text = text_numbers(reported_text(), tables)
    how = {"jobs": 41, "summary": {"commit": ["0123abc"], "torch": ["2.11.0"], "seed": ["0", "1"], "pandas": []}}
    build = lambda **more: build_page(  # noqa: E731
        page,
        **(
            {
                "head": head,
                "experiments": sections,
                "claims": read_claims(),
                "verdicts": rows,
                "text": text,
                "made": how,
            }
            | more
        ),
    )
    return build, sections, rows


def test_it_is_one_well_formed_file_that_fetches_nothing(made):
    html = made[0]()
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    assert all(image["src"].startswith("data:image/png;base64,") and image["alt"] for image in page.images)
    assert len(page.images) == 1
    assert not re.search(r"https?://", html)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert {f"claim-{i}" for i in range(1, 11)} | {"fig4b", "table2"} <= set(page.ids)


def test_every_run_is_linked_relative_to_the_page(made):
    page = Page(made[0]())
    links = [link for link in page.links if link.endswith("metrics.json")]
    assert len(links) == sum(len(section["frame"]) for section in made[1])
    assert any(link.endswith("results/demo/DQ_V2/seed-3/metrics.json") for link in links)
    assert "../claims.csv" in page.links
    assert all(not link.startswith("/") for link in page.links)


def test_numbers_verdicts_and_the_papers_values_are_on_it(made):
    text = " ".join(" ".join(Page(made[0]()).texts).split())
    assert "75.00 ± 0.50" in text
    assert "72.14" in text, "as the paper reports of DQ on ImageNette"
    assert " 73.80 74.12 to 75.88" in text, "as it prints it, with its last zero"
    assert "± 2.17" in text, "the error from 400 test images"
    assert "74.12 to 75.88: the paper's is not" in text
    assert "Seeds for 80 %" in text
    assert "52.77 ± 1.50" in text, "in the printed table"
    assert "methods & <others>".capitalize() in text
    assert "not tested" in text
    assert "digits on photographs (stands in)" in text
    assert "1.57" in text
    assert "These are demo results" in text
    assert "These are" not in made[0](head={"run": "paper", "label": None, "note": "", "files": {}})


def test_runs_that_share_a_coreset_or_a_training_seed_have_a_mean_and_no_spread(made):
    build, sections, _ = made
    runs = world(datasets=["imagenette"])["fig4b"].assign(selection_seed=0)
    text = " ".join(" ".join(Page(build(experiments=[sections[0] | {"frame": runs}])).texts).split())
    assert "DQ_V2 ImageNette 75.00 5 " in text, "no standard deviation, variance or interval between the mean and n"


def test_what_is_missing_is_empty_on_the_page_and_not_a_word(made, tmp_path):
    """As the page's stage reads it, from CSV, where nothing could be tested or measured."""
    reported = {name: reported_values(name) for name in reported_experiments()}
    for tables in ({}, {"fig4b": world(seeds=1)["fig4b"]}):
        frames = judge(read_claims(), tables, "demo", reported), text_numbers(reported_text(), tables)
        for name, frame in zip("ab", frames, strict=True):
            write_csv(frame, tmp_path / f"{name}.csv")
        verdicts, text = (read_plain(tmp_path / f"{n}.csv") for n in "ab")
        html = re.sub(r"base64,[^\"]*", "", made[0](verdicts=verdicts, text=text))
        assert not re.findall(r"[^>]*(?<![\w-])(?:nan|NaN|None|inf|NaT)(?![\w-])[^<]*", html)
        assert "not measured" in html
    assert "not the paper's" not in html.replace("&#39;", "'").partition('id="text"')[2].partition("<h3")[0]


def test_headings():
    assert [heading(name) for name in ("fig4a", "table2", "tableC", "vit", "my_question")] == [
        "Figure 4a", "Table 2", "Table C", "Vit", "My question",
    ]  # fmt: skip


def test_a_page_without_verdicts_is_a_page(made):
    page = Page(made[0](verdicts=pd.DataFrame(), text=pd.DataFrame()))
    assert "claim-1" not in page.ids
    assert Path(page.links[0]).name


def test_a_page_of_experiments_that_test_no_claim_does_not_speak_of_claims(made):
    html = made[0](verdicts=None, claims=[])
    page, of_claims = Page(html), Page(made[0]())
    assert {"claims", "text", "tested"} <= set(of_claims.ids)
    assert not {"claims", "text", "tested"} & set(page.ids)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert {"fig4b", "table2", "made"} <= set(page.ids)
    body = html.partition("<body")[2]
    assert "claim" not in re.sub(r"base64,[^\"]*|claims.csv", "", body).replace(">claims<", "")


def test_it_says_what_it_was_made_with(made):
    page = Page(made[0]())
    text = " ".join(" ".join(page.texts).split())
    assert "By 41 jobs, of which each left a record.json" in text
    assert "commit 0123abc" in text
    assert "seed 0, 1" in text
    assert "pandas" not in text
