"""Made-up results with known effects get the right verdicts: for, against and not tested."""

import pandas as pd
import pytest
from pydantic import ValidationError

from dqv2.config import load_config
from dqv2.paper.claims import ClaimTest, judge, summary
from dqv2.paper.reported import read_claims, reported_values
from dqv2.paper.wording import comparison_text, effect_text, write_claims
from tests.unit.made_up import method, world

CLAIMS = read_claims()


def verdicts(rows):
    return rows.groupby("claim")["claim_verdict"].first().to_dict()


def test_every_claim_is_supported_where_it_holds():
    rows = judge(CLAIMS, world(), "made up")
    assert verdicts(rows) == dict.fromkeys(range(1, 11), "supported")
    assert set(rows["verdict"]) == {"supported"}
    assert rows["paper_data"].all()
    assert (rows["p_holm"] >= rows["p"]).all()


def test_every_claim_is_refused_and_contradicted_where_the_opposite_holds():
    rows = judge(CLAIMS, world(-1), "made up")
    assert verdicts(rows) == dict.fromkeys(range(1, 11), "not supported")
    against = rows[~rows["says"].str.contains("both together are higher")]
    assert against["why"].str.startswith(("contradicted", "it is lower")).all(), against[["claim", "says", "why"]]


def test_without_an_effect_nothing_is_supported_and_nothing_contradicted():
    table = pd.concat([method("imagenette", "dq", 70, 2), method("imagenette", "dq_no_pixel", 69.8, 2)])
    rows = judge(CLAIMS[:1], {"fig2": table}, "made up")
    assert rows["verdict"].tolist() == ["not supported", "not supported", "not tested"]
    assert set(rows["why"][:2]) == {"no difference can be told from the spread of the seeds"}


def test_not_tested_says_what_is_missing():
    rows = judge(CLAIMS, {}, "made up")
    assert verdicts(rows) == dict.fromkeys(range(1, 11), "not tested")
    assert rows["why"].str.fullmatch(r"experiment \w+ was not run").all()
    tables = world()
    tables["cutmix"] = tables["cutmix"][tables["cutmix"]["method"] == "dq"]
    tables["tableC"] = tables["tableC"][tables["tableC"]["seed"] == 0]
    tables["table2"] = tables["table2"][tables["table2"]["keep_ratio"] < 0.35]
    rows = judge(CLAIMS, tables, "made up")
    found = verdicts(rows)
    assert [claim for claim in found if found[claim] == "not tested"] == [3, 4, 8]
    assert "there are no runs of dataset imagenette, method dq_cutmix" in set(rows["why"])
    assert "too few seeds" in set(rows["why"][rows["claim"] == 8])
    assert (rows["verdict"][rows["claim"] == 4] == "supported").sum() == 15, "three keep ratios of four"


def test_one_failing_comparison_is_enough_against_a_claim():
    tables = world()
    worse = (tables["table2"]["method"] == "gc") & (tables["table2"]["keep_ratio"] == 0.3)
    tables["table2"].loc[worse, "test_accuracy"] += 30
    rows = judge(CLAIMS, tables, "made up")
    assert verdicts(rows)[4] == "not supported"
    mine = summary(CLAIMS, rows)[3]
    assert mine["counts"] == "20 of 20 comparisons made, 19 supported, 1 the other way round"


def test_other_data_stands_in_and_says_so():
    rows = judge(CLAIMS, world(datasets=["digits"]), "demo")
    assert set(rows["scale"]) == {"demo"}
    tested = rows[rows["verdict"] != "not tested"]
    assert set(tested["dataset"]) == {"digits"}
    assert not tested["paper_data"].any()
    only = rows[rows["says"].str.contains("CIFAR-10")]
    assert only["verdict"].tolist() == ["not tested"], "nothing stands in for CIFAR-10"
    assert verdicts(rows)[1] == "not tested", "a part of it is missing"
    assert verdicts(rows)[2] == "supported"
    assert "stands in" in summary(CLAIMS, rows)[1]["counts"]


def test_pooled_arms_may_be_fewer_and_the_trend_needs_an_axis():
    tables = world()
    tables["fig5b"] = tables["fig5b"][tables["fig5b"]["tobias_size"] < 40]
    rows = judge(CLAIMS, tables, "made up")
    assert rows["verdict"][rows["claim"] == 5].tolist() == ["supported", "supported"]
    assert rows["of"][rows["claim"] == 5].tolist()[1] == "dq_v2, 32", "40 was not run"
    assert rows["against"][rows["claim"] == 5].tolist()[1] == "dq_v2, 4 and 8"


def test_a_pooled_side_without_a_run_is_not_tested():
    tables = world()
    tables["fig5b"] = tables["fig5b"][tables["fig5b"]["tobias_size"] < 32]
    spread = judge(CLAIMS, tables, "made up").query("claim == 5 and part == 2").iloc[0]
    assert (spread["of"], spread["against"]) == ("dq_v2, 32 and 40", "dq_v2, 4 and 8")
    assert spread["verdict"] == "not tested"
    assert spread["why"] == "there are no runs of dataset imagenette, method dq_v2, tobias_size 32 and 40"


def test_an_experiment_without_a_finished_run_is_not_tested():
    """As collect leaves it where partial: true; there is no accuracy among its columns."""
    planned = world()["fig2"].iloc[:0].drop(columns="test_accuracy")
    rows = judge(CLAIMS, world() | {"fig2": planned}, "made up")
    assert verdicts(rows) == {1: "not tested"} | dict.fromkeys(range(2, 11), "supported")
    assert set(rows["why"][rows["claim"] == 1]) == {"experiment fig2 has no finished run yet"}


def test_correction_is_for_the_number_of_claims_tested():
    table = pd.concat([method("imagenette", "dq", 70, 1), method("imagenette", "dq_cutmix", 67.8, 1)])
    alone = judge([CLAIMS[2]], {"cutmix": table}, "x")
    assert alone["p"].iloc[0] == alone["p_holm"].iloc[0]
    assert 0.005 < alone["p"].iloc[0] < 0.05
    assert alone["verdict"].tolist() == ["supported"]
    # The others without an effect, but for the cost: of ten claims one has a smaller p
    nothing = {name: frame.assign(test_accuracy=frame["seed"]) for name, frame in world().items()}
    together = judge(CLAIMS, nothing | {"cutmix": table}, "x")
    mine = together[together["claim"] == 3].iloc[0]
    tested = together[together["p"].notna()]["claim"].nunique()
    assert tested == 10
    assert mine["p_holm"] == pytest.approx((tested - 1) * mine["p"])
    assert mine["verdict"] == "not supported"
    # A claim's own comparisons count as one, as all must hold: twenty of table 2 are no heavier than one
    rows = judge([CLAIMS[3]], world(), "x")
    assert len(rows) == 20
    assert (rows["p"] == rows["p_holm"]).all()


def test_an_ambiguous_arm_is_refused():
    tables = world()
    with pytest.raises(ValueError, match="more than one run of a seed in cutmix"):
        judge(CLAIMS, tables | {"cutmix": pd.concat([tables["cutmix"]] * 2)}, "x")


def test_faulty_claims_are_refused():
    with pytest.raises(ValidationError, match="a trend needs 'over'"):
        ClaimTest(says="", experiment="a", of={}, datasets=[], statistic="trend", direction="higher")
    with pytest.raises(ValidationError, match="'not lower' is for means"):
        ClaimTest(
            says="",
            experiment="a",
            of={},
            against={"method": "dq"},
            datasets=[],
            statistic="variance",
            direction="not lower",
        )


def test_files_say_verdict_effect_and_interval(tmp_path):
    rows = judge(CLAIMS, world(datasets=["digits"]), "demo")
    write_claims(CLAIMS, rows, "demo: digits on photographs", tmp_path / "claims.csv", tmp_path / "claims.md")
    back = pd.read_csv(tmp_path / "claims.csv")
    assert len(back) == len(rows)
    assert {"effect", "low", "high", "p", "p_holm", "verdict", "scale", "paired_low"} <= set(back.columns)
    text = (tmp_path / "claims.md").read_text()
    assert text.startswith("# The paper's claims")
    assert "demo: digits on photographs" in text
    for claim in CLAIMS:
        assert f"## {claim['claim']}. " in text
    row = rows[rows["claim"] == 3].iloc[0].to_dict()
    assert comparison_text(row) == "DQ, CutMix in place of MAE against DQ"
    assert effect_text(row).startswith("-9.00 points [-9.")
    widths = {line.count("|") - line.count("\\|") for line in text.split("## ")[1].splitlines() if line.startswith("|")}
    assert widths == {10}


def test_the_ten_claims_name_what_the_configuration_knows(paper):
    config = load_config(paper)
    assert [claim["claim"] for claim in CLAIMS] == list(range(1, 11))
    blocks = {"method": config.methods, "mask": config.masks, "mixture": config.mixtures, "selector": config.selectors}
    for claim in CLAIMS:
        for test in claim["tests"]:
            assert test["experiment"] in {*config.experiments, "cost_jobs"}
            assert set(test["datasets"]) <= set(config.datasets)
            for side in (test["of"], test.get("against", {})):
                for column, known in blocks.items():
                    values = side.get(column, [])
                    assert set(values if isinstance(values, list) else [values]) <= set(known)


def test_reported_values_name_what_the_configuration_knows(paper):
    config = load_config(paper)
    values = {name: reported_values(name) for name in config.experiments}
    assert sum(map(len, values.values())) == 43
    for entries in values.values():
        for entry in entries:
            assert entry["dataset"] in config.datasets
            assert entry.get("method") in {None, *config.methods}
            assert {"mean", "variance"} & set(entry)
            assert entry["place"]
    best = [e for e in values["table2"] if e["keep_ratio"] == 0.2]
    assert [e["mean"] for e in best] == [52.50, 44.39, 46.69, 53.18, 55.16, 56.77]
