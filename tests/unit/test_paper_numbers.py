"""LaTeX macros: names of letters, one a number, the right values."""

import re
import shutil
import subprocess

import pandas as pd
import pytest

from dqv2.paper.claims import judge
from dqv2.paper.numbers import all_numbers, macro_name, numbers_of, numbers_tex, text_numbers
from dqv2.paper.reported import read_claims, reported_text, reported_values
from tests.unit.made_up import method, world

CLAIMS = read_claims()


def everything(tables):
    reported = {name: reported_values(name) for name in ("fig4a", "table2", "table3_imagenette", "vit")}
    text = text_numbers(reported_text(), tables)
    return all_numbers(tables, reported, text, CLAIMS, judge(CLAIMS, tables, "made up"))


def test_names_are_letters_and_different():
    assert macro_name("fig4a", "dq_v2", 0.1) == "FigFourADqVTwoZeroPointOne"
    assert macro_name("50 % + Tobias") == "FiveZeroPercentPlusTobias"
    numbers = everything(world())
    names = [one.macro for one in numbers]
    assert len(names) == len(set(names)) > 400
    assert all(re.fullmatch("[A-Za-z]+", name) for name in names)


def test_values_are_those_of_the_tables():
    tables = {"fig4b": world()["fig4b"]}
    found = {one.macro: one.value for one in numbers_of("fig4b", tables["fig4b"])}
    assert found["FigFourBImagenetteDqVTwoMean"] == "75.00"
    assert found["FigFourBImagenetteDqVTwoSd"] == "0.50"
    assert found["FigFourBImagenetteDqVTwoVariance"] == "0.25"
    assert found["FigFourBImagenetteDqVTwoN"] == "5"
    assert found["FigFourBImagenetteDqVTwoImages"] == "1000"
    found = {one.macro: one.value for one in everything(world())}
    assert found["PaperFigFourACubTwoZeroZeroDqVTwoVariance"] == "0.233"
    assert found["PaperTableTwoTinyImagenetDqVTwoZeroPointFourMean"] == "63.01"
    assert found["PaperTableThreeImagenetteImagenetteBinsMean"] == "72.136"
    assert found["PaperTableThreeImagenetteImagenetteBinsPlusMinus"] == "1.092"
    assert found["PaperVitImagenetteDqVTwoPlusMinus"] == "1.20"
    assert found["ClaimThree"] == "supported"
    assert found["ClaimThreeP"] == "< 0.001"
    assert found["TextAverageGain"] == "5.00"
    assert found["PaperAverageGain"] == "1.57"


def test_an_arm_is_named_by_the_fewest_axes():
    frame = world()["tableC"].assign(trainer=lambda rows: "resnet50_" + rows["mix"])
    names = [one.macro for one in numbers_of("tableC", frame)]
    assert "TableCImagenetThreeZeroMixupMean" in names
    assert not [name for name in names if "Resnet" in name]


def test_gains_of_the_text_are_whole_or_missing():
    table = world()["fig4b"]
    entries = reported_text()
    assert text_numbers(entries, {"fig4b": table})["ours"].tolist() == pytest.approx([5.0, 5.0])
    part = text_numbers(entries, {"fig4b": table[table["dataset"] != "cub200"]})
    assert part["ours"].isna().tolist() == [True, False], "an average over three of four is not the paper's"
    stand_in = pd.concat([method("digits", "dq", 50, 1), method("digits", "dq_v2", 53, 1)])
    got = text_numbers(entries, {"fig4b": stand_in})
    assert got["ours"].tolist() == pytest.approx([3.0, 3.0])
    assert not got["paper_data"].any()
    macros = [one.macro for one in all_numbers({}, {}, got, [], None)]
    assert macros == ["PaperAverageGain", "PaperGainOnFoodOneZeroOne"], "ours would be called Food-101's"
    assert text_numbers(entries, {})["ours"].isna().all()


def test_the_file_is_latex_without_anything_to_escape():
    text = numbers_tex(everything(world()), "demo: 100 %")
    for line in text.splitlines():
        assert line.startswith("%") or re.fullmatch(r"\\newcommand\{\\dqv[A-Za-z]+\}\{[^%&#_\\{}]*\} % .+", line), line
    assert r"\newcommand{\dqvClaimThreeP}{$<$ 0.001}" in text


def test_a_clash_is_refused():
    with pytest.raises(ValueError, match="two numbers would be"):
        all_numbers(
            {"a1": world()["cutmix"], "aOne": world(-1)["cutmix"]}, {}, text_numbers([], {}), [], pd.DataFrame()
        )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
def test_latex_takes_the_file(tmp_path):
    numbers = everything(world())
    (tmp_path / "numbers.tex").write_text(numbers_tex(numbers, "demo: 100 % of _all_"))
    uses = "\n".join(rf"\dqv{one.macro}{{}}," for one in numbers)
    (tmp_path / "a.tex").write_text(
        f"\\documentclass{{article}}\\input{{numbers}}\\begin{{document}}{uses}\\end{{document}}"
    )
    done = subprocess.run(["pdflatex", "-halt-on-error", "a.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_without_claims_the_numbers_are_of_the_arms():
    tables = {"fig4b": world()["fig4b"]}
    found = all_numbers(tables, {}, text_numbers([], tables), [], None)
    assert found
    assert not [one for one in found if one.macro.startswith("Claim")]
