"""Published results: written from a run, drawn again without torch or the run, held against another run."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dqv2.cli import main
from dqv2.paper.collect import read_csv, write_csv
from dqv2.plan import publish
from dqv2.runtime.files import sha256
from tests.conftest import ROOT

pytestmark = pytest.mark.workflow
WITHOUT_TORCH = """
import sys

MISSING = ("torch", "torchvision", "timm", "snakemake", "sklearn", "pyarrow", "transformers", "safetensors", "rocrate")
MISSING += ("filelock", "tqdm", "requests", "huggingface_hub")  # envs/requirements-figures.txt has none of them

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from dqv2.cli import main
sys.exit(main(["figures"]))
"""


@pytest.fixture(scope="module")
def published(smoke, tmp_path_factory):
    """A folder with the smoke run, and what is published of it."""
    folder = tmp_path_factory.mktemp("published")
    for name in ("results", "paper_figures"):
        (folder / name).symlink_to(smoke.folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["publish", "results/smoke"]) == 0
    return folder


def test_tables_figures_coresets_and_records_are_published_and_no_image(published, smoke):
    root = published / "published/smoke"
    for name in ("claims.csv", "claims.md", "experiments/fig4a.csv"):
        assert (root / name).read_bytes() == (smoke.folder / "results/smoke" / name).read_bytes()
    for name in ("fig4a.png", "fig4a.pdf", "table2_table.md"):
        assert (root / "figures" / name).read_bytes() == (smoke.folder / "paper_figures/smoke" / name).read_bytes()
    inside = {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}
    shown = {"figures/fig5a.png", "figures/fig3.png", "report/index.html"}
    assert not inside & shown, "they show images of the set"
    assert all((smoke.folder / "paper_figures/smoke" / Path(name).name).exists() for name in shown if "fig" in name)
    for file in (root / "coresets").rglob("*.gz"):
        place = file.relative_to(root / "coresets").as_posix().removesuffix(".gz").replace("/", "/coreset/", 1)
        assert gzip.decompress(file.read_bytes()) == (smoke.folder / "results/smoke" / place).read_bytes()
    with gzip.open(root / "records.jsonl.gz", "rt", encoding="utf-8") as file:
        stages = [json.loads(line)["stage"] for line in file]
    assert {"train", "evaluate", "bin", "figure"} <= set(stages)
    kept = [file for file in (smoke.folder / "results/smoke").glob("**/record.json") if "resume" not in file.parts]
    assert len(stages) == len(kept)


@pytest.fixture
def changed(smoke, tmp_path, monkeypatch):
    """The smoke run in a folder of its own, where its configuration can be changed."""
    monkeypatch.chdir(tmp_path)
    Path("paper_figures").symlink_to(smoke.folder / "paper_figures")
    shutil.copytree(smoke.folder / "results/smoke", "results/smoke", ignore=shutil.ignore_patterns("resume"))
    file = Path("results/smoke/config.json")

    def change(edit):
        asked = json.loads(file.read_text(encoding="utf-8"))
        edit(asked)
        file.write_text(json.dumps(asked), encoding="utf-8")

    return change


def tables_of(folder):
    return {file.stem: file.read_bytes() for file in (folder / "published/smoke/experiments").glob("*.csv")}


def test_what_earlier_runs_finished_is_published_too(published, changed):
    """The last run asked for one experiment, and what is made of all together was lost: it is made anew."""
    changed(lambda asked: asked.update(targets=["fig4a"]))
    for name in ("claims.csv", "claims.md", "claims/record.json"):
        Path("results/smoke", name).unlink()
    assert main(["publish", "results/smoke"]) == 0
    assert tables_of(Path()) == tables_of(published)
    assert len(tables_of(Path())) > 8
    assert (
        read_csv(Path("published/smoke/claims.csv")).shape == read_csv(published / "published/smoke/claims.csv").shape
    )
    assert not Path("published/smoke/captions").exists()


def test_an_experiment_with_stale_runs_is_neither_published_nor_compared(published, changed, capsys):
    """Its table is sound, but the configuration has changed since."""
    changed(lambda asked: asked["trainers"]["vit"].update(learning_rate=0.5))
    assert main(["publish", "results/smoke"]) == 0
    assert set(tables_of(published)) - set(tables_of(Path())) == {"vit"}
    left_out = "left out, as results are missing or stale (dqv2 verify results/smoke): vit\n"
    assert left_out in capsys.readouterr().out
    assert main(["compare", "results/smoke", str(published / "published/smoke")]) == 0
    said = capsys.readouterr().out
    assert left_out in said
    assert "fig4a:" in said
    assert "vit:" not in said


def test_a_comparison_asks_for_nothing_but_the_tables(published, changed, capsys):
    """And what is behind them: a figure may be lost, and another run be stale."""
    Path("paper_figures").unlink()
    Path("results/smoke/claims.md").unlink()
    assert main(["compare", "results/smoke", str(published / "published/smoke")]) == 0
    assert "left out" not in capsys.readouterr().out
    Path("mine/experiments").mkdir(parents=True)
    shutil.copy("results/smoke/experiments/fig4a.csv", "mine/experiments")
    changed(lambda asked: [trainer.update(learning_rate=0.5) for trainer in asked["trainers"].values()])
    for pair in (["results/smoke", "mine"], ["mine", "results/smoke"]):
        assert main(["compare", *pair]) == 1
        said = capsys.readouterr()
        assert said.out == "left out, as results are missing or stale (dqv2 verify results/smoke): fig4a\n"
        assert "no finished experiment in common" in said.err


@pytest.mark.parametrize("command", [["publish", "results/smoke"], ["crate", "results/smoke", "crate"]])
def test_what_a_run_rewrites_meanwhile_is_neither_published_nor_archived(changed, monkeypatch, capsys, command):
    checked, table = publish.verify, Path("results/smoke/experiments/vit.csv")

    def rewritten(*asked):
        yield from checked(*asked)
        table.write_text("half", encoding="utf-8")

    monkeypatch.setattr(publish, "verify", rewritten)
    assert main(command) == 1
    assert f"{table} has changed meanwhile: a run is writing it" in capsys.readouterr().err
    assert not Path("published").exists()
    assert not Path("crate").exists()


@pytest.mark.parametrize("name", ["experiments/vit.csv", "../../paper_figures/smoke/fig4a.pdf"])
def test_what_is_shown_and_gone_is_neither_published_nor_archived(published, changed, capsys, name):
    Path("paper_figures").unlink()
    shutil.copytree(published / "paper_figures/smoke", "paper_figures/smoke")
    file = Path(os.path.normpath(Path("results/smoke", name)))
    file.unlink()
    for command in (["publish", "results/smoke"], ["crate", "results/smoke", "crate"]):
        assert main(command) == 1
        assert f"{file} is gone: run Snakemake again" in capsys.readouterr().err
        assert not Path("published").exists()
        assert not Path("crate").exists()


def test_figures_and_tables_are_drawn_again_alike_without_torch_or_the_run(published, smoke, tmp_path):
    (tmp_path / "published").symlink_to(published / "published")
    earlier = tmp_path / "paper_figures/published/smoke/of_an_earlier_publication.png"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    drawn = tmp_path / "paper_figures/published/smoke"
    assert not earlier.exists()
    there = {file.name for file in drawn.iterdir()}
    assert {"fig2.png", "fig4a.pdf", "fig5b.png", "table2_table.tex", "numbers.tex", "claims.md"} <= there
    for name in ("fig4a.png", "fig5b.png", "table2_table.md", "table2_table.tex", "numbers.tex"):
        assert (drawn / name).read_bytes() == (smoke.folder / "paper_figures/smoke" / name).read_bytes(), name
    assert not (tmp_path / "results").exists()
    page = (tmp_path / "docs/results.md").read_text(encoding="utf-8")
    assert page == (published / "docs/results.md").read_text(encoding="utf-8")
    table = (smoke.folder / "paper_figures/smoke/table2_table.md").read_text(encoding="utf-8")
    assert table in page
    assert "](../published/smoke/figures/fig4a.png)" in page


def test_a_run_agrees_with_itself_and_another_is_named(published, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(published)
    assert main(["compare", "results/smoke"]) == 0
    assert "0 of " in capsys.readouterr().out
    # Ten seeds in place of two, which tell nothing
    frame = read_csv(Path("published/smoke/experiments/fig4a.csv"))
    frame = pd.concat([frame.assign(seed=frame["seed"] + 2 * i) for i in range(5)], ignore_index=True)
    frame["selection_seed"] = frame["seed"]
    arm = (frame["label"] == frame["label"].iloc[0]).astype(bool)
    for run, accuracy in {"published": 20.0, "other": 60.0}.items():
        (tmp_path / run / "experiments").mkdir(parents=True)
        frame.loc[arm, "test_accuracy"] = accuracy + frame.loc[arm, "seed"].astype("float64")
        write_csv(frame, tmp_path / run / "experiments/fig4a.csv")
    assert main(["compare", str(tmp_path / "other"), str(tmp_path / "published")]) == 1
    said = capsys.readouterr().out
    assert f"DIFFERS  {frame['label'].iloc[0]}" in said
    assert said.count("DIFFERS") == 1


@pytest.mark.parametrize("name", ["experiments/fig4a.csv", "records.jsonl.gz", "config.json", "claims.csv"])
def test_what_is_not_as_it_was_published_is_named(published, tmp_path, monkeypatch, capsys, name):
    shutil.copytree(published / "published", tmp_path / "published")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "published/smoke" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    for left in (bytes(content), bytes(content[:100]), None):
        file.write_bytes(left) if left else file.unlink()
        for command in (["figures"], ["compare", str(published / "results/smoke"), "published/smoke"]):
            assert main(command) == 1
            assert f"published/smoke/{name} is {'damaged' if left else 'gone'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:3], "SHA256SUMS does not name "),
        (lambda lines: [], "SHA256SUMS does not name "),
        (lambda lines: [*lines, "0  /etc/hostname"], "names '/etc/hostname', which is not a file in this folder"),
        (lambda lines: [*lines, "0  ../../x"], "names '../../x', which is not a file in this folder"),
        (lambda lines: [*lines, "nonsense"], "names '', which is not a file in this folder"),
    ],
)
def test_sums_that_are_not_of_the_folder_are_refused(published, tmp_path, monkeypatch, capsys, change, said):
    shutil.copytree(published / "published", tmp_path / "published")
    monkeypatch.chdir(tmp_path)
    sums = Path("published/smoke/SHA256SUMS")
    lines = sums.read_text(encoding="utf-8").splitlines()
    sums.write_text("".join(f"{line}\n" for line in change(lines)), encoding="utf-8")
    assert main(["figures"]) == 1
    assert said in capsys.readouterr().err


def test_a_table_that_is_none_is_named_though_its_sum_is_right(published, tmp_path, monkeypatch, capsys):
    shutil.copytree(published / "published", tmp_path / "published")
    monkeypatch.chdir(tmp_path)
    sums = Path("published/smoke/SHA256SUMS")
    for content in ("", "a,b\n1,2\n", "seed\nx\n"):
        for file in Path("published/smoke/experiments").glob("*.csv"):
            file.write_text(content, encoding="utf-8")
        names = [line.partition("  ")[2] for line in sums.read_text(encoding="utf-8").splitlines()]
        lines = [f"{sha256(Path('published/smoke', name))}  {name}\n" for name in names]
        sums.write_text("".join(lines), encoding="utf-8")
        assert main(["figures", "published/smoke"]) == 1
        assert " cannot be drawn from published/smoke: " in capsys.readouterr().err


def test_figures_are_not_drawn_into_what_is_published(published, tmp_path, monkeypatch, capsys):
    shutil.copytree(published / "published", tmp_path / "published")
    monkeypatch.chdir(tmp_path / "published/smoke")
    assert main(["figures", "."]) == 1
    assert "would be drawn into" in capsys.readouterr().err
    assert not Path("paper_figures").exists()
    monkeypatch.chdir(tmp_path)
    shutil.copytree("published", "other")
    assert main(["figures", "published/smoke", "other/smoke"]) == 1
    assert "several folders are named smoke" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: text.replace("test_accuracy", "accuracy"), "it has no column 'test_accuracy'"),
        (lambda text: text.replace("digits", "others"), "no arm in common, so nothing was compared"),
        (lambda text: text.splitlines()[0] + "\n", "no arm in common, so nothing was compared"),
    ],
)
def test_a_comparison_of_nothing_is_no_agreement(published, tmp_path, monkeypatch, capsys, edit, said):
    monkeypatch.chdir(published)
    (tmp_path / "smoke/experiments").mkdir(parents=True)
    text = Path("published/smoke/experiments/fig4a.csv").read_text(encoding="utf-8")
    (tmp_path / "smoke/experiments/fig4a.csv").write_text(edit(text), encoding="utf-8")
    assert main(["compare", str(tmp_path / "smoke")]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda asked: "{", "config.json is gone or damaged"),
        (lambda asked: "{}", "the configuration has"),
        (lambda asked: json.dumps(asked | {"run": "other"}), "config.json is of the run 'other'"),
    ],
)
def test_a_run_whose_configuration_is_damaged_or_of_another_run_is_named(changed, capsys, edit, said):
    file = Path("results/smoke/config.json")
    file.write_text(edit(json.loads(file.read_text(encoding="utf-8"))), encoding="utf-8")
    for command in ("verify", "publish", "crate"):
        assert main([command, "results/smoke", *(["crate"] if command == "crate" else [])]) == 1
        assert said in capsys.readouterr().err


def test_what_cannot_be_published_or_compared_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["figures"]) == 1
    assert "there is no published run" in capsys.readouterr().err
    (tmp_path / "published/mine").mkdir(parents=True)
    assert main(["figures", "published/mine"]) == 1
    assert "published/mine holds no published run" in capsys.readouterr().err
    assert main(["compare", "results/mine"]) == 1
    assert "published/mine holds no published run" in capsys.readouterr().err
    assert main(["compare", "results/mine", "results/other"]) == 1
    assert "there is no folder results/mine" in capsys.readouterr().err
    (tmp_path / "results/mine").mkdir(parents=True)
    assert main(["compare", "results/mine", "results/other"]) == 1
    assert "there is no folder results/other" in capsys.readouterr().err
    (tmp_path / "results/other").mkdir()
    assert main(["compare", "results/mine", "results/other"]) == 1
    assert "have no experiment in common" in capsys.readouterr().err
