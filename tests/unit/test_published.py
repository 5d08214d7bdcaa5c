"""What is published: docs/results.md says what the tables say, schedules were chosen on the validation split, and no
picture of a set was given away."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from dqv2.cli import main
from dqv2.config import ConfigError
from dqv2.paper.claims import judge
from dqv2.paper.collect import read_csv
from dqv2.paper.reported import read_questions
from dqv2.paper.stats import summarise
from dqv2.paper.tables import results_table
from dqv2.plan.publish import published_plan, published_records
from dqv2.plan.results import _advice, results_page
from tests.conftest import ROOT, make

RUNS = sorted(file.parent for file in (ROOT / "published").glob("*/SHA256SUMS"))


def test_the_page_of_results_is_made_from_what_is_published(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = results_page([run.relative_to(ROOT) for run in RUNS])
    assert Path("docs/results.md").read_text(encoding="utf-8") == page, "make figures"
    assert RUNS


def test_what_stands_in_for_the_networks_of_dq_is_named(monkeypatch):
    monkeypatch.chdir(ROOT)
    page, readme = (Path(name).read_text(encoding="utf-8") for name in ("docs/results.md", "README.md"))
    mae, network = "a small MAE, pre-trained on the set itself", "pre-trained EfficientNet-Lite0"
    found = [line.partition("Pre-trained networks: ")[2] for line in page.splitlines() if "CPU hours on" in line]
    both, alone = (f"{mae}; {network}, at {size} px." for size in (224, 128)), f"{network}, at 224 px."
    assert found == ["", "", *both, alone, alone, f"{mae}; {network}, at 128 px."]
    assert "EfficientNet-Lite0 (inputs of 128 px with ResNet-8, 224 px with ResNet-20)" in readme
    epochs = {published_plan(run).config.autoencoders["self_mini"].epochs for run in RUNS if "cifar10_" in run.name
              and (run / "experiments/controls.csv").exists()}  # fmt: skip
    assert epochs == {5}, "as README says"


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_published_run_is_whole_and_small(run):
    plan = published_plan(run)
    for name in plan.tables():
        frame = read_csv(run / "experiments" / f"{name}.csv")
        assert len(frame) == plan.planned(name), f"{name}: {len(frame)} of {plan.planned(name)} runs"
    stages = {kept["stage"] for kept in published_records(run)}
    assert "pack" in stages
    seeds = {str(seed) for name in plan.tables() for seed in read_csv(run / "experiments" / f"{name}.csv")["seed"]}
    said = {kept["wildcards"]["seed"] for kept in published_records(run) if "seed" in kept["wildcards"]}
    assert said <= seeds, "what a run left of other seeds is not published"
    inputs = [each["file"] for kept in published_records(run) for found in kept["inputs"].values() for each in found]
    assert not [file for file in inputs if Path(file).is_absolute()], "folders of a machine are nobody's business"
    assert {file.suffix for file in run.rglob("*") if file.is_file() and file.name != "SHA256SUMS"} <= {
        ".csv", ".gz", ".json", ".md", ".pdf", ".png", ".tex",
    }  # fmt: skip
    assert sum(file.stat().st_size for file in run.rglob("*") if file.is_file()) < 10e6


@pytest.mark.parametrize(
    "run", [run for run in RUNS if (run / "experiments/schedule.csv").exists()], ids=lambda run: run.name
)
def test_the_schedule_was_chosen_on_the_validation_split(run):
    """Of the rates at the same length as good as the best, to half a point; with other seeds than the results'."""
    plan = published_plan(run)
    block = plan.config.experiments["schedule"]
    assert block.table.y == "validation_accuracy"
    frame = read_csv(run / "experiments/schedule.csv")
    means = summarise(frame, "trainer", "validation_accuracy").set_index("trainer")["mean"]
    assert means["chosen"] >= max(means[["low", "chosen", "high"]]) - 0.5
    assert not set(frame["seed"]) & set(read_csv(run / "experiments/controls.csv")["seed"])
    assert plan.config.defaults.trainer == "chosen"


def test_figures_of_a_run_that_is_no_longer_published_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "published/cifar10_full_set", "published/cifar10_full_set")
    Path("paper_figures/published/old").mkdir(parents=True)
    assert main(["figures"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "not redrawn" in line]
    left = "paper_figures/published/old: not redrawn, as there is no published/old; remove it if you do not need it"
    assert said == [left]
    assert Path("paper_figures/published/old").is_dir()
    assert main(["figures", "published/cifar10_full_set"]) == 0
    assert "not redrawn" not in capsys.readouterr().out, "one was asked for"


def test_a_run_is_not_called_as_the_folder_of_redrawn_figures(demo, change):
    with pytest.raises(ConfigError, match=r"run = 'published': .*choose another name"):
        make(change(demo, "run", "published"))


def test_a_pipe_in_the_place_of_a_published_list_blocks_nobody(tmp_path):
    os.mkfifo(tmp_path / "SHA256SUMS")
    with pytest.raises(ConfigError, match=f"{tmp_path} holds no published run: it has no readable SHA256SUMS"):
        published_plan(tmp_path)


def test_a_lead_without_a_test_is_not_called_not_told_apart():
    run = ROOT / "published/cifar10_resnet20"
    frame = read_csv(run / "experiments/controls.csv")
    one_seed = SimpleNamespace(plan=published_plan(run), tables={"controls": frame[frame["seed"] == 0]})
    text = "\n".join(_advice(one_seed))
    assert text.count("| not tested |") == 4
    assert "not told apart" not in text


def test_in_short_an_effect_stands_beside_the_verdict_that_it_has(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = Path("docs/results.md").read_text(encoding="utf-8")
    short, rest = page.partition("## In short")[2].split("\n## ", 1)
    cells = [cell.strip() for line in short.splitlines() if line.startswith("| ") for cell in line.split("|")[2:-1]]
    told = [cell.split(", ", 1) for cell in cells if cell.startswith("**")]
    assert len(told) > 10
    for verdict, effect in told:
        assert any(f"| {effect} |" in line and line.endswith(f"{verdict.strip('*')} |") for line in rest.splitlines())


COLUMNS = [("cifar10_small", "controls"), ("cifar10_small", "longer"), ("cifar10_resnet20", "controls")]  # of README's


def leads_of(run, experiment):
    frame = read_csv(Path("published", run, "experiments", f"{experiment}.csv"))
    table = results_table(frame, {"column": "keep_ratio", "against": ["Random"]})
    return table.assign(label=table["label"].str.removesuffix(", early-trained mask"))


def test_the_leads_in_readme_are_the_published_ones(monkeypatch):
    monkeypatch.chdir(ROOT)
    leads = [{row["label"]: row for row in leads_of(*column).to_dict("records")} for column in COLUMNS]
    lines = Path("README.md").read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| Coreset | ResNet-8"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 2 : lines.index("", start)]]
    assert len(rows) == 6
    for label, *cells in rows:
        for cell, lead in zip(cells, leads, strict=True):
            assert cell == (_lead(lead[label]) if label in lead else ""), label


def test_what_mixing_gives_in_readme_is_published(monkeypatch):
    monkeypatch.chdir(ROOT)
    said = []
    for name in ("tableC", "mixing"):
        frame = read_csv(Path("published/cifar10_mixing/experiments", f"{name}.csv"))
        spec = published_plan(Path("published/cifar10_mixing")).spec("table", name)
        table = results_table(frame, spec).set_index("mix")
        ends = ("", " low", " high")
        said += ["{:+.1f} [{:.1f}, {:.1f}]".format(*(table.loc[mix, f"minus as chosen{end}"] for end in ends))
                 for mix in ("mixup", "cutmix")]  # fmt: skip
    mixup, cutmix, *random = said
    both = (
        f"Mixup gives {mixup.replace(' ', ' points ', 1)} and CutMix {cutmix}; on random ones {' and '.join(random)}."
    )
    assert both in Path("README.md").read_text(encoding="utf-8")


def _lead(row):
    if row["label"] == "Random":
        return f"{row['mean']:.1f} %"
    return "{:+.1f} [{:.1f}, {:.1f}]".format(*(row[f"minus Random{end}"] for end in ("", " low", " high")))


def test_what_readme_tells_apart_is_told_apart_after_correction(monkeypatch):
    monkeypatch.chdir(ROOT)
    readme, tables = Path("README.md").read_text(encoding="utf-8"), [leads_of(*column) for column in COLUMNS]
    shown = set(tables[1]["label"]) | {"Herding"}
    told = [table[table["label"].isin(shown) & (table["minus Random p_holm"] < 0.05)] for table in tables]
    ranked = [dict(zip(table["label"], table["minus Random"] > 0, strict=True)) for table in told]
    untrained = "DQ without pre-trained networks (no pixel step)"
    assert ranked == [{"Herding": True}, {"DQ": False, untrained: True, "DQ_V2": False}, {"DQ_V2": False}]
    better = [set(table.loc[(table["minus Random"] > 0) & (table["minus Random p_holm"] < 0.05), "label"])
              for table in tables]  # fmt: skip
    assert better == [{"Herding"}, {untrained}, set()], "only these are better"
    alone = pd.concat(tables).set_index("label").loc[["DQ (no pixel step)", untrained]]
    above = f"{alone['minus Random'].min():.1f} to {alone['minus Random'].max():.1f} points"
    assert f"originals alone the mean is {above} above random" in readme
    assert f"originals alone are {above} above random in the mean" in readme
    assert f"from {alone['minus Random low'].min():.1f} to {alone['minus Random high'].max():.1f}." in readme
    questions = read_questions()
    tables = {name: read_csv(f"published/cifar10_small/experiments/{name}.csv") for name in ("controls", "longer")}
    asked = judge(questions, tables, "", family=len(questions))
    below = asked[
        (asked["against"] == "Random") & (asked["experiment"] == "controls") & asked["of"].str.startswith("DQ")
    ]
    assert below["verdict"].tolist() == ["contradicted", "inconclusive"], "DQ_V2 and DQ, by the questions' correction"
    assert len(questions) == 9
    keeps = leads_of("cifar10_small", "keep_ratios").set_index("label")
    for _, rows in keeps.groupby("keep_ratio"):
        assert rows.loc["Random", "mean"] > rows.loc["DQ", "mean"] > rows.loc["DQ_V2", "mean"]
    tiny = leads_of("tiny_imagenet_small", "table2").set_index(["label", "keep_ratio"])
    tenth, fifth = tiny.loc[("GraphCut", 0.1)], tiny.loc[("GraphCut", 0.2)]
    assert fifth["minus Random p_holm"] < 0.05 < tenth["minus Random p_holm"]
    assert (tiny.loc[["DQ", "DQ_V2"], "minus Random p_holm"] > 0.05).all()
    interval = f"[{fifth['minus Random low']:.1f}, {fifth['minus Random high']:.1f}]"
    assert f"leads a random coreset by {fifth['minus Random']:.1f} points {interval} at a keep ratio of 0.2" in readme
    assert f"its {tenth['minus Random']:.1f} points at a tenth" in readme


def test_the_spreads_and_masks_that_readme_and_the_demos_page_name_are_the_published_ones(monkeypatch):
    monkeypatch.chdir(ROOT)
    readme, demo = (Path(name).read_text(encoding="utf-8") for name in ("README.md", "docs/demo.md"))
    tables = {"{} points with ResNet-8 and five seeds": COLUMNS[:2], "{} with ResNet-20": COLUMNS[2:]}
    tables |= {"on 50 classes of Tiny-ImageNet they are {}": [("tiny_imagenet_small", "table2")]}
    for sentence, columns in tables.items():
        spread = pd.concat(leads_of(*column)["sd"] for column in columns)
        assert sentence.format(f"{spread.min():.2f} to {spread.max():.2f}") in demo
    few, many = (_masks(f"published/{run}/experiments/own_minus_others.csv") for run in ("masks", "masks_larger"))
    of = {
        "own image's object by {0:.3f} to {1:.3f} IoU": (many, "ResNet-8 after 10 epochs"),
        "a random ResNet-8's by {0:.3f} to {1:.3f} (not significant": (many, "random ResNet-8"),
        "an ImageNet network's by {0:.2f},": (many, "pre-trained"),
        "true masks by {0:.2f} to {1:.2f}.": (many, "true mask"),
        "did not get that far: {0:.3f} to {1:.3f} after 1 to 10 epochs": (few, "ResNet-8 after"),
    }
    for sentence, (means, name) in of.items():
        mean = means.loc[means["mask_title"].str.startswith(name), "mean"]
        assert sentence.format(mean.min(), mean.max()) in readme
    trained = many[many["mask_title"] == "ResNet-8 after 10 epochs"]
    ends = ((trained["mean"] - trained["ci95"]).min(), (trained["mean"] + trained["ci95"]).max())
    assert "95 % intervals within {:.3f} to {:.3f}".format(*ends) in readme
    covered = _masks("published/masks_larger/experiments/mask_overlap.csv", "iou")
    covered = covered.pivot(index="mask_title", columns="tobias_size", values="mean")
    middle_leads = covered.loc["centre mask"] > covered.loc["ResNet-8 after 10 epochs"]
    assert middle_leads.to_dict() == {4: False, 8: True, 16: True, 32: True}


def _masks(file: str, measure: str = "own_minus_others") -> pd.DataFrame:
    return summarise(read_csv(Path(file)), ["mask_title", "tobias_size"], measure)
